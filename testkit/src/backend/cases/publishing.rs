//! Handing over, acceptance, delivery.

use std::time::Duration;

use crate::backend::{Cluster, node::numbers, record::Seen, subject::Subject};
use fanfare_core::backend::BackendErrorKind;

pub(in crate::backend) async fn hand_over_is_the_call_and_not_the_future(cluster: Cluster) {
    let node = cluster.node().await;
    let inline = node.backend.capabilities().inline;
    for subject in Subject::both("t") {
        if inline && !subject.is_logged() {
            continue;
        }
        let listener = if inline { None } else { Some(cluster.node().await) };
        if let Some(listener) = &listener {
            listener.subscribe(&subject).await;
        }
        for n in 1..=40 {
            let acknowledged = node.publish(&subject, n.to_string());
            match n % 3 {
                0 => drop(acknowledged),
                1 => {
                    // Polled once.
                    let mut acknowledged = acknowledged;
                    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
                    let _ = acknowledged.as_mut().poll(&mut cx);
                }
                _ => {
                    tokio::spawn(acknowledged);
                }
            }
        }
        if let Some(listener) = &listener {
            listener.hears(&subject, &numbers(1..=40)).await;
        }
        if subject.is_logged() {
            node.say(&subject, "41").await;
            assert_eq!(node.retained(&subject).await, numbers(1..=41));
        }
    }
}

pub(in crate::backend) async fn hand_over_does_not_block(cluster: Cluster) {
    let node = cluster.node().await;
    let subject = Subject::logged("logged.t");
    // The time that passes, also where tokio's is paused.
    let began = std::time::Instant::now();
    let handed_over: Vec<_> = (1..=5_000).map(|n| node.publish(&subject, n.to_string())).collect();
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "5,000 calls that do not wait took {took:?}");
    let mut accepted = Vec::new();
    for (n, acknowledged) in (1..=5_000).zip(handed_over) {
        match node.within("an acknowledgement", acknowledged).await {
            Ok(_) => accepted.push(n.to_string()),
            Err(error) => assert_eq!(error.kind(), BackendErrorKind::Unavailable, "{error:?}"),
        }
    }
    assert!(!accepted.is_empty());
    assert_eq!(node.retained(&subject).await, accepted);
}

pub(in crate::backend) async fn accepted_messages_are_stored_where_it_says(cluster: Cluster) {
    let node = cluster.node().await;
    let subject = Subject::logged("logged.t");
    let mut positions = Vec::new();
    for n in 1..=20 {
        let accepted = node.say(&subject, n.to_string()).await;
        assert!(!accepted.duplicate);
        let Some(position) = accepted.position else {
            panic!("a logged message has no position: {accepted:?}")
        };
        assert!(position.offset > 0);
        // It is there as soon as it is acknowledged.
        let page = node.read_all(&subject).await;
        let last = page
            .messages
            .last()
            .map(|message| (message.position(), message.payload().as_str().map(str::to_owned)));
        assert_eq!(last, Some((Some(position), Some(n.to_string()))));
        positions.push(position);
    }
    let stored: Vec<_> = node.read_all(&subject).await.messages.iter().filter_map(|m| m.position()).collect();
    assert_eq!(stored, positions);
    let ephemeral = node.say(&Subject::ephemeral("ephemeral.t"), "1").await;
    assert_eq!((ephemeral.position, ephemeral.duplicate), (None, false));
}

pub(in crate::backend) async fn delivery_reaches_every_node_that_wants_it(cluster: Cluster) {
    let [publisher, one, two, nobody] = cluster.nodes().await;
    for subject in Subject::both("t") {
        for node in [&publisher, &one, &two] {
            node.subscribe(&subject).await;
        }
        publisher.count(&subject, 1..=20).await;
        for node in [&one, &two] {
            node.hears(&subject, &numbers(1..=20)).await;
        }
        if subject.is_logged() {
            publisher.hears(&subject, &numbers(1..=20)).await;
        }
    }
    cluster.settle(&[&publisher], &[&nobody]).await;
    for subject in Subject::both("t") {
        assert!(nobody.heard(&subject).is_empty(), "{} arrives where nobody wants it", subject.name);
    }
}

pub(in crate::backend) async fn delivery_keeps_up_with_many_messages(cluster: Cluster) {
    const MESSAGES: u64 = 3_000;
    let [publisher, listener] = cluster.nodes().await;
    for subject in Subject::both("t") {
        listener.subscribe(&subject).await;
        let mut accepted = Vec::new();
        let name = &subject.name;
        // A hundred at once, and no more than a thousand ahead of the listener.
        for from in (1..=MESSAGES).step_by(100) {
            let burst: Vec<_> =
                (from..from + 100).map(|n| publisher.publish(&subject, n.to_string())).collect();
            for (n, acknowledged) in (from..).zip(burst) {
                let acknowledged = publisher.within("an acknowledgement", acknowledged).await;
                acknowledged.unwrap_or_else(|error| panic!("message {n} is not accepted: {error:?}"));
                accepted.push(n.to_string());
            }
            let keeps_up = |seen: &Seen| seen.count(name) + 900 >= accepted.len() || seen.lost_of(name);
            listener.until("the listener has to keep up, or to be told", keeps_up).await;
        }
        let what = "each message has to arrive, or to be told to be lost";
        listener.until(what, |seen| seen.count(name) >= accepted.len() || seen.lost_of(name)).await;
        if listener.record.seen(|seen| seen.lost_of(name)) {
            cluster.settle(&[&publisher], &[&listener]).await;
        }
        let told = listener.record.seen(|seen| seen.lost_of(name));
        let heard = listener.record.seen(|seen| seen.texts(name));
        assert!(
            told || heard == accepted,
            "messages are missing, and nobody was told: {} of {}",
            heard.len(),
            accepted.len()
        );
        // In order, whatever is missing.
        let order: Vec<u64> = heard.iter().filter_map(|text| text.parse().ok()).collect();
        assert!(order.is_sorted(), "out of order");
        if subject.is_logged() {
            assert_eq!(publisher.retained(&subject).await, accepted);
        }
    }
}
