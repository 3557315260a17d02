//! Nodes that do not answer.

use fanfare_core::session::CloseKind;
use tokio::time::Instant;

use super::*;

#[tokio::test(start_paused = true)]
async fn a_node_that_is_cut_off_counts_as_not_answered_and_then_as_away() {
    let cluster = Cluster::of(3).await;
    let _ann = cluster.client(0, "ann", &["t"]).await;
    let _bob = cluster.client(1, "bob", &["t"]).await;
    let broker = &cluster.node(0).broker;
    assert_eq!(broker.nodes().len(), 2);
    cluster.lines[1].hub.set_connected(false);
    let start = Instant::now();
    let members = broker.clients().topic("t").within(Duration::from_secs(2)).list().await.unwrap();
    assert_eq!((members.total, members.answered, members.asked), (1, 2, 3));
    assert!(!members.is_complete());
    assert_eq!(start.elapsed().as_secs(), 2);
    // And once it is known to be away nobody waits for it.
    tokio::time::sleep(Duration::from_secs(8)).await;
    let start = Instant::now();
    let members = broker.members("t").await.unwrap();
    assert_eq!((members.total, members.answered, members.asked), (1, 2, 2));
    assert!(start.elapsed() < Duration::from_millis(100));
    cluster.lines[1].hub.set_connected(true);
    soon().await;
    let members = broker.members("t").await.unwrap();
    assert_eq!((members.total, members.answered, members.asked), (2, 3, 3));
}

#[tokio::test(start_paused = true)]
async fn this_nodes_clients_are_reached_while_the_backend_is_away() {
    let cluster = Cluster::of(2).await;
    let mut ann = cluster.client(0, "ann", &[]).await;
    let _bob = cluster.client(1, "bob", &[]).await;
    cluster.lines[0].hub.set_connected(false);
    let broker = &cluster.node(0).broker;
    let start = Instant::now();
    assert_eq!(counts(broker.clients().subscribe("t").await.unwrap()), (1, 1, 1, 2));
    assert_eq!(counts(broker.clients().disconnect(CloseKind::Kicked).await.unwrap()), (1, 1, 1, 2));
    assert!(start.elapsed() < Duration::from_millis(100), "what cannot be sent is not waited for");
    assert!(ann.over().await.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_is_dropped_has_asked_the_others() {
    let cluster = Cluster::of(2).await;
    let mut bob = cluster.client(1, "bob", &[]).await;
    let broker = &cluster.node(0).broker;
    let mut gone = Box::pin(broker.clients().disconnect(CloseKind::Kicked));
    drop(Box::pin(broker.clients().disconnect(CloseKind::Restart)));
    soon().await;
    assert_eq!(bob.over().await, None, "what is never polled does nothing");
    assert!(crate::support::waits(&mut gone));
    drop(gone);
    soon().await;
    assert_eq!(bob.over().await.map(|reason| reason.kind), Some(CloseKind::Kicked));
}

#[tokio::test(start_paused = true)]
async fn operations_from_all_sides_at_once_do_not_wait_for_each_other() {
    let cluster = Cluster::of(3).await;
    let mut clients = Vec::new();
    for at in 0..3 {
        clients.push(cluster.client(at, "", &["t"]).await);
    }
    let start = Instant::now();
    let mut asking = Vec::new();
    for round in 0..60 {
        let broker = cluster.node(round % 3).broker.clone();
        asking.push(tokio::spawn(async move { broker.members("t").await.unwrap() }));
    }
    for asked in asking {
        let members = asked.await.unwrap();
        assert_eq!((members.total, members.answered, members.asked), (3, 3, 3));
    }
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_broker_alone_asks_nobody() {
    let policy = Names::default();
    let node = Node::start(|builder| builder.policy(policy.clone())).await;
    let mut client = node.connect(Handshake::new("test").with_token("ann")).await.unwrap();
    client.subscribe("t").await;
    let members = node.broker.members("t").await.unwrap();
    assert_eq!((named(&members), members.answered, members.asked), (vec![id(&mut client)], 1, 1));
    assert!(node.broker.nodes().is_empty());
    assert_eq!(members.clients[0].node, node.broker.node());
}
