//! Clients that do not read.

use super::frames::numbered;
use crate::transport::{
    Event,
    app::{App, Listener},
    run::Setup,
};

/// Together more than a kernel's buffers and a queue take.
const MESSAGES: usize = 3_000;
const BYTES: usize = 10_000;

/// The number in front of a text.
fn number(event: &Event) -> Option<usize> {
    let Event::Message { payload, .. } = event else { return None };
    payload.as_str()?.split_once(' ')?.0.parse().ok()
}

/// How many messages are published at once: much less than a queue holds.
const AT_ONCE: usize = 20;

/// Publishes all, while another client reads all.
async fn publish_beside(app: &App, topic: &str, reader: &mut Listener) {
    for from in (0..MESSAGES).step_by(AT_ONCE) {
        for n in from..from + AT_ONCE {
            app.publish(topic, numbered(n, BYTES)).await;
        }
        for n in from..from + AT_ONCE {
            let next = reader.next().await;
            let came = next.as_ref().and_then(number);
            assert_eq!(came, Some(n), "a client that reads is disturbed by one that does not");
        }
        // They are long.
        reader.got.clear();
    }
}

pub(in crate::transport) async fn stall_is_the_stalled_clients_alone(setup: Setup) {
    let app = App::start(setup).await;
    let _stalled = app.client(&["t"]).await;
    let mut reader = app.client(&["t"]).await;
    publish_beside(&app, "t", &mut reader).await;
    // And whoever comes now is served as well.
    let mut late = app.client(&["t"]).await;
    app.publish("t", "late").await;
    assert_eq!(late.message().await.1, "late");
}

pub(in crate::transport) async fn stall_is_told_as_a_gap(setup: Setup) {
    let app = App::start(setup).await;
    let mut stalled = app.client(&["t"]).await;
    let mut reader = app.client(&["t"]).await;
    publish_beside(&app, "t", &mut reader).await;
    // What was delivered, the gap, and the newest: between them nothing is missing.
    let (mut next, mut missed) = (0, 0);
    while next < MESSAGES {
        let Some(event) = stalled.next().await else {
            panic!("the stalled client was closed at message {next}")
        };
        match event {
            Event::Gap { topic, missed: Some(count), reason } => {
                assert_eq!((&*topic, &*reason), ("t", "slow"));
                missed += count as usize;
                next += count as usize;
            }
            event => {
                assert_eq!(number(&event), Some(next), "after {missed} that were told to be missed");
                next += 1;
            }
        }
    }
    assert!(missed > 0, "{MESSAGES} messages of {BYTES} bytes went nowhere");
    app.publish("t", "live again").await;
    assert_eq!(stalled.message().await.1, "live again");
}

pub(in crate::transport) async fn stall_of_a_logged_topic_loses_nothing(setup: Setup) {
    let app = App::start(setup).await;
    let mut stalled = app.client(&["logged.t"]).await;
    let mut reader = app.client(&["logged.t"]).await;
    publish_beside(&app, "logged.t", &mut reader).await;
    let mut next = 0;
    while next < MESSAGES {
        let Some(event) = stalled.next().await else {
            panic!("the stalled client was closed at message {next}")
        };
        match event {
            Event::Live { .. } => {}
            event => {
                assert_eq!(number(&event), Some(next), "the log holds what the queue did not");
                next += 1;
            }
        }
    }
}

pub(in crate::transport) async fn stall_takes_a_bounded_amount_of_memory(setup: Setup) {
    let app = App::start(setup).await;
    let mut stalled = Vec::new();
    for _ in 0..3 {
        stalled.push(app.client(&["t"]).await);
    }
    let limit = app.broker.limits().queue_bytes * stalled.len();
    for n in 0..MESSAGES {
        app.publish("t", numbered(n, BYTES)).await;
        let queued = app.broker.stats().queued_bytes;
        assert!(queued <= limit, "{queued} bytes wait after message {n}; {limit} are allowed");
    }
    app.until("three clients lag", |stats| stats.lagging == 3).await;
    // What the transport holds beside the queues is bounded, too: else nothing would have been lost.
    let stats = app.broker.stats();
    assert!(stats.dropped as usize > MESSAGES, "{stats:?}");
}
