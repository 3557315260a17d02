//! Wildcards.

use fanfare_core::topic::TopicPattern;

use crate::backend::{
    Cluster,
    subject::{Subject, pattern},
};

const NAMES: [&str; 16] = [
    "a", "a.b", "a.b.c", "a.b.c.d", "a.x.c", "a.xy", "ab", "ab.c", "b.a", "b.a.b", "é.b", "a.é", "a.*b*",
    "$sys.a", "a.b-c", "A.b",
];

pub(in crate::backend) async fn patterns_bring_what_they_match_and_nothing_else(cluster: Cluster) {
    let names = NAMES.iter().filter(|name| !name.contains('*'));
    let subjects: Vec<_> = names.map(|name| Subject::ephemeral(name)).collect();
    let logged: Vec<_> = ["l.a", "l.a.b", "l.b", "m.a"].into_iter().map(Subject::logged).collect();
    check(
        &cluster,
        &["a.*", "a.>", "*", "*.b", "a.*.c", "*.*.*", ">", "é.*", "$sys.>", "l.*", "*.a"],
        &subjects,
        &logged,
    )
    .await;
}

pub(in crate::backend) async fn patterns_take_other_wildcards_literally(cluster: Cluster) {
    let names = [
        "q.a?", "q.ab", "q.[ab]", "q.a", "q.b", "q.a\\", "q.a\\b", "q.%", "q.a%2A", "q.{a,b}", "q.^a",
        "q[x].a", "qx.a", "q?.a", "qq.a",
    ];
    let subjects: Vec<_> = names.into_iter().map(Subject::ephemeral).collect();
    check(&cluster, &["q.*", "q[x].*", "q?.*", "q\\.*", "q.[ab].*", "*.[ab]"], &subjects, &[]).await;
}

/// Each pattern at a node of its own hears what it matches, in the core's opinion.
async fn check(cluster: &Cluster, patterns: &[&str], ephemeral: &[Subject], logged: &[Subject]) {
    let publisher = cluster.node().await;
    let mut listeners = Vec::new();
    for text in patterns {
        let node = cluster.node().await;
        let top = node.want(&pattern(text)).await;
        assert_eq!(top, None, "a pattern has no top");
        listeners.push((TopicPattern::new(text).unwrap_or_else(|error| panic!("{text}: {error}")), node));
    }
    let subjects = || ephemeral.iter().chain(logged);
    for subject in subjects() {
        publisher.say(subject, subject.name.to_string()).await;
    }
    let all: Vec<_> = listeners.iter().map(|(_, node)| node).collect();
    for (pattern, node) in &listeners {
        for subject in subjects().filter(|subject| pattern.matches(&subject.name)) {
            let what = format!("{} has to arrive by {pattern}", subject.name);
            node.until(&what, |seen| seen.count(&subject.name) > 0).await;
        }
    }
    cluster.settle(&[&publisher], &all).await;
    for (pattern, node) in &listeners {
        for subject in subjects() {
            let expected: Vec<String> =
                if pattern.matches(&subject.name) { vec![subject.name.to_string()] } else { Vec::new() };
            let heard = node.record.seen(|seen| seen.texts(&subject.name));
            assert_eq!(heard, expected, "{} by {pattern}", subject.name);
            let heard = node.heard(subject);
            assert!(heard.iter().all(|incoming| incoming.log.is_some() == subject.is_logged()));
        }
    }
}

pub(in crate::backend) async fn patterns_bring_topics_that_begin_later(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    listener.want(&pattern("later.>")).await;
    for n in 0..20 {
        let [ephemeral, logged] =
            [Subject::ephemeral(&format!("later.e.{n}")), Subject::logged(&format!("later.l.{n}"))];
        for subject in [&ephemeral, &logged] {
            publisher.say(subject, "1").await;
            publisher.say(subject, "2").await;
            listener.hears(subject, &["1", "2"]).await;
        }
    }
    listener.unwant(&pattern("later.>")).await;
    cluster.settle(&[&publisher], &[&listener]).await;
    listener.record.clear();
    let subject = Subject::ephemeral("later.e.0");
    publisher.say(&subject, "nobody wants this").await;
    cluster.settle(&[&publisher], &[&listener]).await;
    assert!(listener.heard(&subject).is_empty(), "a pattern that was given up still brings messages");
}
