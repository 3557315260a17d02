//! Content of any length, in order, once, or not at all.

use bytes::BytesMut;

use super::{
    super::{
        MAX_PARCEL, NotSent,
        parcel::{MAX_HELD, PART, Part, parts},
    },
    line::Fate,
    *,
};
use crate::broker::parcel_head;

const KIND: u8 = 9;
/// The frame that carries parts.
const PARCEL: u8 = 7;

fn content(length: usize, seed: u8) -> Bytes {
    (0..length).map(|at| (at / 3) as u8 ^ seed).collect()
}

/// Posts a parcel, and waits until the backend has it whole.
async fn send(node: &Node, to: Option<NodeId>, content: Bytes) -> Result<(), NotSent> {
    node.inner().cluster.outgoing.post_and_tell(to, KIND, content)?.await.unwrap_or(Err(NotSent::Away))
}

async fn two_nodes() -> (Node, Node, MemoryHub) {
    let hub = MemoryHub::new();
    let (one, two) = (Node::start(&hub).await, Node::start(&hub).await);
    one.hears_parcels(KIND);
    two.hears_parcels(KIND);
    soon().await;
    one.events();
    two.events();
    (one, two, hub)
}

#[tokio::test(start_paused = true)]
async fn parcels_of_any_length_arrive_whole_and_in_order() {
    let (one, two, _hub) = two_nodes().await;
    let lengths = [3, PART + 1, 0, MAX_PARCEL, PART, 5 * PART, 1];
    for (seed, length) in (0..).zip(lengths) {
        let to = if seed % 2 == 0 { None } else { Some(two.id()) };
        send(&one, to, content(length, seed)).await.unwrap();
    }
    soon().await;
    let expected: Vec<_> = (0..).zip(lengths).map(|(seed, length)| shorten(&content(length, seed))).collect();
    assert_eq!(two.events(), expected);
    assert!(one.events().is_empty(), "not to itself");
}

#[tokio::test(start_paused = true)]
async fn one_that_loses_a_part_is_dropped_and_others_are_not() {
    let (one, two, _hub) = two_nodes().await;
    for lost in 0..3 {
        one.line.next((0..3).map(|part| if part == lost { Fate::Lost } else { Fate::Sent }));
        one.inner().cluster.post(None, KIND, content(3 * PART, 1)).unwrap();
        one.inner().cluster.post(None, KIND, content(2 * PART, 2)).unwrap();
        soon().await;
        assert_eq!(two.events(), [shorten(&content(2 * PART, 2))], "part {lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_backend_gives_twice_is_heard_once() {
    let (one, two, _hub) = two_nodes().await;
    one.line.next([Fate::SentTwice; 4]);
    one.inner().cluster.post(None, KIND, "one".into()).unwrap();
    one.inner().cluster.post(None, KIND, "two".into()).unwrap();
    soon().await;
    assert_eq!(two.events(), ["one", "two"]);
}

#[tokio::test(start_paused = true)]
async fn who_sends_hears_whether_the_backend_has_it_all() {
    let (one, two, _hub) = two_nodes().await;
    let cluster = &one.inner().cluster;
    for refused in 0..3 {
        one.line.next((0..3).map(|part| if part == refused { Fate::Refused } else { Fate::Sent }));
        assert_eq!(send(&one, None, content(3 * PART, 1)).await, Err(NotSent::Away), "{refused}");
    }
    assert_eq!(send(&one, None, content(3 * PART, 1)).await, Ok(()));
    one.line.hub.set_connected(false);
    assert_eq!(send(&one, None, "nobody there".into()).await, Err(NotSent::Away));
    assert_eq!(cluster.post(None, KIND, content(MAX_PARCEL + 1, 0)), Err(NotSent::TooLong));
    soon().await;
    assert_eq!(two.events(), [shorten(&content(3 * PART, 1))]);
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_bounded_and_heartbeats_find_room() {
    let (one, two, _hub) = two_nodes().await;
    let cluster = &one.inner().cluster;
    // Nothing is awaited, so nothing is sent meanwhile.
    let mut sent = 0;
    while cluster.post(None, KIND, content(MAX_PARCEL / 2, 1)).is_ok() {
        sent += 1;
        assert!(sent < 100, "it is not bounded in bytes");
    }
    assert_eq!(sent, 4);
    assert_eq!(cluster.post(None, KIND, content(MAX_PARCEL / 2, 1)), Err(NotSent::Full));
    cluster.beat(one.inner(), None, false);
    soon().await;
    assert_eq!(two.events().len(), sent, "what was taken arrives");
    let mut small = 0;
    while cluster.post(None, KIND, Bytes::new()).is_ok() {
        small += 1;
        assert!(small < 100_000, "it is not bounded in number");
    }
    soon().await;
    assert!(two.events().len() >= 900, "up to what the hub holds for a node");
    assert_eq!(cluster.post(None, KIND, "again".into()), Ok(()));
    soon().await;
    assert_eq!(two.events(), ["again"]);
}

#[tokio::test(start_paused = true)]
async fn a_parcel_for_one_reaches_no_other() {
    let (one, two, hub) = two_nodes().await;
    let three = Node::start(&hub).await;
    three.hears_parcels(KIND);
    soon().await;
    three.events();
    one.inner().cluster.post(Some(two.id()), KIND, content(2 * PART, 1)).unwrap();
    soon().await;
    assert!(three.events().is_empty());
    assert_eq!(two.events().len(), 2, "that one, and the new node");
    assert_eq!(one.line.sent(PARCEL), 2);
}

#[tokio::test(start_paused = true)]
async fn parcels_of_an_unknown_kind_are_passed_over() {
    let (one, two, _hub) = two_nodes().await;
    one.inner().cluster.post(None, 250, "?".into()).unwrap();
    one.inner().cluster.post(None, KIND, "!".into()).unwrap();
    soon().await;
    assert_eq!(two.events(), ["!"]);
}

#[tokio::test(start_paused = true)]
async fn what_never_becomes_whole_is_bounded_for_all_nodes_together() {
    let one = Node::start(&MemoryHub::new()).await;
    let content = Bytes::from(vec![7; MAX_PARCEL]);
    for node in 1..=9 {
        for index in 0..parts(content.len()) - 1 {
            let mut frame = BytesMut::from(&parcel_head()[..]);
            Part::of(true, KIND, 1, index, &content).put(&mut frame);
            one.inner().control(NodeId::new(node), frame.freeze());
        }
    }
    let held = one.inner().cluster.peers.lock().held();
    assert!((MAX_HELD - MAX_PARCEL..=MAX_HELD).contains(&held), "{held}");
}
