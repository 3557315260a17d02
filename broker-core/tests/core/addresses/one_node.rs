//! On one node.

use fanfare_core::{
    publish::PublishError,
    session::{ClientId, Command, ConnectCommand, Handshake},
    topic::{Address, Topic, TopicConfig},
};

use super::{node, user};
use crate::support::{TestClient, deliveries, idle};

fn address(client: &TestClient) -> Address {
    Address::client(client.outbox.client())
}

#[tokio::test(start_paused = true)]
async fn all_connections_of_a_user_get_a_message_and_nobody_else() {
    let node = node(|broker| broker.shards(3)).await;
    let (mut tabs, mut others) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        tabs.push(user(&node, "ann").await);
        others.push(user(&node, "anna").await);
        others.push(node.client().await);
    }
    let report = node.broker.publish("$user.ann", "hello").event("greeting").report().await.unwrap();
    assert_eq!((report.matched, report.delivered, report.counted), (4, 4, true));
    for tab in &mut tabs {
        assert_eq!(tab.read().await, ["$user.ann hello event=greeting"]);
    }
    for other in &mut others {
        assert!(other.read().await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn one_connection_of_several_gets_what_is_for_it() {
    let node = node(|broker| broker.shards(2)).await;
    let (mut one, mut another) = (user(&node, "ann").await, user(&node, "ann").await);
    node.broker.publish(&address(&one), "just you").await.unwrap();
    let name = address(&one).name().unwrap();
    assert_eq!(one.read().await, [format!("{name} just you")]);
    assert!(another.read().await.is_empty());
    // Somebody who is not there, or not any more.
    let gone = address(&another);
    let session = another.into_session();
    session.close(fanfare_core::session::CloseKind::Normal.into()).await;
    for nobody in [gone, Address::client(ClientId::new(1)), Address::user("bob")] {
        let report = node.broker.publish(&nobody, "?").report().await.unwrap();
        assert_eq!((report.matched, report.counted), (0, true));
    }
    assert!(one.read().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn everybody_gets_what_is_for_all_but_those_who_are_left_out() {
    let node = node(|broker| broker.shards(2)).await;
    let mut clients = Vec::new();
    for name in ["ann", "bob", "cleo"] {
        clients.push(user(&node, name).await);
    }
    clients.push(node.client().await);
    node.broker.publish("$all", "1").await.unwrap();
    node.broker.publish("$all", "2").except(clients[1].outbox.client()).await.unwrap();
    node.broker.publish("$all", "3").await.unwrap();
    for (at, client) in clients.iter_mut().enumerate() {
        let lines = client.read().await;
        if at == 1 {
            assert_eq!(lines, ["$all 1", "$all 3"]);
        } else {
            assert_eq!(lines, ["$all 1", "$all 2", "$all 3"]);
        }
    }
    assert_eq!(node.broker.stats().hidden, 1);
}

#[tokio::test(start_paused = true)]
async fn several_topics_and_addresses_are_one_copy_each() {
    let node = node(|broker| broker.shards(3)).await;
    let (mut ann, mut bob) = (user(&node, "ann").await, user(&node, "bob").await);
    let (mut reader, mut stranger) = (node.client().await, node.client().await);
    for client in [&mut ann, &mut reader] {
        client.subscribe("a").await;
        client.subscribe("b.*").await;
    }
    let all = node.broker.publish("a", "1").also("b.c").also("$user.ann").also("$user.bob");
    let all = all.also(&address(&ann)).also(&address(&reader)).also("$user.ann").except(ClientId::new(1));
    let report = all.report().await.unwrap();
    assert_eq!(report.matched, 3);
    for client in [&mut ann, &mut reader] {
        let lines = client.read().await;
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].ends_with(" 1"), "{lines:?}");
    }
    assert_eq!(bob.read().await, ["$user.bob 1"]);
    assert!(stranger.read().await.is_empty());
    // Everybody, and none of them twice.
    let report = node.broker.publish("$all", "2").also("$user.ann").also("a").report().await.unwrap();
    assert_eq!(report.matched, 4);
    for client in [&mut ann, &mut bob, &mut reader, &mut stranger] {
        assert_eq!(client.read().await.len(), 1);
    }
    let depths = node.broker.stats().shard_depths;
    assert!(depths.iter().all(|depth| *depth == 0), "permits are missing: {depths:?}");
}

#[tokio::test(start_paused = true)]
async fn what_one_publisher_says_comes_in_its_order() {
    let node = node(|broker| broker.shards(2)).await;
    let mut ann = user(&node, "ann").await;
    let id = address(&ann);
    for number in 0..300 {
        let publish = match number % 3 {
            0 => node.broker.publish("$user.ann", number.to_string()),
            1 => node.broker.publish("$all", number.to_string()),
            _ => node.broker.publish(&id, number.to_string()),
        };
        publish.await.unwrap();
    }
    let numbers = ann.read().await;
    let numbers: Vec<_> = numbers.iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(numbers, (0..300).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn names_that_hold_anything_are_escaped_and_never_somebody_else() {
    let node = node(|broker| broker).await;
    for name in ["a.b", "a b", "$all", "*", ">", "%", "ä", "ann%2Ebob"] {
        let (mut one, mut another) = (user(&node, name).await, user(&node, "ann").await);
        let report = node.broker.publish(&Address::user(name), "hello").report().await.unwrap();
        assert_eq!(report.matched, 1, "{name}");
        let expected = Address::user(name).name().unwrap();
        assert_eq!(one.read().await, [format!("{expected} hello")]);
        assert!(another.read().await.is_empty());
    }
    for wrong in ["$user", "$user.a.b", "$client.me", "$client", "$nodes", "$direct", "$all.x"] {
        let refused = node.broker.publish(wrong, "?").await;
        let is_refused = matches!(refused, Err(PublishError::Unsupported { field: "topic", .. }));
        assert!(is_refused, "{wrong}: {refused:?}");
        assert!(node.broker.subscribe(wrong).await.is_err(), "{wrong} is no topic");
    }
    assert!(node.broker.subscribe("$user.ann").await.is_err(), "nobody subscribes to an address");
    assert_eq!(node.broker.topics(), [], "nothing is held for them");
}

#[tokio::test(start_paused = true)]
async fn nothing_comes_before_the_client_is_admitted() {
    let node = node(|broker| broker).await;
    let mut late = user(&node, "?").await;
    let id = address(&late);
    node.broker.publish("$all", "too early").also(&id).await.unwrap();
    assert!(late.read().await.is_empty());
    let mut connect = ConnectCommand::default();
    connect.token = Some("ann".to_owned());
    assert_eq!(late.call(Command::Connect(connect)).await, ["1: connected ann"]);
    for to in ["$all", "$user.ann"] {
        node.broker.publish(to, "now").await.unwrap();
    }
    node.broker.publish(&id, "now").await.unwrap();
    assert_eq!(late.read().await.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn an_address_keeps_nothing_whatever_topics_are_configured_to() {
    let history = TopicConfig::new().history(10);
    let node = node(|broker| broker.default_topic(history.clone()).topic("$user.*", history)).await;
    let mut ann = user(&node, "ann").await;
    assert_eq!(node.broker.publish("$user.ann", "hello").await.unwrap().position, None);
    assert_eq!(ann.read().await, ["$user.ann hello"]);
    let refused = node.broker.publish("$user.ann", "hello").message_id("m-1").await;
    assert!(refused.is_err(), "{refused:?}");
    // A log has an order of its own, which a message to others as well cannot have.
    assert!(node.broker.publish("log", "x").also("$user.ann").await.is_err());
    idle().await;
    assert!(ann.read().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_is_another_connection_of_the_same_user() {
    let node = node(|broker| broker).await;
    let first = user(&node, "ann").await;
    let session = first.into_session();
    drop(session);
    idle().await;
    node.broker.publish("$user.ann", "missed").await.unwrap();
    let mut second = node.connect(Handshake::new("test").with_token("ann")).await.unwrap();
    node.broker.publish("$user.ann", "seen").await.unwrap();
    assert_eq!(second.read().await, ["$user.ann seen"]);
}

#[tokio::test(start_paused = true)]
async fn the_clients_that_an_app_has_chosen_are_published_to() {
    let node = node(|broker| broker.shards(2)).await;
    let (mut ann, mut ann_too, mut bob) =
        (user(&node, "ann").await, user(&node, "ann").await, user(&node, "bob").await);
    bob.subscribe("room").await;
    let clients = || node.broker.clients();
    clients().user("ann").except(ann.outbox.client()).publish("1").event("note").await.unwrap();
    clients().publish("2").await.unwrap();
    clients().client(bob.outbox.client()).publish("3").await.unwrap();
    clients().topic("room").publish("4").await.unwrap();
    assert_eq!(ann.read().await, ["$all 2"]);
    assert_eq!(ann_too.read().await, ["$user.ann 1 event=note", "$all 2"]);
    let id = address(&bob).name().unwrap();
    assert_eq!(deliveries(bob.read().await), ["$all 2".to_owned(), format!("{id} 3"), "room 4".to_owned()]);
    let not_one = [clients().user("ann").topic("room"), clients().local(), clients().user("ann").user("bob")];
    for clients in not_one {
        let refused = clients.publish("5").await;
        assert!(matches!(refused, Err(PublishError::Unsupported { field: "topic", .. })), "{refused:?}");
    }
    assert!(matches!(clients().topic("a..b").publish("6").await, Err(PublishError::InvalidTopic(_))));
}
