//! Whole nodes in outages.

use std::time::Duration;

use fanfare_core::{
    Broker,
    backend::BackendState,
    message::{GapReason, Position},
};
use tokio::time::{Instant, sleep, timeout};

use super::law::publish;
use crate::backend::{
    Cluster,
    node::numbers,
    reader::{Got, Reader},
};

async fn until_state(cluster: &Cluster, broker: &Broker, wanted: BackendState) {
    let mut state = broker.backend_state();
    let reached = timeout(cluster.patience, state.wait_for(|state| *state == wanted)).await;
    assert!(reached.is_ok(), "the broker has to learn that its backend is {wanted:?}");
}

async fn interrupt(cluster: &Cluster, brokers: &[Broker]) {
    cluster.harness.interrupt().await;
    for broker in brokers {
        until_state(cluster, broker, BackendState::Down).await;
    }
}

async fn restore(cluster: &Cluster, brokers: &[Broker]) {
    cluster.harness.restore().await;
    for broker in brokers {
        until_state(cluster, broker, BackendState::Up).await;
    }
}

/// Publishes, and says whether the message was accepted.
async fn attempt(cluster: &Cluster, broker: &Broker, topic: &str, n: u64) -> Option<(u64, Option<Position>)> {
    let published = timeout(cluster.patience, broker.publish(topic, n.to_string()).into_future()).await;
    let published = published.unwrap_or_else(|_| panic!("publishing message {n} hangs"));
    published.ok().map(|published| (n, published.position))
}

/// Publishes until each reader has got a message that was published after all others.
async fn until_heard(cluster: &Cluster, broker: &Broker, topic: &str, readers: &mut [Reader]) {
    let deadline = Instant::now() + cluster.patience;
    let mut n = 1_000_000;
    while readers.iter().any(|reader| !reader.texts().iter().any(|text| text.len() == 7)) {
        assert!(Instant::now() < deadline, "{topic} is not delivered after the outage");
        n += 1;
        attempt(cluster, broker, topic, n).await;
        sleep(Duration::from_millis(20)).await;
        for reader in &mut *readers {
            reader.take();
        }
    }
}

pub(in crate::backend) async fn law_logged_topics_survive_outages(cluster: Cluster) {
    let brokers = [cluster.broker().await, cluster.broker().await];
    let topic = "logged.t";
    let mut readers = Vec::new();
    for broker in &brokers {
        readers.push(Reader::subscribe(broker, topic, cluster.patience).await);
    }
    let mut accepted = Vec::new();
    for n in 1..=20 {
        accepted.extend(attempt(&cluster, &brokers[0], topic, n).await);
    }
    interrupt(&cluster, &brokers).await;
    for n in 21..=40 {
        accepted.extend(attempt(&cluster, &brokers[0], topic, n).await);
    }
    restore(&cluster, &brokers).await;
    for n in 41..=60 {
        accepted.extend(attempt(&cluster, &brokers[1], topic, n).await);
    }
    assert!(accepted.iter().any(|(n, _)| *n == 60), "publishing works again");
    for reader in &mut readers {
        reader.until_text("60").await;
    }
    // What was missed has been read; what comes now comes by itself.
    for n in 61..=80 {
        accepted.extend(attempt(&cluster, &brokers[0], topic, n).await);
    }
    for reader in &mut readers {
        reader.until_text("80").await;
        check_logged(reader, &accepted);
    }
}

/// All that was accepted is delivered, where it was stored.
fn check_logged(reader: &Reader, accepted: &[(u64, Option<Position>)]) {
    reader.check_order();
    for (n, position) in accepted {
        let is_it = |got: &Got| *got == Got::Message(n.to_string(), *position);
        assert!(
            reader.got.iter().any(is_it),
            "message {n} was accepted at {position:?}, and is not delivered"
        );
    }
    assert!(reader.gaps().is_empty(), "nothing was lost, and gaps are told: {:?}", reader.gaps());
}

pub(in crate::backend) async fn law_ephemeral_topics_tell_of_outages(cluster: Cluster) {
    let brokers = [cluster.broker().await, cluster.broker().await];
    let topic = "ephemeral.t";
    let mut readers = Vec::new();
    for broker in &brokers {
        readers.push(Reader::subscribe(broker, topic, cluster.patience).await);
    }
    let mut accepted = Vec::new();
    for n in 1..=20 {
        accepted.extend(attempt(&cluster, &brokers[0], topic, n).await);
    }
    readers[1].until_text("20").await;
    interrupt(&cluster, &brokers).await;
    for n in 21..=40 {
        accepted.extend(attempt(&cluster, &brokers[0], topic, n).await);
    }
    // The node's own subscribers are served all the same.
    readers[0].until_text("40").await;
    restore(&cluster, &brokers).await;
    until_heard(&cluster, &brokers[0], topic, &mut readers).await;
    for n in 41..=60 {
        accepted.extend(attempt(&cluster, &brokers[0], topic, n).await);
    }
    for reader in &mut readers {
        reader.until_text("60").await;
        reader.check_order();
    }
    let own: Vec<_> = readers[0].texts().into_iter().filter(|text| text.len() < 7).collect();
    assert_eq!(own, numbers(1..=60), "a node's own subscribers miss nothing");
    check_ephemeral(&readers[1], &accepted);
    // What was published in the outage did not cross, or it was told.
    let was_delivered = (21..=40).all(|n: u64| readers[1].texts().contains(&n.to_string().as_str()));
    assert!(was_delivered || !readers[1].gaps().is_empty(), "an outage is told");
}

/// Of what was accepted, what is not delivered lies in a gap.
fn check_ephemeral(reader: &Reader, accepted: &[(u64, Option<Position>)]) {
    let (mut last, mut is_told) = (0, false);
    for got in &reader.got {
        match got {
            Got::Gap(_) => is_told = true,
            Got::Message(text, _) => {
                let n: u64 = text.parse().unwrap_or_default();
                // Those that ask whether anybody hears.
                if n > 1_000_000 {
                    continue;
                }
                assert!(n > last, "message {n} comes after message {last}");
                let missing: Vec<_> =
                    accepted.iter().map(|(a, _)| *a).filter(|a| (last + 1..n).contains(a)).collect();
                assert!(
                    missing.is_empty() || is_told,
                    "messages {missing:?} were accepted, are missing, and no gap is told"
                );
                (last, is_told) = (n, false);
            }
            Got::Live => {}
        }
    }
    let rest: Vec<_> = accepted.iter().map(|(a, _)| *a).filter(|a| *a > last).collect();
    assert!(rest.is_empty() || is_told, "messages {rest:?} are missing at the end");
}

pub(in crate::backend) async fn law_outages_come_in_rows(cluster: Cluster) {
    const ROUNDS: u64 = 8;
    let brokers = [cluster.broker().await, cluster.broker().await];
    let topics = ["logged.t", "ephemeral.t"];
    let mut readers = Vec::new();
    for topic in topics {
        readers.push(Reader::subscribe(&brokers[1], topic, cluster.patience).await);
    }
    let (mut accepted, mut n) = ([Vec::new(), Vec::new()], 0);
    for round in 0..ROUNDS {
        // In some rounds nothing happens in the outage, or nothing between two of them.
        for phase in 0..3 {
            let count = if (round + phase) % 3 == 0 { 0 } else { 15 };
            for _ in 0..count {
                n += 1;
                for (topic, accepted) in topics.iter().zip(&mut accepted) {
                    accepted.extend(attempt(&cluster, &brokers[0], topic, n).await);
                }
            }
            match phase {
                0 => interrupt(&cluster, &brokers).await,
                1 => restore(&cluster, &brokers).await,
                _ => {}
            }
        }
    }
    for (topic, reader) in topics.iter().zip(&mut readers) {
        until_heard(&cluster, &brokers[0], topic, std::slice::from_mut(reader)).await;
    }
    n += 1;
    for ((topic, accepted), reader) in topics.iter().zip(&mut accepted).zip(&mut readers) {
        accepted.extend(attempt(&cluster, &brokers[0], topic, n).await);
        reader.until_text(&n.to_string()).await;
    }
    check_logged(&readers[0], &accepted[0]);
    check_ephemeral(&readers[1], &accepted[1]);
}

pub(in crate::backend) async fn law_a_lost_log_is_told(cluster: Cluster) {
    let brokers = cluster.brokers().await;
    let (here, there) = (&brokers[0], &brokers[brokers.len() - 1]);
    let topic = "logged.t";
    let mut readers = Vec::new();
    for broker in &brokers {
        readers.push(Reader::subscribe(broker, topic, cluster.patience).await);
    }
    publish(here, topic, 1..=10).await;
    for reader in &mut readers {
        reader.until_text("10").await;
    }
    cluster.harness.lose_log(&crate::backend::subject::name(topic)).await;
    publish(there, topic, 11..=20).await;
    for reader in &mut readers {
        reader.until_text("20").await;
        reader.check_order();
        assert_eq!(reader.texts(), numbers(1..=20));
        let gap =
            reader.got.iter().position(|got| matches!(got, Got::Gap(gap) if gap.reason == GapReason::Epoch));
        assert_eq!(gap, Some(10), "the gap stands where the log was lost: {:?}", reader.gaps());
    }
    // Who was away comes back with a position of the lost log.
    let Some(Got::Message(_, Some(old))) = readers[0].got.first().cloned() else { panic!("no position") };
    let start = fanfare_core::session::Start::After(old);
    let mut late = Reader::starting(here, topic, start, cluster.patience).await;
    assert_eq!(late.recovered(), Some(false));
    publish(here, topic, 21..=21).await;
    late.until_text("21").await;
    assert!(
        matches!(late.got.first(), Some(Got::Gap(gap)) if gap.reason == GapReason::Epoch),
        "{:?}",
        late.got.first()
    );
}
