//! How messages are given.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::backend::{Cluster, node::numbers, subject::Subject};

pub(in crate::backend) async fn one_caller_at_a_time_for_each_topic(cluster: Cluster) {
    let [one, two, listener] = cluster.nodes().await;
    for subject in Subject::both("t") {
        listener.subscribe(&subject).await;
        let mut acknowledged = Vec::new();
        for n in 1..=100 {
            for node in [&one, &two] {
                acknowledged.push(node.publish(&subject, n.to_string()));
            }
        }
        for acknowledged in acknowledged {
            let _ = one.within("an acknowledgement", acknowledged).await;
        }
        listener.until("all messages have to arrive", |seen| seen.count(&subject.name) >= 200).await;
    }
    let overlaps = listener.record.seen(|seen| seen.overlaps);
    assert_eq!(overlaps, 0, "calls of deliver for a topic while another one was at work");
}

pub(in crate::backend) async fn one_caller_may_read_the_history(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    let subject = Subject::logged("logged.t");
    listener.record.read_history();
    listener.subscribe(&subject).await;
    publisher.count(&subject, 1..=20).await;
    listener.hears(&subject, &numbers(1..=20)).await;
}

pub(in crate::backend) async fn one_caller_that_waits_misses_nothing_untold(cluster: Cluster) {
    const MESSAGES: u64 = 6_000;
    let [publisher, slow, other] = cluster.nodes().await;
    for subject in Subject::both("t") {
        let held_up = Subject::logged("logged.held.up");
        for node in [&slow, &other] {
            node.subscribe(&subject).await;
        }
        slow.record.shut();
        publisher.say(&subject, "1").await;
        slow.until("the first message has to be given", |_| slow.record.waiting() > 0).await;
        let mut accepted = vec!["1".to_owned()];
        for from in (2..=MESSAGES).step_by(100) {
            let burst: Vec<_> =
                (from..from + 100).map(|n| publisher.publish(&subject, n.to_string())).collect();
            for (n, acknowledged) in (from..).zip(burst) {
                if publisher.within("an acknowledgement", acknowledged).await.is_ok() {
                    accepted.push(n.to_string());
                }
            }
        }
        // Its other calls are answered meanwhile, and other nodes are not held up.
        slow.say(&held_up, "1").await;
        assert_eq!(slow.retained(&held_up).await.last().map(String::as_str), Some("1"));
        let name = &subject.name;
        let hears_all =
            |seen: &crate::backend::record::Seen| seen.count(name) >= accepted.len() || seen.lost_of(name);
        other.until("a slow node must not hold up the others", hears_all).await;

        slow.record.open();
        slow.until("each message has to arrive or to be told to be lost", hears_all).await;
        // What was kept goes on coming after a loss was told.
        let mut count = 0;
        let deadline = Instant::now() + cluster.patience;
        loop {
            let now = slow.record.seen(|seen| seen.count(name));
            if now == count || Instant::now() > deadline {
                break;
            }
            count = now;
            let _ = timeout(Duration::from_millis(200), std::future::pending::<()>()).await;
        }
        let heard = slow.record.seen(|seen| seen.texts(name));
        let is_all = heard == accepted;
        assert!(
            is_all || slow.record.seen(|seen| seen.lost_of(name)),
            "{} of {} messages, and no loss was told",
            heard.len(),
            accepted.len()
        );
        let order: Vec<u64> = heard.iter().filter_map(|text| text.parse().ok()).collect();
        assert!(order.is_sorted(), "out of order");
        if subject.is_logged() {
            assert_eq!(slow.retained(&subject).await, accepted, "the log has everything");
        }
        // And the node hears on.
        publisher.say(&subject, "the end").await;
        slow.until("what follows has to arrive", |seen| {
            seen.texts(name).last().is_some_and(|t| t == "the end")
        })
        .await;
        slow.record.clear();
    }
}
