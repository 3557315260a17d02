//! Whoever comes for it, and whenever: one connection has a session.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_still_there_gives_its_session_up() {
    let server = Server::start(|broker| broker.limits(|limits| limits.connections_per_user = 1)).await;
    let (mut half_open, secret) = server.client("ann").await;
    half_open.subscribe("log.a").await;
    let id = half_open.session().client();
    let (mut again, lines) = server.resume("ann", &secret).await;
    assert_eq!(lines, ["1: connected ann resumed [log.a: subscribed recovered #0]", "log.a live #0"]);
    let over = half_open.over().await.map(|reason| reason.kind);
    assert_eq!(over, Some(CloseKind::Resumed));
    server.node.publish_numbers("log.a", 1..=1).await;
    assert_eq!(again.read().await, ["log.a#1 1"]);
    assert!(half_open.read().await.iter().all(|line| !line.starts_with("log.a")), "it is subscribed no more");
    // Its end takes nothing away from the one that came after.
    half_open.into_session().close(CloseKind::Lost.into()).await;
    assert_eq!(again.session().client(), id);
    let found = server.node.broker.clients().client(id.unwrap()).list().await.unwrap();
    assert_eq!(found.clients.len(), 1);
    assert_eq!(server.node.broker.stats().parked_sessions, 0);
    cut(again).await;
    assert_eq!(server.node.broker.stats().parked_sessions, 1);
}

#[tokio::test(start_paused = true)]
async fn of_two_that_come_at_once_one_has_it() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    client.subscribe("slow-not").await;
    cut(client).await;
    let (mut one, mut two) = (server.door().await, server.door().await);
    let (first, second) = (connect("late", Some(&secret), &[]), connect("late", Some(&secret), &[]));
    let (one_id, two_id) = (one.next_id(), two.next_id());
    let decide = async {
        idle().await;
        server.policy.decide.notify_waiters();
    };
    let (a, b, ()) =
        tokio::join!(one.session().handle(one_id, first), two.session().handle(two_id, second), decide);
    a.unwrap();
    b.unwrap();
    // The second takes it from the first, which is told, and not both have it.
    let over = [one.over().await, two.over().await].map(|over| over.map(|reason| reason.kind));
    assert_eq!(over, [Some(CloseKind::Resumed), None]);
    server.node.broker.publish("slow-not", "1").await.unwrap();
    let read = [one.read().await, two.read().await].map(|lines| lines.contains(&"slow-not 1".to_owned()));
    assert_eq!(read, [false, true]);
    let all = server.node.broker.clients().user("ann").list().await.unwrap();
    assert_eq!(all.clients.len(), 1);
    assert_eq!(server.node.broker.stats().subscriptions, 1);
    cut(one).await;
    assert_eq!(server.node.broker.stats().parked_sessions, 0, "it has nothing to leave behind");
}

#[tokio::test(start_paused = true)]
async fn a_session_is_found_while_its_connection_is_being_closed() {
    let hold = Arc::new(Notify::new());
    let (held, topics) = (hold.clone(), Arc::new(Mutex::new(Vec::new())));
    let seen = topics.clone();
    let server = Server::start(|broker| {
        broker.on_disconnecting(move |_, topics, reason| {
            let (held, seen) = (held.clone(), seen.clone());
            async move {
                held.notified().await;
                seen.lock().unwrap().push((topics, reason.kind));
            }
        })
    })
    .await;
    let (mut client, secret) = server.client("ann").await;
    client.subscribe("log.a").await;
    let closing = tokio::spawn(client.into_session().close(CloseKind::Lost.into()));
    idle().await;
    assert!(!closing.is_finished(), "its hook runs");
    let (mut again, lines) = server.resume("ann", &secret).await;
    assert_eq!(lines, ["1: connected ann resumed [log.a: subscribed recovered #0]", "log.a live #0"]);
    hold.notify_one();
    closing.await.unwrap();
    assert_eq!(*topics.lock().unwrap(), [(vec!["log.a".to_owned()], CloseKind::Lost)]);
    assert_eq!(server.node.broker.stats().parked_sessions, 0, "it is not there twice");
    server.node.publish_numbers("log.a", 1..=1).await;
    assert_eq!(again.read().await, ["log.a#1 1"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_while_it_is_being_taken_up_is_there_for_the_next() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    client.subscribe("log.a").await;
    let id = client.next_id();
    let slow = Command::Subscribe(SubscribeCommand::live("slow"));
    let told = server.policy.decide.clone();
    let (served, ()) = tokio::join!(client.session().handle(id, slow), async move {
        idle().await;
        told.notify_waiters();
    });
    served.unwrap();
    assert_eq!(client.read().await.len(), 1);
    cut(client).await;
    let mut again = server.door().await;
    let id = again.next_id();
    let taking = again.session().handle(id, connect("ann", Some(&secret), &[]));
    assert!(tokio::time::timeout(Duration::from_secs(1), taking).await.is_err(), "the policy takes its time");
    cut(again).await;
    let mut third = server.door().await;
    let id = third.next_id();
    let told = server.policy.decide.clone();
    let (served, ()) =
        tokio::join!(third.session().handle(id, connect("ann", Some(&secret), &[])), async move {
            idle().await;
            told.notify_waiters();
        });
    served.unwrap();
    let reply = "1: connected ann resumed [log.a: subscribed recovered #0] [slow: subscribed not recovered]";
    assert_eq!(third.read().await[0], reply);
}

#[tokio::test(start_paused = true)]
async fn a_session_waits_as_long_as_its_user_has_no_room() {
    let server = Server::start(|broker| broker.limits(|limits| limits.connections_per_user = 1)).await;
    let (mut client, secret) = server.client("ann").await;
    client.subscribe("log.a").await;
    cut(client).await;
    let (other, _) = server.client("ann").await;
    let mut refused = server.door().await;
    let id = refused.next_id();
    let served = refused.session().handle(id, connect("ann", Some(&secret), &[])).await;
    assert_eq!(served.unwrap_err().kind, CloseKind::ConnectionLimit);
    cut(refused).await;
    assert_eq!(server.node.broker.stats().parked_sessions, 1, "it is there still");
    other.into_session().close(CloseKind::Normal.into()).await;
    let (client, lines) = server.resume("ann", &secret).await;
    assert_eq!(lines[0], "1: connected ann resumed [log.a: subscribed recovered #0]");
    // From a connection that is still there it is taken up all the same: that one makes room.
    let (_, lines) = server.resume("ann", &secret).await;
    assert_eq!(lines[0], "1: connected ann resumed [log.a: subscribed recovered #0]");
    drop(client);
}
