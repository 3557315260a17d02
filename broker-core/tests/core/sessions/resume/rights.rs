//! A session that is taken up has the rights of now.

use super::*;

#[tokio::test(start_paused = true)]
async fn rights_are_looked_at_again() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    client.subscribe("closing").await;
    client.subscribe("open").await;
    cut(client).await;
    server.policy.closed.store(true, Ordering::Relaxed);
    let asked = server.policy.asked.load(Ordering::Relaxed);
    let (client, lines) = server.resume("ann", &secret).await;
    let reply = "1: connected ann resumed [closing: error forbidden topic] [open: subscribed not recovered]";
    assert_eq!(lines[0], reply);
    assert_eq!(server.policy.asked.load(Ordering::Relaxed), asked + 2);
    server.policy.closed.store(false, Ordering::Relaxed);
    cut(client).await;
    let (_, lines) = server.resume("ann", &secret).await;
    assert_eq!(lines[0], "1: connected ann resumed [open: subscribed not recovered]", "it is gone for good");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_back_meanwhile_is_not_given_again() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    client.subscribe("a.1").await;
    client.subscribe("b.1").await;
    cut(client).await;
    server.node.broker.clients().user("ann").revoke("a.*").await.unwrap();
    let (_, lines) = server.resume("ann", &secret).await;
    assert_eq!(lines[0], "1: connected ann resumed [b.1: subscribed not recovered]");
    let (client, secret) = server.client("ann").await;
    cut(client).await;
    server.node.broker.clients().user("ann").disconnect(CloseKind::Kicked).await.unwrap();
    assert_eq!(server.resume("ann", &secret).await.1, ["1: connected ann"], "who is thrown out stays out");
}

#[tokio::test(start_paused = true)]
async fn a_right_that_is_taken_back_while_the_session_is_taken_up_is_not_given_again() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    let told = server.policy.decide.clone();
    let id = client.next_id();
    let slow = Command::Subscribe(SubscribeCommand::live("slow"));
    let (served, ()) = tokio::join!(client.session().handle(id, slow), async {
        idle().await;
        told.notify_waiters();
    });
    served.unwrap();
    client.subscribe("later").await;
    cut(client).await;
    let mut again = server.door().await;
    let id = again.next_id();
    let (served, ()) = tokio::join!(again.session().handle(id, connect("ann", Some(&secret), &[])), async {
        idle().await;
        // One is being asked about, the other has its turn after it.
        server.node.broker.clients().user("ann").revoke(">").await.unwrap();
        told.notify_waiters();
    });
    served.unwrap();
    let lines = again.read().await;
    assert_eq!(lines, ["1: connected ann resumed [slow: error revoked topic] [later: error revoked topic]"]);
    assert_eq!(server.node.broker.stats().subscriptions, 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_server_had_made_is_looked_at_again_on_its_way_as_well() {
    let server = Server::start(|broker| broker).await;
    let (mut client, secret) = server.client("ann").await;
    let broker = &server.node.broker;
    broker.clients().user("ann").subscribe("closing").await.unwrap();
    let told = server.policy.decide.clone();
    let id = client.next_id();
    let slow = Command::Subscribe(SubscribeCommand::live("slow"));
    let (served, ()) = tokio::join!(client.session().handle(id, slow), async {
        idle().await;
        told.notify_waiters();
    });
    served.unwrap();
    cut(client).await;
    let mut again = server.door().await;
    let id = again.next_id();
    let (served, ()) = tokio::join!(again.session().handle(id, connect("ann", Some(&secret), &[])), async {
        idle().await;
        // It has been allowed, and waits for the other one.
        server.policy.closed.store(true, Ordering::Relaxed);
        let looking = broker.clients().user("ann");
        let (looked, ()) = tokio::join!(looking.reauthorize(), async {
            idle().await;
            told.notify_waiters();
        });
        looked.unwrap();
    });
    served.unwrap();
    let lines = again.read().await;
    assert!(lines[0].contains("[closing: error revoked topic retry]"), "{lines:?}");
    assert_eq!(again.session().subscription("closing"), None);
}
