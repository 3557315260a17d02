//! Topics of any name, in any number, and clusters that share a server and nothing else.

mod support;

use std::time::Instant;

use fanfare_core::{
    backend::{BackendState, HistoryQuery},
    topic::TopicConfig,
};
use fanfare_testkit::{
    faults::{Told, retention},
    server::Program,
};
use futures_util::future::join_all;
use support::{PATIENCE, Setup, lone};

/// Names that mean something to Redis, or look like each other's.
fn odd_names() -> Vec<String> {
    let odd = [
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
        "topic:{a}",
        "nodes",
        "node:1",
        "$sys",
    ];
    let long = ["x".repeat(255), "{".repeat(255), "%".repeat(255), "[".repeat(255)];
    odd.into_iter().map(str::to_owned).chain(long).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn topics_of_odd_names_are_apart() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let (publisher, listener) = (lone(setup.builder()).await, lone(setup.builder()).await);
    let kept = retention(&TopicConfig::new().history(10));
    for name in &odd_names() {
        for (name, kept) in
            [(name.clone(), None), (format!("l.{}", &name[..name.len().min(250)]), Some(kept))]
        {
            listener.subscribe(&name, kept).await;
        }
    }
    for name in &odd_names() {
        for (name, kept) in
            [(name.clone(), None), (format!("l.{}", &name[..name.len().min(250)]), Some(kept))]
        {
            publisher.hand_over(&name, &name, kept).await.expect("it is accepted");
        }
    }
    publisher.hand_over("a", "the last one", None).await.expect("it is accepted");
    let last = Told::Message("a".into(), "the last one".into());
    listener.until("the last one", |told| told.contains(&last)).await;
    for name in &odd_names() {
        let mut wanted = vec![name.clone()];
        wanted.extend((name == "a").then(|| "the last one".to_owned()));
        assert_eq!(listener.texts(name), wanted);
        let logged = format!("l.{}", &name[..name.len().min(250)]);
        assert_eq!(listener.texts(&logged), [logged.as_str()]);
        let page = publisher.history(&logged, HistoryQuery::After { offset: 0, limit: 10 }).await;
        assert_eq!((page.messages.len(), page.last), (1, 1), "{logged}");
    }
    for node in [publisher, listener] {
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_glob_would_read_is_read_as_it_stands() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    // Also a prefix is no glob.
    let builder = || setup.builder().prefix("odd[*]?\\:");
    let (publisher, listener) = (lone(builder()).await, lone(builder()).await);
    let stranger = lone(setup.builder().prefix("odd[x]y\\:")).await;
    for pattern in ["a?c.*", "[ab].>", r"x\\y.*", "{b}.*"] {
        listener.subscribe_pattern(pattern).await;
    }
    let (yes, no) =
        (["a?c.1", "[ab].1.2", r"x\\y.1", "{b}.1"], ["abc.1", "a.1", "b.1.2", "xy.1", "b.1", "a?c.1.2"]);
    for name in no.iter().chain(&yes) {
        stranger.hand_over(name, "stranger", None).await.expect("it is accepted");
        publisher.hand_over(name, name, None).await.expect("it is accepted");
    }
    listener
        .until("the last one", |told| told.contains(&Told::Message("{b}.1".into(), "{b}.1".into())))
        .await;
    let wanted: Vec<_> = yes.iter().map(|name| Told::Message((*name).into(), (*name).into())).collect();
    assert_eq!(listener.told(), wanted);
    for node in [publisher, listener, stranger] {
        node.end().await;
    }
}

/// Channels know nothing of databases, and prefixes may begin with each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clusters_share_nothing() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let kept = retention(&TopicConfig::new().history(10));
    let mut nodes = Vec::new();
    for (prefix, db) in
        [("app", 11), ("app1", 1), ("app", 1), ("app:", 1), ("app:1", 1), ("appdb1", 1), ("", 1), ("db1", 11)]
    {
        let pair = [(); 2].map(|()| lone(setup.builder().prefix(prefix).database(db)));
        nodes.push((format!("{prefix}/{db}"), join_all(pair).await));
    }
    for (_, pair) in &nodes {
        pair[1].subscribe("t", None).await;
        pair[1].subscribe_pattern(">").await;
        pair[1].subscribe("l", Some(kept)).await;
    }
    for (own, pair) in &nodes {
        pair[0].hand_over("t", own, None).await.expect("it is accepted");
        pair[0].hand_over("l", own, Some(kept)).await.expect("it is accepted");
    }
    for (own, pair) in &nodes {
        pair[1].until(own, |told| told.len() >= 2).await;
        pair[0].hand_over("t", "end", None).await.expect("it is accepted");
    }
    for (own, pair) in &nodes {
        pair[1].until("end", |told| told.contains(&Told::Message("t".into(), "end".into()))).await;
        let wanted = [("t", own.as_str()), ("l", own), ("t", "end")];
        assert_eq!(pair[1].told(), wanted.map(|(name, text)| Told::Message(name.into(), text.into())));
        assert_eq!(pair[1].backend.foreign_messages(), 0);
    }
    for (_, pair) in nodes {
        for node in pair {
            node.end().await;
        }
    }
}

/// Ten thousand subscriptions are renewed in a moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_subscriptions_are_renewed() {
    const TOPICS: usize = 10_000;
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let (publisher, listener) = (lone(setup.builder()).await, lone(setup.builder()).await);
    let names: Vec<_> = (0..TOPICS).map(|n| format!("many.{n}")).collect();
    join_all(names.iter().map(|name| listener.subscribe(name, None))).await;
    setup.proxy.reset();
    let since = Instant::now();
    listener.until("the return", |told| told.ends_with(&[Told::State(BackendState::Up)])).await;
    eprintln!("{TOPICS} subscriptions: back after {:?}", since.elapsed());
    publisher.until_state(BackendState::Up).await;
    let all = names.iter().map(|name| publisher.hand_over(name, "hello", None));
    for accepted in join_all(all).await {
        accepted.expect("it is accepted");
    }
    let messages = |told: &[Told]| told.iter().filter(|told| matches!(told, Told::Message(..))).count();
    listener.until("all of them", |told| messages(told) == TOPICS).await;
    // What is given up while the server is away is not renewed.
    setup.proxy.refuse();
    listener.until_state(BackendState::Down).await;
    for name in &names[1..] {
        let interest = fanfare_core::backend::Interest::Topic { name: support::topic(name), retention: None };
        let _ = fanfare_core::backend::Backend::unsubscribe(&listener.backend, &interest).await;
    }
    setup.proxy.heal();
    listener.until_state(BackendState::Up).await;
    let channels: Vec<String> = setup.tell(&["PUBSUB", "CHANNELS", "*many.*"]).await;
    assert_eq!(channels.len(), 1);
    let deadline = tokio::time::timeout(PATIENCE, setup.proxy.until_connections(|count| count <= 4)).await;
    assert!(deadline.is_ok());
    for node in [publisher, listener] {
        node.end().await;
    }
}
