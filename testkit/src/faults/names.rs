//! Topics of any name and in any number, and clusters that share a server and nothing else.

use std::time::Instant;

use fanfare_core::{
    backend::{Backend, BackendState, HistoryQuery, Interest},
    topic::TopicConfig,
};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{Lone, PATIENCE, Site, Told, lone::topic, retention};

/// Names that mean something to one server or another, or look like each other's when they are escaped.
const ODD: [&str; 26] = [
    "a{b}c",
    "{}",
    "}{",
    "{a}.{b}",
    "a%7Bb%7Dc",
    "%",
    "%25",
    "a?c",
    "a[b]c",
    "a[^b]c",
    r"a\\b",
    "a^b",
    "a-z",
    "a:b",
    "A",
    "a",
    "\u{fc}.\u{1f600}",
    "\"a\"",
    "a,b;c=d/e",
    "topic:{a}",
    "nodes",
    "node:1",
    "$sys",
    "$JS.API.INFO",
    "$client.a",
    "m.t.a",
];

/// Of how many topics a node loses and renews its subscriptions.
const MANY: usize = 10_000;

fn odd_names() -> impl Iterator<Item = String> {
    let long = ["x", "{", "%", "["].map(|text| text.repeat(255));
    let deep = vec!["s"; 128].join(".");
    ODD.iter().map(|name| (*name).to_owned()).chain(long).chain([deep])
}

/// The logged topic beside an ephemeral one.
fn logged(name: &str) -> String {
    let name: String = name.replace('$', "%24").chars().take(250).collect();
    let mut segments: Vec<_> = name.split('.').take(120).collect();
    segments.insert(0, "l");
    segments.join(".")
}

/// Whatever a topic is called, its messages come to who wants them and to nobody else, and its log is its own.
///
/// # Panics
///
/// When something goes astray.
pub async fn odd<B: Backend>(publisher: Lone<B>, listener: Lone<B>) {
    let kept = retention(&TopicConfig::new().history(10));
    let names: Vec<_> = odd_names().collect();
    for name in &names {
        listener.subscribe(name, None).await;
        listener.subscribe(&logged(name), Some(kept)).await;
    }
    let mut places = Vec::new();
    for name in &names {
        publisher.hand_over(name, name, None).await.expect("it is accepted");
        let accepted = publisher.hand_over(&logged(name), &logged(name), Some(kept)).await;
        places.push(accepted.expect("it is stored").position.expect("a position").offset);
    }
    publisher.hand_over("a", "the last one", None).await.expect("it is accepted");
    let last = [
        Told::Message("a".into(), "the last one".into()),
        Told::Message(logged(&names[names.len() - 1]), logged(&names[names.len() - 1])),
    ];
    listener.until("the last ones", |told| last.iter().all(|last| told.contains(last))).await;
    for (name, place) in names.iter().zip(places) {
        let mut wanted = vec![name.clone()];
        wanted.extend((name == "a").then(|| "the last one".to_owned()));
        assert_eq!(listener.texts(name), wanted);
        let logged = logged(name);
        assert_eq!(listener.texts(&logged), [logged.as_str()]);
        let page = publisher.history(&logged, HistoryQuery::After { offset: 0, limit: 10 }).await;
        assert_eq!((page.messages.len(), page.last), (1, place), "{logged}");
    }
    for node in [publisher, listener] {
        node.end().await;
    }
}

/// Pairs of nodes, each a cluster of its own, by their names: what one publishes comes to its own listener alone, by name, by pattern and
/// in the log. `foreign` says how much a backend has taken for somebody else's.
///
/// # Panics
///
/// When they hear each other.
pub async fn apart<B: Backend>(clusters: Vec<(String, [Lone<B>; 2])>, foreign: impl Fn(&B) -> u64) {
    let kept = retention(&TopicConfig::new().history(10));
    for (_, [_, listener]) in &clusters {
        listener.subscribe("t", None).await;
        listener.subscribe_pattern(">").await;
        listener.subscribe("l", Some(kept)).await;
    }
    for (own, [publisher, _]) in &clusters {
        publisher.hand_over("t", own, None).await.expect("it is accepted");
        publisher.hand_over("l", own, Some(kept)).await.expect("it is accepted");
    }
    for (own, [publisher, listener]) in &clusters {
        listener.until(own, |told| told.len() >= 2).await;
        publisher.hand_over("t", "end", None).await.expect("it is accepted");
    }
    for (own, [_, listener]) in &clusters {
        listener.until("end", |told| told.contains(&Told::Message("t".into(), "end".into()))).await;
        let mut told = listener.told();
        // What is logged takes another way than what is not.
        told.sort_by_key(|told| matches!(told, Told::Message(name, _) if name == "l"));
        let wanted = [("t", own.as_str()), ("t", "end"), ("l", own)];
        assert_eq!(told, wanted.map(|(name, text)| Told::Message(name.into(), text.into())), "{own}");
        assert_eq!(foreign(&listener.backend), 0, "{own}");
        let page = listener.history("l", HistoryQuery::After { offset: 0, limit: 10 }).await;
        assert_eq!(page.messages.len(), 1, "{own} has a log of its own");
    }
    for (_, pair) in clusters {
        for node in pair {
            node.end().await;
        }
    }
}

/// Ten thousand subscriptions are renewed in a moment, and those that are given up meanwhile are not. `left` says of how many topics
/// that begin with `many.` the server knows that somebody wants them.
///
/// # Panics
///
/// When something is missing, or too much.
pub async fn many<B: Backend>(
    site: &Site,
    publisher: Lone<B>,
    listener: Lone<B>,
    left: impl AsyncFn() -> usize,
) {
    let names: Vec<_> = (0..MANY).map(|n| format!("many.{n}")).collect();
    join_all(names.iter().map(|name| listener.subscribe(name, None))).await;
    site.proxy.reset();
    let since = Instant::now();
    listener.until("the return", |told| told.ends_with(&[Told::State(BackendState::Up)])).await;
    eprintln!("{MANY} subscriptions: back after {:?}", since.elapsed());
    publisher.until_state(BackendState::Up).await;
    for accepted in join_all(names.iter().map(|name| publisher.hand_over(name, "hello", None))).await {
        accepted.expect("it is accepted");
    }
    let messages = |told: &[Told]| told.iter().filter(|told| matches!(told, Told::Message(..))).count();
    listener.until("all of them", |told| messages(told) == MANY).await;
    // What is given up while the server is away is not renewed.
    site.proxy.refuse();
    listener.until_state(BackendState::Down).await;
    for name in &names[1..] {
        let _ = listener.backend.unsubscribe(&Interest::Topic { name: topic(name), retention: None }).await;
    }
    site.proxy.heal();
    listener.until_state(BackendState::Up).await;
    assert_eq!(left().await, 1);
    let settled = timeout(PATIENCE, site.proxy.until_connections(|count| count <= 4)).await;
    assert!(settled.is_ok());
    for node in [publisher, listener] {
        node.end().await;
    }
}
