//! Connections that the app ends.

use fanfare_core::session::{CloseKind, CloseReason, Command, PublishCommand};

use super::*;

#[tokio::test(start_paused = true)]
async fn everybody_in_a_topic_is_disconnected_on_all_nodes_with_the_reason() {
    let cluster = Cluster::of(2).await;
    let mut ann = cluster.client(0, "ann", &["lobby"]).await;
    let mut bob = cluster.client(1, "bob", &["lobby"]).await;
    let mut eve = cluster.client(1, "eve", &["garden"]).await;
    let broker = &cluster.node(0).broker;
    let reason = CloseReason::with_message(CloseKind::Kicked, "the lobby is closed")
        .retry_after(Duration::from_secs(30));
    assert_eq!(
        counts(broker.clients().topic("lobby").disconnect(reason.clone()).await.unwrap()),
        (2, 2, 2, 2)
    );
    for client in [&mut ann, &mut bob] {
        assert_eq!(client.over().await.as_ref(), Some(&reason));
        assert_eq!(client.lines().last().map(String::as_str), Some("close 4005 kicked retry"));
    }
    assert_eq!(eve.over().await, None);
}

#[tokio::test(start_paused = true)]
async fn all_tabs_of_a_user_go_but_one() {
    let cluster = Cluster::of(2).await;
    let mut stays = cluster.client(0, "ann", &[]).await;
    let mut goes = [cluster.client(0, "ann", &[]).await, cluster.client(1, "ann", &[]).await];
    let broker = &cluster.node(1).broker;
    let others = broker.clients().user("ann").except(id(&mut stays));
    assert_eq!(counts(others.disconnect(CloseKind::Kicked).await.unwrap()), (2, 2, 2, 2));
    for client in &mut goes {
        assert_eq!(client.over().await.map(|reason| reason.kind), Some(CloseKind::Kicked));
    }
    assert_eq!(stays.over().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_disconnected_all_the_same() {
    let cluster = Cluster::of(1).await;
    let mut client = cluster.client(0, "ann", &["t"]).await;
    client.wire.shut();
    let broker = &cluster.node(0).broker;
    for number in 0..100 {
        broker.publish("t", number.to_string()).await.unwrap();
    }
    let gone = broker.clients().user("ann").disconnect(CloseKind::Kicked).await.unwrap();
    assert_eq!(counts(gone), (1, 1, 1, 1));
    client.wire.open();
    assert_eq!(client.over().await.map(|reason| reason.kind), Some(CloseKind::Kicked));
}

#[tokio::test(start_paused = true)]
async fn what_was_published_before_goes_out_first_and_nothing_after() {
    let cluster = Cluster::of(1).await;
    let mut client = cluster.client(0, "ann", &["a", "b"]).await;
    let mut other = cluster.client(0, "bob", &["a"]).await;
    client.lines();
    let broker = &cluster.node(0).broker;
    for by_name in [false, true] {
        // Nobody waits in between: all of it is still on its way to the shard.
        for number in 0..300 {
            broker.publish("a", number.to_string()).await.unwrap();
        }
        broker.publish("b", "the last of b").await.unwrap();
        broker.publish("$user.ann", "you are banned").await.unwrap();
        if by_name {
            assert!(broker.disconnect(id(&mut client), CloseKind::Kicked.into()));
        } else {
            let gone = broker.clients().user("ann").disconnect(CloseKind::Kicked).await.unwrap();
            assert_eq!(counts(gone), (1, 1, 1, 1));
        }
        idle().await;
        broker.publish("a", "too late").await.unwrap();
        assert_eq!(client.over().await.map(|reason| reason.kind), Some(CloseKind::Kicked));
        let lines = client.lines();
        let numbers: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("a ")).collect();
        assert_eq!(numbers, (0..300).map(|number| number.to_string()).collect::<Vec<_>>());
        for line in ["b the last of b", "$user.ann you are banned"] {
            assert!(lines.iter().any(|held| held == line), "{line}");
        }
        assert_eq!(lines.last().map(String::as_str), Some("close 4005 kicked"));
        client = cluster.client(0, "ann", &["a", "b"]).await;
        client.lines();
    }
    assert_eq!(other.read().await.iter().filter(|line| *line == "a too late").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn no_command_is_served_from_the_moment_on() {
    let cluster = Cluster::of(1).await;
    let mut client = cluster.client(0, "ann", &["a"]).await;
    let mut other = cluster.client(0, "bob", &["a"]).await;
    other.lines();
    let broker = &cluster.node(0).broker;
    client.wire.shut();
    broker.publish("a", "something that waits").await.unwrap();
    // One whose right is being looked at, and one that comes after.
    cluster.policy.take(Duration::from_secs(1));
    let number = client.next_id();
    let begun = Command::Publish(PublishCommand::new("a", "I was still here"));
    let dismiss = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        broker.clients().user("ann").disconnect(CloseKind::Kicked).await.unwrap()
    };
    let (served, _) = tokio::join!(client.session().handle(number, begun), dismiss);
    served.unwrap();
    let publish = Command::Publish(PublishCommand::new("a", "I am still here"));
    assert_eq!(client.send(publish).await.map_err(|reason| reason.kind), Err(CloseKind::Kicked));
    assert!(other.read().await.iter().all(|line| !line.contains("still here")));
}

#[tokio::test(start_paused = true)]
async fn who_takes_its_time_over_the_rest_has_one_write_deadline_for_all_of_it() {
    let cluster = Cluster::of(1).await;
    let client = cluster.client(0, "ann", &["a"]).await;
    let broker = &cluster.node(0).broker;
    client.wire.shut();
    for number in 0..100 {
        broker.publish("a", number.to_string()).await.unwrap();
    }
    broker.clients().user("ann").disconnect(CloseKind::Kicked).await.unwrap();
    soon().await;
    for second in 1..=20 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        // It takes a byte now and then, so that something always has been taken.
        client.wire.allow(1);
        soon().await;
        assert!(client.outbox.stalled_for().unwrap() >= Duration::from_secs(second));
    }
    client.wire.open();
    soon().await;
    assert_eq!(client.outbox.stalled_for(), None, "all of it has gone out");
}
