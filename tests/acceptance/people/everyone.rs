//! What is said to everyone, once and in order.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::harness::{Backend, Site, on_every_backend};

on_every_backend! {
    everyone_gets_a_broadcast_once_and_in_order
    all_but_the_sender_get_it
    a_named_event_with_several_arguments_and_unicode_arrives_as_it_was
    overlapping_topics_give_one_copy
}

/// How many messages a broadcast has.
const MESSAGES: u64 = 150;

async fn everyone_gets_a_broadcast_once_and_in_order(backend: Backend) {
    let Some(site) = Site::start(backend, |builder| builder).await else { return };
    let mut people = site.people(["ann", "ben", "cem", "dee", "eve"]).await;
    for person in &mut people {
        person.subscribe("news").await;
    }
    let mut stream = site.node(1).events("fay", "topic=news").await;
    for n in 0..MESSAGES {
        // One publisher: between nodes an ephemeral topic keeps each publisher's order.
        site.broker().publish("news", json!(n).to_string()).await.unwrap();
    }
    site.broker().publish("news", "last").await.unwrap();
    for person in &mut people {
        for n in 0..MESSAGES {
            person.expect("news", n.to_string()).await;
        }
        person.nothing_before("news", "last").await;
    }
    for n in 0..MESSAGES {
        assert_eq!(stream.next().await.data, n.to_string());
    }
    assert_eq!(stream.next().await.data, "last");
}

async fn all_but_the_sender_get_it(backend: Backend) {
    let Some(site) = Site::start(backend, |builder| builder).await else { return };
    let [mut ann, mut ben, mut cem] = site.people(["ann", "ben", "cem"]).await;
    for person in [&mut ann, &mut ben, &mut cem] {
        person.subscribe("room").await;
    }
    for n in 0..20 {
        ann.ask(json!({ "publish": { "topic": "room", "echo": false, "data": n } })).await;
    }
    ann.publish("room", "marker").await;
    for person in [&mut ben, &mut cem] {
        for n in 0..20 {
            let from = person.expect("room", n).await["from"].clone();
            assert_eq!(from, json!({ "client": ann.name(), "user": "ann" }));
        }
        person.expect("room", "marker").await;
    }
    ann.nothing_before("room", "marker").await;
}

async fn a_named_event_with_several_arguments_and_unicode_arrives_as_it_was(backend: Backend) {
    let Some(site) = Site::start(backend, |builder| builder).await else { return };
    let [mut ann, mut ben] = site.people(["ann", "ben"]).await;
    let topic = "räume.küche🍳";
    let event = "Überschrift: 料理 \u{202e}";
    // Characters that JSON, JavaScript or a line of an event stream could stumble over.
    let arguments = json!([
        "naïve 料理 👩‍👩‍👧‍👦 \u{2028}\u{2029}\u{feff}\u{7f}\r\n\t\"\\/",
        { "größe": [1, -2.5, 1e300, 9_007_199_254_740_991_u64], "": null },
        [],
        "",
        false,
    ]);
    ben.subscribe(topic).await;
    let mut stream = site.node(1).events("cem", &format!("format=v1&topic={}", escaped(topic))).await;
    ann.ask(json!({ "publish": { "topic": topic, "event": event, "data": arguments } })).await;
    let heard = ben.expect(topic, arguments.clone()).await;
    let read = stream.message().await;
    for message in [heard, read] {
        assert_eq!((&message["topic"], &message["event"]), (&json!(topic), &json!(event)));
        assert_eq!(message["data"], arguments);
        assert_eq!(message["from"]["user"], "ann");
    }
}

async fn overlapping_topics_give_one_copy(backend: Backend) {
    let Some(site) = Site::start(backend, |builder| builder).await else { return };
    let mut people = site.people(["ann", "ben", "cem", "dee"]).await;
    for person in &mut people {
        for topic in ["room.a", "room.b", "room.*", ">", "room.>"] {
            person.subscribe(topic).await;
        }
    }
    let mut stream = site.node(1).events("eve", "topic=room.a&topic=room.b&topic=room.*").await;
    let [ann, ..] = &mut people;
    for n in 0..COPIES / 2 {
        // Of several topics and addresses at once, all of which mean each of them.
        let topics = json!(["room.a", "room.b", "$user.ann", "$user.ben", "$all"]);
        ann.ask(json!({ "publish": { "topics": topics, "data": 2 * n } })).await;
        ann.publish("room.a", 2 * n + 1).await;
    }
    // Behind whatever comes by the same way.
    for way in WAYS {
        ann.publish(way, "marker").await;
    }
    for person in &mut people {
        let mut copies = Copies::default();
        while !copies.are_all() {
            copies.take(&person.next().await);
        }
        copies.check();
    }
    let mut copies = Copies::default();
    while !copies.are_all() {
        copies.take(&stream.message().await);
    }
    copies.check();
}

/// How many messages there are to have once.
const COPIES: u64 = 40;

/// What has an order of its own: topics, and all addresses together. Between them there is none, and a message to several is told under
/// one of them.
const WAYS: [&str; 3] = ["room.a", "room.b", "$all"];

/// What somebody has heard of by which way.
#[derive(Default)]
struct Copies {
    heard: BTreeMap<&'static str, Vec<u64>>,
    markers: BTreeSet<&'static str>,
}

impl Copies {
    fn take(&mut self, message: &Value) {
        let topic = message["topic"].as_str().unwrap();
        let is_it = |way: &&&str| topic == **way || (topic.starts_with('$') && way.starts_with('$'));
        let way = WAYS.iter().find(is_it).unwrap_or_else(|| panic!("{message}"));
        assert!(!self.markers.contains(way), "behind what was sent last: {message}");
        match message["data"].as_u64() {
            Some(number) => self.heard.entry(way).or_default().push(number),
            None => drop(self.markers.insert(way)),
        }
    }

    /// Whether nothing can come any more.
    fn are_all(&self) -> bool {
        self.markers.len() == WAYS.len()
    }

    /// Each once, and in order by each way.
    fn check(&self) {
        assert!(self.heard.values().all(|numbers| numbers.is_sorted()), "{:?}", self.heard);
        let mut all: Vec<_> = self.heard.values().flatten().copied().collect();
        all.sort_unstable();
        assert_eq!(all, (0..COPIES).collect::<Vec<_>>());
    }
}

/// A value in a query.
fn escaped(value: &str) -> String {
    value.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
