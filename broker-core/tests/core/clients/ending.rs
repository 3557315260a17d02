//! Connections that the app ends.

use fanfare_core::session::{CloseKind, CloseReason};

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
