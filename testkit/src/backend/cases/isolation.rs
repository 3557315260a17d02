//! What is apart stays apart.

use fanfare_core::{backend::HistoryQuery, message::MessageParts};

use crate::backend::{
    Cluster,
    subject::{Subject, pattern},
};

/// Names that a server's keys, subjects or patterns might take for each other.
fn alike() -> Vec<String> {
    let long = "x".repeat(250);
    let names = [
        "a", "A", "a.b", "ab", "a.B", "a.b.c", "a-b", "a_b", "a:b", "a/b", "a%2Eb", "a%2eb", "{a}.b",
        "a.{b}", "a[b]", "a?b", "a\\b", "a#b", "a+b", "a$b", "a\"b", "ä", "a\u{308}", "a.1", "a.01",
        "history", "log:a", "a:log", "a.log", "channel",
    ];
    let mut names: Vec<String> = names.map(str::to_owned).into();
    names.push(format!("{long}.1"));
    names.push(format!("{long}.2"));
    names
}

pub(in crate::backend) async fn isolation_between_topics(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    for is_logged in [false, true] {
        let subject =
            |name: &String| if is_logged { Subject::logged(name) } else { Subject::ephemeral(name) };
        let subjects: Vec<_> = alike().iter().map(subject).collect();
        for subject in &subjects {
            listener.subscribe(subject).await;
        }
        for subject in &subjects {
            let text = format!("{is_logged} of {}", subject.name);
            publisher.say(subject, text).await;
        }
        for subject in &subjects {
            let text = format!("{is_logged} of {}", subject.name);
            listener.until(&text, |seen| seen.texts(&subject.name).contains(&text)).await;
        }
        cluster.settle(&[&publisher], &[&listener]).await;
        for subject in &subjects {
            let text = format!("{is_logged} of {}", subject.name);
            if is_logged {
                assert_eq!(publisher.retained(subject).await, [&*text], "the log of {}", subject.name);
            }
            let heard = listener.record.seen(|seen| seen.texts(&subject.name));
            assert_eq!(heard, [text], "at {}", subject.name);
        }
        for subject in &subjects {
            listener.unsubscribe(subject).await;
        }
        listener.record.clear();
    }
    // A topic that nobody wants any more is given up alone.
    let [one, other] = ["a.b", "a.b.c"].map(Subject::ephemeral);
    for subject in [&one, &other] {
        listener.subscribe(subject).await;
    }
    listener.unsubscribe(&one).await;
    publisher.say(&other, "still here").await;
    listener.hears(&other, &["still here"]).await;
}

pub(in crate::backend) async fn isolation_between_clusters(cluster: Cluster) {
    let [one, listener] = cluster.nodes().await;
    let (stranger, other_stranger) = (cluster.stranger().await, cluster.stranger().await);
    for subject in Subject::both("t") {
        for node in [&one, &listener, &stranger] {
            node.subscribe(&subject).await;
        }
        stranger.want(&pattern("*.t")).await;
        let with_id = |text: &str| {
            let mut parts = MessageParts::new(subject.name.clone(), text);
            parts.message_id = subject.is_logged().then(|| "the same".into());
            parts
        };
        for (node, text) in [(&one, "ours"), (&other_stranger, "theirs")] {
            let accepted = node.within("publish", node.hand_over(&subject, with_id(text))).await;
            let accepted = accepted.unwrap_or_else(|error| panic!("not accepted: {error:?}"));
            assert!(!accepted.duplicate, "a message_id of another cluster");
        }
        listener.hears(&subject, &["ours"]).await;
        stranger.until("a message of the other cluster", |seen| seen.count(&subject.name) > 0).await;
    }
    one.control(None, "ours").await;
    other_stranger.control(None, "theirs").await;
    listener.until("a control frame has to arrive", |seen| !seen.frames.is_empty()).await;
    stranger.until("a control frame has to arrive", |seen| !seen.frames.is_empty()).await;
    cluster.settle(&[&one], &[&listener]).await;
    cluster.settle(&[&other_stranger], &[&stranger]).await;
    for subject in Subject::both("t") {
        for (node, text) in [(&listener, "ours"), (&stranger, "theirs")] {
            assert_eq!(node.record.seen(|seen| seen.texts(&subject.name)), [text]);
            if subject.is_logged() {
                let page = node.history(&subject, HistoryQuery::After { offset: 0, limit: 10 }).await;
                assert_eq!(crate::backend::node::texts(&page), [text]);
            }
        }
    }
    for (node, from) in [(&listener, &one), (&stranger, &other_stranger)] {
        let frames = node.record.seen(|seen| seen.frames.iter().map(|(from, _)| *from).collect::<Vec<_>>());
        assert_eq!(frames, [from.id], "control frames");
    }
}
