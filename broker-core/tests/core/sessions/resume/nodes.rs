//! A session that goes on at another node.

use fanfare_core::topic::Address;

use super::*;
use crate::support::Faulty;

async fn two_nodes() -> (Arc<HubNode>, Server, Server) {
    let hub = MemoryHub::new();
    let (one, two) = (Arc::new(hub.node()), Arc::new(hub.node()));
    let first = Server::start(|broker| broker.backend(Handle(one.clone()))).await;
    let second = Server::start(|broker| broker.backend(Handle(two))).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(first.node.broker.nodes().len(), 1, "they know of each other");
    (one, first, second)
}

async fn three_nodes() -> (MemoryHub, Arc<Faulty>, [Server; 3]) {
    let hub = MemoryHub::new();
    let faulty = Faulty::of(&hub);
    let first = Server::start(|broker| broker.backend(Handle(faulty.clone()))).await;
    let (second, third) = (node_of(&hub).await, node_of(&hub).await);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(first.node.broker.nodes().len(), 2, "they know of each other");
    (hub, faulty, [first, second, third])
}

async fn node_of(hub: &MemoryHub) -> Server {
    Server::start(|broker| broker.backend(hub.node())).await
}

fn parked(servers: &[&Server]) -> usize {
    servers.iter().map(|server| server.node.broker.stats().parked_sessions).sum()
}

#[tokio::test(start_paused = true)]
async fn a_session_moves_to_another_node_once() {
    let (_hub, first, second) = two_nodes().await;
    let (mut client, secret) = first.client("ann").await;
    client.subscribe("log.a").await;
    client.subscribe("now").await;
    let id = client.session().client().unwrap();
    first.node.broker.clients().client(id).subscribe("log.server").await.unwrap();
    cut(client).await;
    second.node.publish_numbers("log.a", 1..=1).await;
    assert_eq!(second.resume("bob", &secret).await.1, ["1: connected bob"], "it is another user's");
    let (mut again, lines) = second.resume("ann", &secret).await;
    let reply = "1: connected ann resumed [log.a: subscribed recovered #0] [now: subscribed not recovered] \
                 [log.server: subscribed recovered #0]";
    assert_eq!(lines[0], reply);
    assert!(lines.contains(&"log.a#1 1".to_owned()), "{lines:?}");
    assert_eq!(again.session().client(), Some(id));
    assert_eq!(first.node.broker.stats().parked_sessions, 0, "who gives it away has it no longer");
    // The reply may be lost: the old secret finds it where it is now, and takes it from a connection that is half open.
    let (_third, lines) = first.resume("ann", &secret).await;
    assert!(lines[0].starts_with("1: connected ann resumed [log.a"), "{lines:?}");
    assert_eq!(again.over().await.map(|reason| reason.kind), Some(CloseKind::Resumed));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_arrives_too_late_for_its_connection_waits_for_the_next() {
    let (hub, first, second) = two_nodes().await;
    let (mut client, secret) = second.client("ann").await;
    client.subscribe("a").await;
    cut(client).await;
    let mut again = first.door().await;
    let id = again.next_id();
    {
        let mut taking = Box::pin(again.session().handle(id, connect("ann", Some(&secret), &[])));
        assert!(crate::support::waits(&mut taking), "it is asked for");
    }
    cut(again).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let parked = |server: &Server| server.node.broker.stats().parked_sessions;
    assert_eq!(parked(&first) + parked(&second), 1, "it is not lost");
    let (_, lines) = first.resume("ann", &secret).await;
    assert_eq!(lines[0], "1: connected ann resumed [a: subscribed not recovered]");
    drop(hub);
}

#[tokio::test(start_paused = true)]
async fn what_a_node_that_stops_has_is_with_another() {
    let (hub, _, [first, second, third]) = three_nodes().await;
    let (mut ann, of_ann) = first.client("ann").await;
    ann.subscribe("log.a").await;
    ann.subscribe("now").await;
    let id = ann.session().client().unwrap();
    let (bob, of_bob) = first.client("bob").await;
    cut(bob).await;
    let (carol, of_carol) = first.client("carol").await;
    carol.into_session().close(CloseKind::Normal.into()).await;
    let broker = first.node.broker.clone();
    let drained = tokio::spawn(async move { broker.drain(Duration::from_secs(10)).await });
    let reason = ann.over().await.unwrap();
    assert_eq!(reason.kind, CloseKind::Draining);
    ann.into_session().close(reason).await;
    assert!(drained.await.unwrap());
    assert_eq!((parked(&[&first]), parked(&[&second, &third])), (0, 2));
    second.node.publish_numbers("log.a", 1..=1).await;
    // Whichever of them has it, and whichever is asked.
    let (mut again, lines) = second.resume("ann", &of_ann).await;
    let reply = "1: connected ann resumed [log.a: subscribed recovered #0] [now: subscribed not recovered]";
    assert_eq!(lines[0], reply);
    assert!(lines.contains(&"log.a#1 1".to_owned()), "{lines:?}");
    assert_eq!(again.session().client(), Some(id));
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(parked(&[&second, &third]), 1, "who gives it away has it no longer");
    let (_carol, lines) = third.resume("carol", &of_carol).await;
    assert_eq!(lines, ["1: connected carol"], "she had said goodbye");
    // A node that has come since has not heard who has what.
    let fourth = node_of(&hub).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (_bob, lines) = fourth.resume("bob", &of_bob).await;
    assert_eq!(lines, ["1: connected bob resumed"]);
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(parked(&[&second, &third, &fourth]), 0);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_stops_gives_what_its_own_heirs_gave() {
    let (_hub, _, [first, second, third]) = three_nodes().await;
    let (client, secret) = first.client("ann").await;
    cut(client).await;
    assert!(first.node.broker.drain(Duration::from_secs(10)).await);
    assert_eq!(parked(&[&second, &third]), 1);
    let (stops, stays) = if parked(&[&second]) == 1 { (second, third) } else { (third, second) };
    assert!(stops.node.broker.drain(Duration::from_secs(10)).await);
    assert_eq!(parked(&[&stays]), 1);
    assert_eq!(stays.resume("ann", &secret).await.1, ["1: connected ann resumed"]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_go_is_cut_off_and_finds_its_session() {
    let (_hub, _, [first, second, _third]) = three_nodes().await;
    let (stuck, secret) = first.client("ann").await;
    assert!(!first.node.broker.drain(Duration::from_secs(4)).await);
    assert_eq!(second.resume("ann", &secret).await.1, ["1: connected ann resumed"]);
    drop(stuck);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_given_again() {
    let (_hub, faulty, [first, second, _third]) = three_nodes().await;
    let (client, secret) = first.client("ann").await;
    cut(client).await;
    faulty.fail("control", 1);
    assert_eq!(second.resume("ann", &secret).await.1, ["1: connected ann resumed"]);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!(parked(&[&first]), 0);
    assert_eq!(first.resume("bob", &secret).await.1, ["1: connected bob"]);
    assert!(first.resume("ann", &secret).await.1[0].ends_with("resumed"), "it comes back from there");
}

#[tokio::test(start_paused = true)]
async fn a_session_that_never_arrives_is_kept_for_who_asks_next() {
    let (_hub, faulty, [first, second, third]) = three_nodes().await;
    let (client, secret) = first.client("ann").await;
    cut(client).await;
    faulty.fail("control", 100);
    let (_one, lines) = second.resume("ann", &secret).await;
    assert_eq!(lines, ["1: connected ann"], "nothing is heard of the first");
    faulty.heal();
    let (_two, lines) = third.resume("ann", &secret).await;
    assert_eq!(lines, ["1: connected ann"], "the second may have it");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let (_three, lines) = third.resume("ann", &secret).await;
    assert_eq!(lines, ["1: connected ann resumed"]);
    tokio::time::sleep(Duration::from_secs(6)).await;
    let (_four, lines) = first.resume("ann", &secret).await;
    assert_eq!(lines, ["1: connected ann resumed"], "there is one");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(parked(&[&first, &second, &third]), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_for_a_client_goes_where_it_is_and_not_where_it_was() {
    let (_hub, first, second) = two_nodes().await;
    let (mut half_open, secret) = first.client("ann").await;
    let id = half_open.session().client().unwrap();
    let (mut again, _) = second.resume("ann", &secret).await;
    first.node.broker.publish(&Address::client(id), "hello").await.unwrap();
    assert_eq!(again.read().await, [format!("$client.{id} hello")]);
}
