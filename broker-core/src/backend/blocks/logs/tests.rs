//! Logs of one epoch are the same on each node that puts the same messages.

use std::time::Duration;

use super::*;
use crate::{
    backend::{NodeId, Origin},
    message::MessageParts,
    topic::TopicConfig,
};

const EPOCH: Epoch = Epoch::new(7);

fn message(topic: &str, text: &str, id: Option<&str>) -> Outgoing {
    let mut parts = MessageParts::new(TopicName::new(topic).unwrap(), text);
    parts.message_id = id.map(Into::into);
    let origin = Origin { node: NodeId::new(1), stream: 1, seq: 1 };
    Outgoing::logged(parts, retention(), origin)
}

/// Two messages.
fn retention() -> Retention {
    Retention::of(&TopicConfig::new().history(2)).unwrap()
}

fn topic(name: &str) -> Interest {
    Interest::Topic { name: TopicName::new(name).unwrap(), retention: Some(retention()) }
}

fn read(logs: &Logs) -> Page {
    logs.read(&TopicName::new("t").unwrap(), HistoryQuery::After { offset: 0, limit: 10 })
}

fn texts(page: &Page) -> Vec<&str> {
    page.messages.iter().filter_map(|message| message.payload().as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_one_node_places_all_put() {
    let (here, there) = (Logs::of_epoch(EPOCH), Logs::of_epoch(EPOCH));
    assert_eq!(
        there.open(&topic("t")).unwrap(),
        Some(Position::new(EPOCH, 0)),
        "before anything was written"
    );
    assert_eq!(read(&there).epoch, EPOCH);
    for n in 1..=3 {
        let outgoing = message("t", &n.to_string(), Some(&format!("id-{n}")));
        let writer = if n % 2 == 0 { &here } else { &there };
        let (accepted, place) = writer.place(&outgoing).unwrap();
        let place = place.unwrap();
        assert_eq!((place.position, place.prev), (Position::new(EPOCH, n), n - 1));
        assert_eq!(accepted.position, Some(place.position));
        let incoming = Incoming::logged(outgoing.message, place);
        for logs in [&here, &there, &there] {
            logs.put(&incoming, retention());
        }
    }
    for logs in [&here, &there] {
        let page = read(logs);
        assert_eq!((texts(&page), page.floor, page.last), (vec!["2", "3"], 1, 3));
        let (accepted, place) = logs.place(&message("t", "again", Some("id-1"))).unwrap();
        assert!(accepted.duplicate && place.is_none());
        assert_eq!(accepted.position, Some(Position::new(EPOCH, 1)));
        assert_eq!(logs.open(&topic("t")).unwrap(), Some(Position::new(EPOCH, 3)));
    }
    tokio::time::advance(retention().history.idempotency_window).await;
    assert!(!here.place(&message("t", "anew", Some("id-1"))).unwrap().0.duplicate);
}

#[tokio::test(start_paused = true)]
async fn what_was_written_long_ago_is_as_old_as_it_is() {
    let logs = Logs::of_epoch(EPOCH);
    let mut old = message("t", "old", Some("id")).message;
    old.time_ms -= u64::try_from(retention().history.ttl.as_millis()).unwrap() - 1000;
    let place = LogPlace { position: Position::new(EPOCH, 1), prev: 0 };
    logs.put(&Incoming::logged(old, place), retention());
    assert_eq!(texts(&read(&logs)), ["old"]);
    assert!(!logs.place(&message("t", "x", Some("id"))).unwrap().0.duplicate, "the id is forgotten");
    tokio::time::advance(Duration::from_secs(2)).await;
    assert_eq!(texts(&read(&logs)).len(), 0);
}

/// A log of an epoch of its own is given up when it was idle for long, but not while it is open.
#[tokio::test(start_paused = true)]
async fn an_idle_log_is_given_up_with_its_epoch() {
    let logs = Logs::new();
    let name = |n: usize| format!("t.{n}");
    let open = logs.open(&topic(&name(0))).unwrap();
    let mut given_up = Vec::new();
    for n in 1..FIRST_SWEEP {
        given_up.push(logs.append(message(&name(n), "x", None)).unwrap().position.unwrap());
    }
    tokio::time::advance(4 * retention().history.ttl).await;
    logs.append(message("t", "x", None)).unwrap();
    assert_eq!(logs.logs.len(), 2);
    assert_eq!(logs.open(&topic(&name(0))).unwrap(), open);
    let anew = logs.open(&topic(&name(1))).unwrap().unwrap();
    assert!(anew.offset == 0 && anew.epoch != given_up[0].epoch);
}

/// What a server has lost with the end of a log leaves what was before it, and a hole.
#[tokio::test(start_paused = true)]
async fn a_log_that_lost_its_end_keeps_its_beginning() {
    let logs = Logs::new();
    logs.append(message("t", "1", None)).unwrap();
    logs.skip(&TopicName::new("t").unwrap(), 5);
    let page = read(&logs);
    assert_eq!((texts(&page), page.last, page.more), (vec!["1"], 6, false));
    logs.append(message("t", "7", None)).unwrap();
    let page = read(&logs);
    assert_eq!((texts(&page), page.floor, page.last), (vec!["1", "7"], 0, 7));
    assert_eq!(page.messages[1].place().unwrap().prev, 6);
}
