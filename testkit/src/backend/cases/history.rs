//! Reading logs.

use std::time::Duration;

use fanfare_core::{
    backend::{HistoryQuery, Page},
    message::Position,
    topic::TopicConfig,
};
use tokio::time::{Instant, sleep};

use crate::backend::{
    Cluster,
    node::{Node, numbers, texts},
    subject::Subject,
};

async fn after(node: &Node, subject: &Subject, offset: u64, limit: usize) -> Page {
    node.history(subject, HistoryQuery::After { offset, limit }).await
}

async fn before(node: &Node, subject: &Subject, offset: Option<u64>, limit: usize) -> Page {
    node.history(subject, HistoryQuery::Before { offset, limit }).await
}

/// A log of ten messages.
async fn ten(cluster: &Cluster) -> (Node, Subject, Vec<Position>) {
    let node = cluster.node().await;
    let subject = Subject::logged("logged.t");
    let positions = node.count(&subject, 1..=10).await;
    assert_eq!(positions.len(), 10);
    (node, subject, positions)
}

pub(in crate::backend) async fn history_begins_after_an_offset(cluster: Cluster) {
    let (node, subject, positions) = ten(&cluster).await;
    let offset = |n: usize| positions[n - 1].offset;
    for (from, expected) in
        [(0, numbers(1..=10)), (offset(1), numbers(2..=10)), (offset(9), numbers(10..=10))]
    {
        let page = after(&node, &subject, from, 100).await;
        assert_eq!(texts(&page), expected, "after {from}");
        assert!(!page.more);
        assert_eq!(page.epoch, positions[0].epoch);
    }
    for from in [offset(10), offset(10) + 1, u64::MAX >> 12] {
        let page = after(&node, &subject, from, 100).await;
        assert_eq!((texts(&page), page.more), (Vec::new(), false), "after {from}");
        assert_eq!(page.last, offset(10));
    }
    let places: Vec<_> =
        after(&node, &subject, 0, 100).await.messages.iter().filter_map(|m| m.position()).collect();
    assert_eq!(places, positions);
}

pub(in crate::backend) async fn history_ends_before_an_offset(cluster: Cluster) {
    let (node, subject, positions) = ten(&cluster).await;
    let offset = |n: usize| Some(positions[n - 1].offset);
    for (to, expected) in [
        (None, numbers(1..=10)),
        (offset(10), numbers(1..=9)),
        (offset(2), numbers(1..=1)),
        (offset(1), Vec::new()),
        (Some(0), Vec::new()),
        (offset(10).map(|offset| offset + 5), numbers(1..=10)),
    ] {
        let page = before(&node, &subject, to, 100).await;
        assert_eq!((texts(&page), page.more), (expected, false), "before {to:?}");
        assert_eq!(Some(page.last), offset(10));
    }
    let last = before(&node, &subject, None, 1).await;
    assert_eq!((texts(&last), last.more), (numbers(10..=10), true), "the last one");
}

pub(in crate::backend) async fn history_leads_through_the_log_page_by_page(cluster: Cluster) {
    let node = cluster.node().await;
    let subject = Subject::logged("logged.t");
    node.count(&subject, 1..=57).await;
    for limit in [1, 10, 57, 58] {
        let (mut read, mut offset) = (Vec::new(), 0);
        loop {
            let page = after(&node, &subject, offset, limit).await;
            assert!(page.messages.len() <= limit);
            assert!(!page.messages.is_empty() || !page.more, "an empty page says that there is more");
            read.extend(texts(&page));
            offset = page.messages.last().and_then(|m| m.position()).map_or(offset, |p| p.offset);
            if !page.more {
                break;
            }
        }
        assert_eq!(read, numbers(1..=57), "forwards by {limit}");
        let (mut read, mut offset) = (Vec::new(), None);
        loop {
            let page = before(&node, &subject, offset, limit).await;
            assert!(page.messages.len() <= limit);
            assert!(!page.messages.is_empty() || !page.more, "an empty page says that there is more");
            // A page is in the log's order, the pages are not.
            read.splice(0..0, texts(&page));
            offset = page.messages.first().and_then(|m| m.position()).map(|p| p.offset).or(offset);
            if !page.more {
                break;
            }
        }
        assert_eq!(read, numbers(1..=57), "backwards by {limit}");
    }
}

pub(in crate::backend) async fn history_holds_what_was_acknowledged(cluster: Cluster) {
    let [one, two, reader] = cluster.nodes().await;
    let subject = Subject::logged("logged.t");
    let mut expected = Vec::new();
    for n in 1..=30 {
        let text = n.to_string();
        if n % 2 == 0 {
            one.say(&subject, text.clone()).await
        } else {
            two.say(&subject, text.clone()).await
        };
        expected.push(text);
        for node in [&one, &two, &reader] {
            assert_eq!(node.retained(&subject).await, expected);
        }
    }
    // A node that comes later reads all of it.
    assert_eq!(cluster.node().await.retained(&subject).await, expected);
}

pub(in crate::backend) async fn history_of_nothing_is_empty(cluster: Cluster) {
    let node = cluster.node().await;
    let subject = Subject::logged("logged.t");
    let queries = [
        HistoryQuery::After { offset: 0, limit: 10 },
        HistoryQuery::After { offset: 7, limit: 10 },
        HistoryQuery::Before { offset: None, limit: 10 },
        HistoryQuery::Before { offset: Some(7), limit: 10 },
        HistoryQuery::Latest,
    ];
    for query in queries {
        let page = node.history(&subject, query).await;
        assert_eq!((page.messages.len(), page.more, page.last), (0, false, 0), "{query:?}");
    }
}

pub(in crate::backend) async fn floor_and_last_frame_what_is_retained(cluster: Cluster) {
    let node = cluster.node().await;
    let subject = Subject::retaining("logged.t", TopicConfig::new().history(5));
    let mut positions = Vec::new();
    for n in 1..=20_u64 {
        let Some(position) = node.say(&subject, n.to_string()).await.position else { panic!("no position") };
        positions.push(position);
        let page = node.read_all(&subject).await;
        assert_eq!(page.last, position.offset);
        let first = page.messages.first().and_then(|message| message.position());
        let Some(first) = first else { panic!("nothing is retained") };
        assert!(page.floor < first.offset, "the first message is after the floor");
        let after_it = positions.iter().filter(|position| position.offset > page.floor).count();
        assert_eq!(page.messages.len(), after_it, "everything after the floor {} is retained", page.floor);
        let after_floor = after(&node, &subject, page.floor, 100).await;
        assert_eq!(texts(&after_floor), texts(&page));
    }
}

pub(in crate::backend) async fn floor_of_an_emptied_log_is_its_end(cluster: Cluster) {
    let node = cluster.node().await;
    let ttl = Duration::from_millis(500);
    let subject = Subject::retaining("logged.t", TopicConfig::new().history(100).history_ttl(ttl));
    node.subscribe(&subject).await;
    let positions = node.count(&subject, 1..=3).await;
    let Some(last) = positions.last().copied() else { panic!("no position") };
    let deadline = Instant::now() + cluster.patience;
    loop {
        let page = node.read_all(&subject).await;
        assert_eq!(page.epoch, last.epoch, "an emptied log keeps its epoch");
        assert_eq!(page.last, last.offset, "and its end");
        if page.messages.is_empty() {
            assert_eq!(page.floor, last.offset);
            break;
        }
        assert!(Instant::now() < deadline, "messages outlive their time");
        sleep(Duration::from_millis(50)).await;
    }
    let Some(next) = node.say(&subject, "4").await.position else { panic!("no position") };
    assert!(next > last, "{next} follows {last}");
}

pub(in crate::backend) async fn holes_leave_what_was_before_them(cluster: Cluster) {
    let [node, other] = cluster.nodes().await;
    let subject = Subject::logged("logged.t");
    node.subscribe(&subject).await;
    let before = node.count(&subject, 1..=3).await;
    cluster.harness.lose_end(&subject.name).await;
    let after = node.count(&subject, 4..=5).await;
    let (last, next) = (before[2], after[0]);
    assert_eq!(last.epoch, next.epoch, "the log goes on");
    let shows = |prev: &[u64]| {
        assert_eq!(prev.len(), 5);
        assert!(last.offset < prev[3] && prev[3] < next.offset, "a hole between {last} and {next}: {prev:?}");
        assert_eq!(prev[4], next.offset);
    };
    for node in [&node, &other] {
        let page = node.read_all(&subject).await;
        assert_eq!(texts(&page), numbers(1..=5), "what was retained before is lost");
        assert!(page.floor < before[0].offset, "{page:?}");
        let places = page.messages.iter().filter_map(|message| message.place());
        shows(&places.map(|place| place.prev).collect::<Vec<_>>());
    }
    node.hears(&subject, &numbers(1..=5)).await;
    let heard = node.heard(&subject);
    shows(&heard.iter().filter_map(|incoming| incoming.log).map(|place| place.prev).collect::<Vec<_>>());
}

pub(in crate::backend) async fn prev_is_the_message_before(cluster: Cluster) {
    let [one, two, listener] = cluster.nodes().await;
    let [subject, other] = ["logged.t", "logged.u"].map(Subject::logged);
    listener.subscribe(&subject).await;
    for n in 1..=30 {
        let node = if n % 3 == 0 { &two } else { &one };
        node.say(&subject, n.to_string()).await;
        // Other topics have offsets of their own.
        node.say(&other, n.to_string()).await;
    }
    listener.hears(&subject, &numbers(1..=30)).await;
    let arrived: Vec<_> = listener.heard(&subject).iter().filter_map(|incoming| incoming.log).collect();
    let stored: Vec<_> = one.read_all(&subject).await.messages.iter().filter_map(|m| m.place()).collect();
    let dense = one.backend.capabilities().dense_offsets;
    for (what, places) in [("arrived", arrived), ("stored", stored)] {
        assert_eq!(places.len(), 30);
        let mut prev = 0;
        for place in places {
            assert_eq!(place.prev, prev, "the message before {}, as it {what}", place.position);
            assert!(place.position.offset > prev);
            assert!(!dense || place.position.offset == prev + 1, "dense offsets have no holes");
            prev = place.position.offset;
        }
    }
}
