//! On several nodes: memory hubs with faults, and a backend elsewhere that a test plays.

use std::sync::Arc;

use fanfare_core::{
    Broker,
    backend::{
        Incoming, NodeId, Origin,
        memory::{HubNode, MemoryHub},
    },
    message::MessageParts,
    policy::Open,
    publish::PublishError,
    topic::{Address, Topic},
};

use super::user;
use crate::support::{Faulty, Handle, Node, Remote, TestClient, idle, name};

async fn node(hub: &MemoryHub) -> Node {
    super::node(|broker| broker.backend(hub.node()).shards(2)).await
}

async fn cut_node(hub: &MemoryHub) -> (Arc<HubNode>, Node) {
    let cut = Arc::new(hub.node());
    let backend = Handle(cut.clone());
    (cut, super::node(|broker| broker.backend(backend)).await)
}

fn address(client: &TestClient) -> Address {
    Address::client(client.outbox.client())
}

#[tokio::test(start_paused = true)]
async fn a_users_tabs_on_all_nodes_get_a_message_once_each_and_nobody_else() {
    let hub = MemoryHub::new();
    let nodes = [node(&hub).await, node(&hub).await, node(&hub).await];
    let (mut tabs, mut others) = (Vec::new(), Vec::new());
    for node in &nodes {
        for _ in 0..2 {
            tabs.push(user(node, "ann").await);
        }
        others.push(user(node, "bob").await);
        others.push(node.client().await);
    }
    for (at, node) in nodes.iter().enumerate() {
        let number = at.to_string();
        node.broker.publish("$user.ann", number.clone()).event("note").await.unwrap();
        for tab in &mut tabs {
            assert_eq!(tab.read().await, [format!("$user.ann {number} event=note")]);
        }
    }
    for other in &mut others {
        assert!(other.read().await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn one_connection_is_found_on_whichever_node_it_is() {
    let hub = MemoryHub::new();
    let (here, there) = (node(&hub).await, node(&hub).await);
    let (mut one, mut other) = (user(&there, "ann").await, user(&there, "ann").await);
    let to = address(&one);
    here.broker.publish(&to, "just you").await.unwrap();
    assert_eq!(one.read().await, [format!("{} just you", to.name().unwrap())]);
    assert!(other.read().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn several_topics_and_addresses_are_one_copy_each_on_all_nodes() {
    let hub = MemoryHub::new();
    let (here, there) = (node(&hub).await, node(&hub).await);
    let mut clients = Vec::new();
    for node in [&here, &there] {
        for _ in 0..3 {
            let mut client = user(node, "ann").await;
            client.subscribe("news").await;
            client.subscribe("sport.*").await;
            clients.push(client);
        }
    }
    let (left_out, address) = (clients.pop().unwrap(), address(&clients[0]));
    for node in [&here, &there] {
        let publish = node.broker.publish("news", "1").also("$user.ann").also("sport.chess").also("$all");
        publish.also(&address).except(left_out.outbox.client()).await.unwrap();
        node.broker.publish("$user.ann", "2").also("news").await.unwrap();
    }
    for client in &mut clients {
        let lines = client.read().await;
        let mut payloads: Vec<_> = lines.iter().map(|line| line.split(' ').nth(1).unwrap()).collect();
        payloads.sort_unstable();
        assert_eq!(payloads, ["1", "1", "2", "2"], "{lines:?}");
    }
    let mut left_out = left_out;
    let lines = left_out.read().await;
    assert!(lines.len() == 2 && lines.iter().all(|line| line.ends_with('2')), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_publishers_order_is_kept() {
    let hub = MemoryHub::new();
    let (here, there) = (node(&hub).await, node(&hub).await);
    let mut ann = user(&there, "ann").await;
    for number in 0..100 {
        let to = if number % 2 == 0 { "$user.ann" } else { "$all" };
        here.broker.publish(to, number.to_string()).await.unwrap();
    }
    let lines = ann.read().await;
    let numbers: Vec<_> = lines.iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(numbers, (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_a_node_could_not_carry_is_told_to_everybody_elsewhere() {
    let hub = MemoryHub::new();
    let (cut, here) = cut_node(&hub).await;
    let there = node(&hub).await;
    let (mut near, mut far, mut anybody) =
        (user(&here, "ann").await, user(&there, "ann").await, user(&there, "bob").await);
    here.broker.publish("$user.ann", "1").await.unwrap();
    assert_eq!(far.read().await, ["$user.ann 1"]);
    cut.set_connected(false);
    for number in 2..=4 {
        let sent = here.broker.publish("$user.ann", number.to_string()).await;
        assert!(matches!(sent, Err(PublishError::NotCarried(_))), "{sent:?}");
    }
    assert_eq!(near.read().await.len(), 4, "who is on this node has it all the same");
    cut.set_connected(true);
    // Whose the lost ones were nobody can know.
    assert_eq!(far.read().await, ["$direct gap missed=3 ?..? backend"]);
    assert_eq!(anybody.read().await, ["$direct gap missed=3 ?..? backend"]);
    // This node was cut off, too: what others published to its clients is lost, as far as it knows.
    assert_eq!(near.read().await, ["$direct gap missed=? ?..? backend"]);
    here.broker.publish("$user.ann", "5").await.unwrap();
    assert_eq!(far.read().await, ["$user.ann 5"]);
    assert!(anybody.read().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_came_while_a_node_was_cut_off_is_told_on_its_return() {
    let hub = MemoryHub::new();
    let (cut, here) = cut_node(&hub).await;
    let there = node(&hub).await;
    let mut ann = user(&here, "ann").await;
    there.broker.publish("$user.ann", "1").await.unwrap();
    idle().await;
    cut.set_connected(false);
    there.broker.publish("$user.ann", "2").await.unwrap();
    idle().await;
    cut.set_connected(true);
    idle().await;
    there.broker.publish("$user.ann", "3").await.unwrap();
    assert_eq!(ann.read().await, ["$user.ann 1", "$direct gap missed=? ?..? backend", "$user.ann 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_does_not_answer_at_the_start_is_asked_again_and_the_loss_is_told() {
    let hub = MemoryHub::new();
    let faulty = Faulty::of(&hub);
    faulty.fail("subscribe to nodes", 1);
    let backend = Handle(faulty.clone());
    let here = super::node(|broker| broker.backend(backend)).await;
    let mut ann = user(&here, "ann").await;
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    assert_eq!(ann.read().await, ["$direct gap missed=? ?..? backend"]);
    let there = node(&hub).await;
    there.broker.publish("$user.ann", "hello").await.unwrap();
    assert_eq!(ann.read().await, ["$user.ann hello"]);
}

#[tokio::test(start_paused = true)]
async fn who_connected_before_the_backend_had_started_is_told_and_gets_what_comes_after() {
    let remote = Remote::new();
    remote.starts.shut();
    let broker = Broker::builder().policy(Open).shards(1).backend(Handle(remote.clone()));
    let node = Node::of(broker.start_degraded().unwrap());
    let mut client = node.client().await;
    idle().await;
    remote.starts.open();
    assert_eq!(client.read().await, ["$direct gap missed=? ?..? backend"]);
    remote.ingress().deliver(from(1, 1, "$all")).await;
    assert_eq!(client.read().await, ["$all 1"]);
}

fn from(stream: u64, seq: u64, to: &str) -> Incoming {
    let mut parts = MessageParts::new(name("$nodes"), seq.to_string());
    parts.message_id = Some(to.into());
    Incoming::ephemeral(parts, Origin { node: NodeId::new(1), stream, seq })
}

#[tokio::test(start_paused = true)]
async fn holes_in_another_nodes_numbers_are_counted_and_repeats_dropped() {
    let remote = Remote::new();
    let backend = Handle(remote.clone());
    let node = super::node(|broker| broker.backend(backend)).await;
    let (mut ann, mut bob) = (user(&node, "ann").await, user(&node, "bob").await);
    let ingress = remote.ingress();
    for incoming in [from(1, 1, "$user.ann"), from(1, 4, "$user.ann"), from(1, 4, "$user.ann")] {
        ingress.deliver(incoming).await;
    }
    let expected = ["$user.ann 1", "$direct gap missed=2 ?..? backend", "$user.ann 4"];
    assert_eq!(ann.read().await, expected);
    assert_eq!(bob.read().await, ["$direct gap missed=2 ?..? backend"]);
    // What this version does not know, and what is no address, reaches nobody.
    for nonsense in ["", "$group.x", "$user", "chat", "$user.ann\u{0}", "  "] {
        let seq = 5;
        ingress.deliver(from(nonsense.len() as u64 + 2, seq, nonsense)).await;
    }
    assert!(ann.read().await.is_empty() && bob.read().await.is_empty());
    remote.ingress().lost(Some(&name("$nodes")));
    assert_eq!(bob.read().await, ["$direct gap missed=? ?..? backend"]);
    remote.ingress().lost(None);
    assert_eq!(bob.read().await, ["$direct gap missed=? ?..? backend"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_for_a_connection_of_this_node_alone_is_not_carried() {
    let remote = Remote::new();
    let backend = Handle(remote.clone());
    let node = super::node(|broker| broker.backend(backend)).await;
    let (mut ann, mut bob) = (user(&node, "ann").await, user(&node, "bob").await);
    let (to_ann, to_bob) = (address(&ann), address(&bob));
    idle().await;
    remote.calls();
    node.broker.publish(&to_ann, "1").also(&to_bob).await.unwrap();
    assert_eq!((ann.read().await.len(), bob.read().await.len()), (1, 1));
    assert_eq!(remote.calls(), Vec::<String>::new());
    // Where somebody may be elsewhere, or is, it is.
    for publish in [
        node.broker.publish(&to_ann, "2").also("$user.bob"),
        node.broker.publish(&to_ann, "2").also("news"),
        node.broker.publish(&Address::client(fanfare_core::session::ClientId::new(1)), "2"),
    ] {
        publish.await.unwrap();
        assert_eq!(remote.calls(), ["publish $nodes 2"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_alone_asks_nothing_of_its_backend() {
    let node = super::node(|broker| broker).await;
    let mut ann = user(&node, "ann").await;
    node.broker.publish("$user.ann", "hello").await.unwrap();
    assert_eq!(ann.read().await, ["$user.ann hello"]);
    assert_eq!(node.broker.stats().topics, 0);
}
