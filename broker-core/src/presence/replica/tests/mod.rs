//! Single steps that random lives seldom take, or forgive in the end.

// `allow-unwrap-in-tests` does not reach the helpers of tests.
#![allow(clippy::unwrap_used)]

mod asking;
mod left_over;

use std::time::Duration;

use super::*;
use crate::presence::{PresenceConfig, PresenceEvent, room::Info};

const NODES: [NodeId; 2] = [NodeId::new(1), NodeId::new(2)];

/// Two nodes that hear each other at once.
struct Pair {
    nodes: [Replica; 2],
    now: Instant,
    topic: TopicName,
    config: PresenceConfig,
}

impl Pair {
    fn new() -> Self {
        let now = Instant::now();
        let mut nodes = NODES.map(|node| Replica::new(node, false));
        nodes[0].node_up(NODES[1], now);
        nodes[1].node_up(NODES[0], now);
        let topic = TopicName::new("room").unwrap();
        let mut pair = Self { nodes, now, topic, config: PresenceConfig::new() };
        pair.nodes.iter_mut().for_each(|node| node.watch(&pair.topic, pair.config, now));
        pair.pass(0);
        pair
    }

    /// Lets time pass, milliseconds.
    fn pass(&mut self, time: u64) {
        let until = self.now + Duration::from_millis(time);
        loop {
            for (from, name) in NODES.into_iter().enumerate() {
                for effect in self.nodes[from].poll(self.now) {
                    if let Effect::Send(_, frame) = effect {
                        self.nodes[1 - from].receive(name, frame, self.now).unwrap();
                    }
                }
            }
            let next = self.nodes.iter().filter_map(Replica::next_wake).min();
            match next.filter(|next| *next <= until) {
                Some(next) => self.now = self.now.max(next),
                None => break,
            }
        }
        self.now = until;
    }

    fn join(&mut self, node: usize, client: u64, meta: &str, stamp: u64) {
        let info = Info { user: None, meta: Some(meta.into()) };
        self.nodes[node].join(&self.topic, self.config, ClientId::new(client), info, stamp, self.now);
    }

    /// What both show.
    fn shown(&self) -> [Vec<String>; 2] {
        let pages = self.nodes.each_ref().map(|node| node.page(&self.topic, None, 9).unwrap());
        pages.map(|page| page.members.iter().map(|member| member.meta.as_deref().unwrap().into()).collect())
    }
}

#[test]
fn a_later_word_is_shown_whatever_the_clocks_say() {
    let mut pair = Pair::new();
    let (topic, client) = (pair.topic.clone(), ClientId::new(7));
    pair.join(0, 7, "first", 1_000_000);
    pair.pass(100);
    pair.nodes[0].lose(&topic, client, pair.now);
    pair.join(1, 7, "second", 5);
    pair.pass(100);
    assert_eq!(pair.shown(), [["second"], ["second"]]);
    // Also on a node that hears the old word last.
    let mut third = Replica::new(NodeId::new(3), false);
    third.watch(&topic, pair.config, pair.now);
    for index in [1, 0] {
        third.node_up(NODES[index], pair.now);
        for effect in third.poll(pair.now) {
            let Effect::Send(_, question) = effect else { continue };
            pair.nodes[index].receive(NodeId::new(3), question, pair.now).unwrap();
        }
        for effect in pair.nodes[index].poll(pair.now) {
            let Effect::Send(_, answer) = effect else { continue };
            third.receive(NODES[index], answer, pair.now).unwrap();
        }
    }
    let page = third.page(&topic, None, 9).unwrap();
    assert_eq!(page.members[0].meta.as_deref(), Some("second"));
    // Back where its old word is still held.
    pair.nodes[1].lose(&topic, client, pair.now);
    pair.join(0, 7, "first", 6);
    pair.pass(100);
    assert_eq!(pair.shown(), [["first"], ["first"]]);
    pair.pass(10_000);
    assert_eq!(pair.shown(), [["first"], ["first"]]);
}

#[test]
fn the_old_node_keeps_who_has_moved_for_a_grace_and_not_longer_than_it_is_there() {
    let mut pair = Pair::new();
    let (topic, client) = (pair.topic.clone(), ClientId::new(7));
    pair.join(0, 7, "x", 1);
    pair.pass(100);
    pair.nodes[0].lose(&topic, client, pair.now);
    pair.pass(4_000);
    pair.join(1, 7, "x", 2);
    pair.pass(4_000);
    assert!(
        pair.nodes[0].own_info(&topic, client).is_some(),
        "not everybody may know of the new node's word yet"
    );
    pair.nodes[1].leave(&topic, client, pair.now);
    pair.pass(100);
    assert_eq!(pair.shown(), [[""; 0], [""; 0]], "it has left, and is not waited for");
}

#[test]
fn who_is_counted_and_goes_before_it_is_told_is_not_counted_for_ever() {
    let mut pair = Pair::new();
    let topic = pair.topic.clone();
    pair.pass(2_000);
    for client in 1..=9 {
        pair.join(0, client, &"x".repeat(15_000), 1);
    }
    let (_, _, event) = pair.nodes[0].take_event(&topic, pair.now).unwrap();
    let PresenceEvent::Changes(changes) = event else { panic!("{event:?}") };
    let told = changes.join.len() as u64;
    assert!(told < 9 && changes.counts.clients == 9);
    for client in told + 1..=9 {
        pair.nodes[0].leave(&topic, ClientId::new(client), pair.now);
    }
    let (_, _, event) = pair.nodes[0].take_event(&topic, pair.now).unwrap();
    assert_eq!(event.counts().clients, told);
    assert!(matches!(event, PresenceEvent::Snapshot(_)), "{event:?}");
    assert_eq!(pair.nodes[0].take_event(&topic, pair.now), None);
}
