//! Logs where something goes on beside them: writers while they are read, odd positions and sizes.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use fanfare_core::{
    backend::{Backend, BackendState, HistoryQuery, Page},
    message::MessageParts,
    topic::TopicConfig,
};
use parking_lot::Mutex;
use tokio::{task::JoinSet, time::sleep};

use super::{LOGGED, Lone, Told, lone::topic, retention};

fn keyed(key: usize, text: &str) -> MessageParts {
    let mut parts = MessageParts::new(topic(LOGGED), text);
    parts.key = Some(format!("key-{key}").into());
    parts
}

/// Keys that are written while the last values are read are not passed over, and none comes twice. So many are written, and read so
/// often meanwhile.
///
/// # Panics
///
/// When a page is not whole.
pub async fn last_values_while_written<B: Backend>(node: Lone<B>, keys: usize, reads: usize) {
    let kept = retention(&TopicConfig::new().history(10).latest(keys));
    let node = Arc::new(node);
    let old: Vec<_> = (0..keys).map(|key| node.hand_over_parts(keyed(key, "old"), Some(kept))).collect();
    for publish in old {
        publish.await.expect("it is stored");
    }
    let writer = tokio::spawn({
        let node = node.clone();
        async move {
            loop {
                for key in 0..keys {
                    let _ = node.hand_over_parts(keyed(key, "new"), Some(kept)).await;
                }
            }
        }
    });
    for _ in 0..reads {
        let page = node.history(LOGGED, HistoryQuery::Latest).await;
        let found: BTreeSet<_> =
            page.messages.iter().filter_map(|m| m.key().map(ToOwned::to_owned)).collect();
        assert_eq!(page.messages.len(), found.len(), "one value for each key");
        assert_eq!(found.len(), keys, "every key");
        let offsets: Vec<_> = page.messages.iter().filter_map(|m| m.position().map(|p| p.offset)).collect();
        assert!(offsets.is_sorted(), "in the log's order");
        let is_behind = offsets.last().is_none_or(|last| *last <= page.last);
        assert!(is_behind, "the log's end is not before its values");
    }
    writer.abort();
    let _ = writer.await;
    Arc::into_inner(node).expect("the last one").end().await;
}

/// Last values of any size are read, in answers of bounded size: so many, of so many bytes.
///
/// # Panics
///
/// When some are missing.
pub async fn large_last_values<B: Backend>(node: Lone<B>, values: usize, bytes: usize) {
    let kept = retention(&TopicConfig::new().history(1).latest(values));
    let large = "x".repeat(bytes);
    for key in 0..values {
        node.hand_over_parts(keyed(key, &large), Some(kept)).await.expect("it is stored");
    }
    let page = node.history(LOGGED, HistoryQuery::Latest).await;
    assert_eq!(page.messages.len(), values);
    assert!(page.messages.iter().all(|message| message.payload().len() == bytes));
    node.end().await;
}

/// Clients name positions as they like.
///
/// # Panics
///
/// When one of them is answered wrongly.
pub async fn positions_that_never_were<B: Backend>(node: Lone<B>) {
    let kept = retention(&TopicConfig::new().history(100));
    let mut last = 0;
    for n in 1..=3 {
        let accepted = node.hand_over(LOGGED, &n.to_string(), Some(kept)).await.expect("it is stored");
        last = accepted.position.expect("a position").offset;
    }
    for offset in [last, last + 1, 1 << 53, u64::MAX - 1, u64::MAX] {
        let page = node.history(LOGGED, HistoryQuery::After { offset, limit: 10 }).await;
        assert_eq!((page.messages.len(), page.more, page.last), (0, false, last), "after {offset}");
        let before = node.history(LOGGED, HistoryQuery::Before { offset: Some(offset), limit: 10 }).await;
        assert_eq!(before.messages.len(), if offset == last { 2 } else { 3 }, "before {offset}");
    }
    let none = node.history(LOGGED, HistoryQuery::Before { offset: Some(0), limit: 10 }).await;
    assert_eq!((none.messages.len(), none.more), (0, false));
    node.end().await;
}

/// Configurations at their ends.
///
/// # Panics
///
/// When a log does not hold what it was given.
pub async fn without_bounds<B: Backend>(node: Lone<B>) {
    let ends = [
        TopicConfig::new().history(usize::MAX).history_bytes(usize::MAX).history_ttl(Duration::MAX),
        TopicConfig::new().history(1).history_bytes(0).idempotency_window(Duration::MAX),
        TopicConfig::new().history(1).idempotency_window(Duration::ZERO).latest(usize::MAX),
    ];
    for (index, config) in ends.iter().enumerate() {
        let name = format!("logged.{index}");
        let kept = retention(config);
        node.subscribe(&name, Some(kept)).await;
        for n in 1..=3 {
            let mut parts = MessageParts::new(topic(&name), "hello");
            (parts.message_id, parts.key) = (Some(format!("id-{n}").into()), Some("k".into()));
            node.hand_over_parts(parts, Some(kept)).await.expect("it is stored");
        }
        let page = node.history(&name, HistoryQuery::After { offset: 0, limit: 10 }).await;
        assert!(!page.messages.is_empty(), "{config}");
    }
    node.end().await;
}

/// What came before an outage is given before its end is told, or not at all. `kick` ends the connections on which nodes receive.
///
/// # Panics
///
/// When something comes later.
pub async fn nothing_from_before<B: Backend>(
    publisher: Lone<B>,
    listener: Lone<B>,
    kick: impl AsyncFnOnce(),
) {
    listener.subscribe("t", None).await;
    listener.shut(true);
    for n in 1..=5 {
        publisher.hand_over("t", &n.to_string(), None).await.expect("it is carried");
    }
    listener.until("the first one", |told| told.contains(&Told::Message("t".into(), "1".into()))).await;
    // The others wait behind it: they have arrived when what follows them has.
    publisher.hand_over("other", "x", None).await.expect("it is carried");
    sleep(Duration::from_millis(200)).await;
    kick().await;
    listener.until("the outage", |told| told.ends_with(&[Told::State(BackendState::Up)])).await;
    listener.shut(false);
    publisher.until_state(BackendState::Up).await;
    listener.subscribe("t", None).await;
    publisher.hand_over("t", "after", None).await.expect("it is carried");
    listener.until("the next one", |told| told.contains(&Told::Message("t".into(), "after".into()))).await;
    assert_eq!(listener.texts("t"), ["1", "after"], "{:?}", listener.told());
    for node in [publisher, listener] {
        node.end().await;
    }
}

/// A log is trimmed while it is read: a page claims to be whole over nothing that was dropped meanwhile. So many pages are read by each of
/// four tasks, while eight publish messages of 1 kB.
///
/// # Panics
///
/// When a page leaves out a message in silence.
pub async fn trimmed_while_read<B: Backend>(
    writer: Lone<B>,
    reader: Lone<B>,
    bounds: TopicConfig,
    pages: usize,
) {
    let kept = retention(&bounds);
    let (writer, reader) = (Arc::new(writer), Arc::new(reader));
    reader.subscribe(LOGGED, Some(kept)).await;
    let stored: Arc<Mutex<Vec<u64>>> = Arc::default();
    let mut writing = JoinSet::new();
    for _ in 0..8 {
        let (writer, stored) = (writer.clone(), stored.clone());
        writing.spawn(async move {
            loop {
                let accepted = writer.hand_over(LOGGED, &"x".repeat(1000), Some(kept)).await;
                let position = accepted.expect("it is stored").position.expect("a position");
                stored.lock().push(position.offset);
                if stored.lock().len() > 1_000_000 {
                    break;
                }
            }
        });
    }
    let mut reading = JoinSet::new();
    for _ in 0..4 {
        let (reader, stored) = (reader.clone(), stored.clone());
        reading.spawn(async move {
            let mut read = Vec::new();
            for _ in 0..pages {
                let after = {
                    let stored = stored.lock();
                    let back = fastrand::usize(1..300);
                    stored.len().checked_sub(back).map_or(0, |index| stored[index])
                };
                let query = HistoryQuery::After { offset: after, limit: 1000 };
                read.push((after, reader.history(LOGGED, query).await));
                read_backwards(&reader).await;
            }
            read
        });
    }
    let read = reading.join_all().await;
    writing.shutdown().await;
    let mut stored = std::mem::take(&mut *stored.lock());
    stored.sort_unstable();
    for (after, page) in read.iter().flatten() {
        is_whole(&stored, *after, page);
    }
    for node in [writer, reader] {
        Arc::into_inner(node).expect("the last one").end().await;
    }
}

/// Reads some small pages from the log's end on: each but the last one says where the next one begins.
async fn read_backwards<B: Backend>(reader: &Lone<B>) {
    let mut offset = None;
    for _ in 0..4 {
        let page = reader.history(LOGGED, HistoryQuery::Before { offset, limit: 3 }).await;
        let Some(first) = page.messages.first() else {
            assert!(!page.more, "nothing is before {offset:?}, and there is more: nobody could go on");
            return;
        };
        offset = first.place().map(|place| place.position.offset);
    }
}

/// Whether a page has all that is stored after its beginning, up to its end, and each message names the one before it.
fn is_whole(stored: &[u64], after: u64, page: &Page) {
    let mut last = after.max(page.floor);
    for message in &page.messages {
        let place = message.place().expect("a place");
        let from = last.max(place.prev);
        let missing = between(stored, from, place.position.offset - 1);
        assert_eq!(missing, 0, "after {after}, floor {}: {missing} are missing before {place:?}", page.floor);
        assert!(place.prev <= last, "after {after}, floor {}: {place:?} does not follow {last}", page.floor);
        last = place.position.offset;
    }
    assert!(!page.messages.is_empty() || !page.more, "after {after}: an empty page, and there is more");
    let missing = between(stored, last, page.last);
    assert!(
        page.more || missing == 0,
        "after {after}, floor {}: {missing} are missing to the end {}",
        page.floor,
        page.last
    );
}

/// How many of these there are after one, up to another.
fn between(sorted: &[u64], after: u64, through: u64) -> usize {
    let until = |offset: u64| sorted.partition_point(|at| *at <= offset);
    until(through).saturating_sub(until(after))
}
