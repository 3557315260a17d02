//! Whole nodes, and what their subscribers get.

use fanfare_core::{
    Broker,
    message::{GapReason, Position},
    session::Start,
};

use crate::backend::{
    Cluster,
    node::numbers,
    reader::{Got, Reader},
    subject::name,
};

/// Publishes numbers, each of which has to be accepted.
pub(super) async fn publish(
    broker: &Broker,
    topic: &str,
    numbers: std::ops::RangeInclusive<u64>,
) -> Vec<Position> {
    let mut positions = Vec::new();
    for n in numbers {
        let published = broker.publish(topic, n.to_string()).await;
        let published = published.unwrap_or_else(|error| panic!("message {n} to {topic}: {error:?}"));
        positions.extend(published.position);
    }
    positions
}

pub(in crate::backend) async fn law_messages_reach_subscribers_everywhere(cluster: Cluster) {
    let brokers = cluster.brokers().await;
    for topic in ["ephemeral.t", "logged.t"] {
        let mut readers = Vec::new();
        for broker in &brokers {
            for _ in 0..2 {
                readers.push(Reader::subscribe(broker, topic, cluster.patience).await);
            }
        }
        // All nodes at once.
        let publishers = brokers.iter().enumerate().map(|(who, broker)| async move {
            for n in 1..=100 {
                let published = broker.publish(topic, format!("{who}:{n}")).await;
                published.unwrap_or_else(|error| panic!("message {n} to {topic}: {error:?}"));
            }
        });
        futures_util::future::join_all(publishers).await;
        let total = 100 * brokers.len();
        for reader in &mut readers {
            reader.until("all messages have to be delivered", |got| got.len() >= total).await;
            assert!(reader.gaps().is_empty(), "{:?}", reader.gaps());
            reader.check_order();
            for who in 0..brokers.len() {
                let prefix = format!("{who}:");
                let of_node: Vec<_> =
                    reader.texts().into_iter().filter_map(|t| t.strip_prefix(&*prefix)).collect();
                assert_eq!(of_node, numbers(1..=100), "the messages of node {who}");
            }
        }
        if topic == "logged.t" {
            let first = readers[0].texts();
            assert!(
                readers.iter().all(|reader| reader.texts() == first),
                "nodes differ in the order of a log"
            );
        }
    }
}

pub(in crate::backend) async fn law_recovery_brings_what_was_missed(cluster: Cluster) {
    let brokers = cluster.brokers().await;
    let (here, there) = (&brokers[0], &brokers[brokers.len() - 1]);
    let mut reader = Reader::subscribe(here, "logged.t", cluster.patience).await;
    publish(there, "logged.t", 1..=10).await;
    reader.until_text("10").await;
    let Some(Got::Message(_, Some(stopped))) = reader.got.last().cloned() else { panic!("no position") };
    drop(reader);
    publish(here, "logged.t", 11..=30).await;
    let mut reader = Reader::starting(there, "logged.t", Start::After(stopped), cluster.patience).await;
    assert_eq!((reader.recovered(), reader.position()), (Some(true), Some(stopped)));
    reader.until("live", |got| got.contains(&Got::Live)).await;
    assert_eq!(reader.texts(), numbers(11..=30));
    publish(here, "logged.t", 31..=40).await;
    reader.until_text("40").await;
    assert_eq!(reader.texts(), numbers(11..=40));
    assert!(reader.gaps().is_empty());
    reader.check_order();
    let mut other = Reader::starting(here, "logged.t", Start::After(stopped), cluster.patience).await;
    other.until_text("40").await;
    assert_eq!(other.texts(), numbers(11..=40));
}

pub(in crate::backend) async fn law_recovery_beyond_the_log_is_a_gap(cluster: Cluster) {
    let brokers = cluster.brokers().await;
    let (here, there) = (&brokers[0], &brokers[brokers.len() - 1]);
    let positions = publish(here, "short.t", 1..=30).await;
    let mut reader = Reader::starting(there, "short.t", Start::After(positions[9]), cluster.patience).await;
    assert_eq!(reader.recovered(), Some(false));
    reader.until_text("30").await;
    let Some(Got::Gap(gap)) = reader.got.first() else { panic!("no gap first: {:?}", reader.got) };
    assert_eq!(gap.reason, GapReason::History);
    assert!(gap.missed.is_none_or(|missed| missed == 15), "{gap:?}");
    assert_eq!(reader.texts(), numbers(26..=30));
    assert_eq!(reader.gaps().len(), 1);
    // A position that nobody gave out is of no log.
    let unknown = Position::new(fanfare_core::message::Epoch::random(), 3);
    let mut reader = Reader::starting(there, "short.t", Start::After(unknown), cluster.patience).await;
    assert_eq!(reader.recovered(), Some(false));
    publish(here, "short.t", 31..=31).await;
    reader.until_text("31").await;
    let Some(Got::Gap(gap)) = reader.got.first() else { panic!("no gap first: {:?}", reader.got) };
    assert_eq!(gap.reason, GapReason::Epoch);
    reader.check_order();
}

pub(in crate::backend) async fn law_recovery_tells_of_a_hole_at_its_place(cluster: Cluster) {
    let brokers = cluster.brokers().await;
    let (here, there) = (&brokers[0], &brokers[brokers.len() - 1]);
    let mut live = Reader::subscribe(here, "logged.t", cluster.patience).await;
    let positions = publish(here, "logged.t", 1..=3).await;
    let name = name("logged.t");
    cluster.harness.lose_end(&name).await;
    publish(there, "logged.t", 4..=5).await;
    live.until_text("5").await;
    let gap = |reader: &Reader, first: u64| {
        assert_eq!(reader.texts(), numbers(first..=5));
        let at = reader.got.iter().position(|got| matches!(got, Got::Gap(_)));
        let before = at.and_then(|at| reader.got[..at].last()).and_then(Got::text);
        assert_eq!((before, reader.gaps().len()), (Some("3"), 1), "{:?}", reader.got);
    };
    gap(&live, 1);
    for broker in [here, there] {
        let mut reader =
            Reader::starting(broker, "logged.t", Start::After(positions[0]), cluster.patience).await;
        assert_eq!(reader.recovered(), Some(false));
        reader.until("live", |got| got.contains(&Got::Live)).await;
        gap(&reader, 2);
        let mut reader = Reader::starting(broker, "logged.t", Start::Last(2), cluster.patience).await;
        reader.until("live", |got| got.contains(&Got::Live)).await;
        assert_eq!(
            (reader.texts(), reader.gaps().len()),
            (numbers(4..=5).iter().map(String::as_str).collect(), 0)
        );
    }
}

pub(in crate::backend) async fn law_subscribers_begin_where_they_want(cluster: Cluster) {
    let brokers = cluster.brokers().await;
    let (here, there) = (&brokers[0], &brokers[brokers.len() - 1]);
    publish(here, "logged.t", 1..=20).await;
    for (start, first) in [(Start::Last(3), 18), (Start::Last(1000), 1), (Start::Earliest, 1)] {
        let mut reader = Reader::starting(there, "logged.t", start, cluster.patience).await;
        reader.until("live", |got| got.contains(&Got::Live)).await;
        assert_eq!(reader.texts(), numbers(first..=20), "{start:?}");
    }
    for (key, text) in [("a", "a1"), ("b", "b1"), ("a", "a2"), ("c", "c1"), ("b", "b2")] {
        let published = here.publish("keys.t", text).key(key).await;
        published.unwrap_or_else(|error| panic!("{error:?}"));
    }
    let mut reader = Reader::starting(there, "keys.t", Start::Latest, cluster.patience).await;
    reader.until("live", |got| got.contains(&Got::Live)).await;
    assert_eq!(reader.texts(), ["a2", "c1", "b2"]);
    let mut live = Reader::subscribe(there, "logged.t", cluster.patience).await;
    publish(here, "logged.t", 21..=22).await;
    live.until_text("22").await;
    assert_eq!(live.texts(), ["21", "22"]);
}

pub(in crate::backend) async fn law_subscribers_come_and_go(cluster: Cluster) {
    const MESSAGES: u64 = 400;
    let brokers = cluster.brokers().await;
    let (here, there) = (&brokers[0], &brokers[brokers.len() - 1]);
    for topic in ["ephemeral.t", "logged.t"] {
        let handed_over = std::sync::atomic::AtomicU64::new(0);
        let publisher = async {
            for n in 1..=MESSAGES {
                publish(here, topic, n..=n).await;
                handed_over.store(n, std::sync::atomic::Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        };
        let subscribers = async {
            let mut readers = Vec::new();
            for round in 0..30 {
                let reader = Reader::subscribe(there, topic, cluster.patience).await;
                let from = handed_over.load(std::sync::atomic::Ordering::SeqCst);
                // Most leave at once: the node gives the topic up, and wants it again.
                if round % 5 == 0 {
                    readers.push((from, reader));
                }
                for _ in 0..round {
                    tokio::task::yield_now().await;
                }
            }
            readers
        };
        let ((), readers) = tokio::join!(publisher, subscribers);
        for (from, mut reader) in readers {
            if from < MESSAGES {
                reader.until_text(&MESSAGES.to_string()).await;
            }
            reader.check_order();
            assert!(reader.gaps().is_empty(), "{topic}: {:?}", reader.gaps());
            let texts = reader.texts();
            let first = texts.first().and_then(|text| text.parse().ok()).unwrap_or(MESSAGES + 1);
            // The one that was on its way may be in or not.
            assert!(
                first <= from + 2,
                "{topic}: subscribed at message {from}, the first delivered is {first}"
            );
            assert_eq!(texts, numbers(first..=MESSAGES), "{topic}: subscribed at message {from}");
        }
    }
}
