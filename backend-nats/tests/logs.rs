//! Logs in the long run: what they hold, what is read of them, and what goes on beside.

mod support;

use std::{sync::Arc, time::Duration};

use fanfare_core::{
    backend::{Accepted, HistoryQuery, Page, Retention},
    message::{Message, MessageParts},
    topic::TopicConfig,
};
use fanfare_nats::NatsBackend;
use fanfare_testkit::{
    faults::{LOGGED, Lone, logs, retention},
    server::Program,
};
use futures_util::future::join_all;
use support::{PATIENCE, Setup, lone, on_both, topic};
use tokio::time::{Instant, sleep, sleep_until};

on_both! {
    last_values_are_read_while_they_are_written
    large_last_values_are_read
    positions_that_never_were_are_answered
    a_log_without_bounds_is_a_log
    nothing_from_before_an_outage_comes_after_it
    a_topic_of_large_messages_is_held_to_its_bytes
    a_small_topic_beside_a_large_one_is_held_to_its_messages
    small_messages_cost_nothing_but_their_storing
    a_stream_holds_what_the_topic_needs_that_needs_most
    ids_are_remembered_as_long_as_each_topic_says
    pages_of_a_long_log_leave_nothing_out
}

async fn last_values_are_read_while_they_are_written(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    logs::last_values_while_written(lone(setup.builder()).await, 1200, 50).await;
}

async fn large_last_values_are_read(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let node = lone(setup.builder().publish_within(PATIENCE).answer_within(PATIENCE)).await;
    logs::large_last_values(node, 60, 900 << 10).await;
}

async fn positions_that_never_were_are_answered(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    logs::positions_that_never_were(lone(setup.builder()).await).await;
}

async fn a_log_without_bounds_is_a_log(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    logs::without_bounds(lone(setup.builder()).await).await;
}

async fn nothing_from_before_an_outage_comes_after_it(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let (publisher, listener) = (lone(setup.builder()).await, lone(setup.builder()).await);
    logs::nothing_from_before(publisher, listener, async || setup.proxy.reset()).await;
}

async fn publish(
    node: &Lone<NatsBackend>,
    name: &str,
    text: &str,
    kept: Retention,
) -> Result<Accepted, fanfare_core::backend::BackendError> {
    node.hand_over(name, text, Some(kept)).await
}

/// Publishes so many, a few at a time.
async fn publish_many(node: &Lone<NatsBackend>, name: &str, count: usize, text: &str, kept: Retention) {
    for begin in (0..count).step_by(50) {
        let some = (begin..count.min(begin + 50)).map(|_| publish(node, name, text, kept));
        for accepted in join_all(some).await {
            accepted.expect("it is stored");
        }
    }
}

/// Waits until a stream holds of a topic no more than this: it is trimmed beside what is published.
async fn until_held(setup: &Setup, name: &str, most: u64) -> u64 {
    let (admin, deadline) = (setup.admin().await, Instant::now() + PATIENCE);
    let stream = admin.log().await.config.name;
    loop {
        let count = admin.count(&stream, &format!("fanfare.l.t.{name}")).await;
        if count <= most {
            return count;
        }
        assert!(Instant::now() < deadline, "{count} messages are held of {name}, and {most} are enough");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn a_topic_of_large_messages_is_held_to_its_bytes(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let node = lone(setup.builder()).await;
    let kept = retention(&TopicConfig::new().history(10_000).history_bytes(100_000));
    publish_many(&node, LOGGED, 1000, &"x".repeat(4_000), kept).await;
    // Chance decides when: thrice of it is as good as never held.
    let held = until_held(&setup, LOGGED, 75).await;
    assert!(held >= 20, "{held} messages are held: what is retained stays");
    // One that is larger than all that is retained stays until another one comes.
    let accepted = publish(&node, LOGGED, &"y".repeat(300_000), kept).await.expect("it is stored");
    let page = node.history(LOGGED, HistoryQuery::After { offset: 0, limit: 1000 }).await;
    let last = page.messages.last().and_then(|message| message.position());
    assert_eq!(last, accepted.position, "the newest is retained whatever its size");
    node.end().await;
}

async fn a_small_topic_beside_a_large_one_is_held_to_its_messages(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let node = lone(setup.builder()).await;
    let large = retention(&TopicConfig::new().history(10_000));
    publish(&node, "logged.large", "x", large).await.expect("it is stored");
    let small = retention(&TopicConfig::new().history(10));
    publish_many(&node, "logged.small", 3000, "x", small).await;
    let held = until_held(&setup, "logged.small", 64 * 12).await;
    assert!(held >= 11, "{held} messages are held");
    let page = node.history("logged.small", HistoryQuery::After { offset: 0, limit: 1000 }).await;
    assert_eq!(page.messages.len(), 10, "whatever is held");
    assert!(page.floor > 0 && page.floor < page.last);
    node.end().await;
}

/// As long as no message is larger than its share, their number bounds their bytes.
async fn small_messages_cost_nothing_but_their_storing(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let node = lone(setup.builder()).await;
    let kept = retention(&TopicConfig::new().history(1000).history_bytes(4 << 20));
    publish(&node, LOGGED, "x", kept).await.expect("it is stored");
    let asked = setup.admin().await.requests().await;
    let before = asked.so_far().await;
    publish_many(&node, LOGGED, 2000, &"x".repeat(1000), kept).await;
    let small = asked.so_far().await;
    assert_eq!(small.since(&before).total(), 0, "{:?}", small.since(&before));
    let few = retention(&TopicConfig::new().history(1000).history_bytes(100_000));
    publish_many(&node, LOGGED, 400, &"x".repeat(4000), few).await;
    let large = asked.so_far().await;
    assert!(large.since(&small).of("STREAM.PURGE") > 0, "{:?}", large.since(&small));
    node.end().await;
}

async fn a_stream_holds_what_the_topic_needs_that_needs_most(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let node = lone(setup.builder()).await;
    let hours = |hours: u64| Duration::from_secs(3600 * hours);
    let small = TopicConfig::new().history(10).history_ttl(Duration::from_secs(1));
    publish(&node, "logged.small", "1", retention(&small.idempotency_window(Duration::from_secs(1))))
        .await
        .expect("it is stored");
    let admin = setup.admin().await;
    let config = admin.log().await.config;
    assert_eq!((config.max_messages_per_subject, config.max_age), (64, Duration::from_secs(600)));
    let large = TopicConfig::new().history(1000).history_ttl(hours(5)).idempotency_window(hours(2));
    publish(&node, "logged.large", "1", retention(&large)).await.expect("it is stored");
    let config = admin.log().await.config;
    assert_eq!((config.max_messages_per_subject, config.max_age), (1024, hours(15)));
    assert_eq!(config.duplicate_window, hours(2));
    // Less is not taken back: another node may need it.
    let other = lone(setup.builder()).await;
    let small = retention(&TopicConfig::new().history(10).history_ttl(Duration::from_secs(1)));
    publish(&other, "logged.small", "2", small).await.expect("it is stored");
    assert_eq!(admin.log().await.config.max_age, hours(15));
    // And yet the small topic is what it says of itself.
    sleep(Duration::from_millis(1500)).await;
    let page = other.history("logged.small", HistoryQuery::After { offset: 0, limit: 10 }).await;
    assert_eq!(page.messages.len(), 0, "its time is over");
    assert_eq!(page.floor, page.last);
    for node in [node, other] {
        node.end().await;
    }
}

/// One stream remembers the ids of all topics for the longest time that one of them wants.
async fn ids_are_remembered_as_long_as_each_topic_says(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let node = lone(setup.builder()).await;
    let window = Duration::from_secs(3);
    let of = |window: Duration| retention(&TopicConfig::new().history(100).idempotency_window(window));
    let say = async |name: &str, window: Duration| {
        let mut parts = MessageParts::new(topic(name), "hello");
        parts.message_id = Some("one id for all".into());
        node.hand_over_parts(parts, Some(of(window))).await.expect("it is accepted")
    };
    let long = say("logged.long", Duration::from_secs(3600)).await;
    let began = Instant::now();
    let short = say("logged.short", window).await;
    let stored = Instant::now();
    assert!(!long.duplicate && !short.duplicate, "ids belong to their topics");
    let again = say("logged.short", window).await;
    // Where the machine stood still for seconds nothing can be said.
    if began.elapsed() < window - Duration::from_millis(500) {
        assert_eq!((again.duplicate, again.position), (true, short.position));
    }
    sleep_until(stored + window + Duration::from_millis(500)).await;
    // Two at once, as after an outage: one of them is new.
    let (one, other) = tokio::join!(say("logged.short", window), say("logged.short", window));
    assert_ne!(one.duplicate, other.duplicate, "{one:?} {other:?}");
    assert_eq!(one.position, other.position);
    assert_ne!(one.position, short.position, "the first one's time is over");
    let still = say("logged.long", Duration::from_secs(3600)).await;
    assert_eq!((still.duplicate, still.position), (true, long.position));
    let page = node.history("logged.short", HistoryQuery::After { offset: 0, limit: 10 }).await;
    assert_eq!(page.messages.len(), 2);
    node.end().await;
}

fn offsets(messages: &[Arc<Message>]) -> Vec<u64> {
    messages.iter().filter_map(|message| message.position()).map(|position| position.offset).collect()
}

/// Other topics' messages are between a topic's own, so that its offsets leap; and some of it are held that are not retained.
async fn pages_of_a_long_log_leave_nothing_out(program: Program) {
    const COUNT: usize = 1300;
    let Some(setup) = Setup::start(program).await else { return };
    let node = lone(setup.builder()).await;
    let (whole, some) =
        (retention(&TopicConfig::new().history(100_000)), retention(&TopicConfig::new().history(900)));
    let (mut of_whole, mut of_some) = (Vec::new(), Vec::new());
    let place = |accepted: Result<Accepted, _>| {
        let accepted: Accepted =
            accepted.unwrap_or_else(|error: fanfare_core::backend::BackendError| panic!("{error}"));
        accepted.position.expect("a position").offset
    };
    for begin in (0..COUNT).step_by(50) {
        let all = (begin..begin + 50).map(|n| {
            let text = n.to_string();
            let both = [("logged.whole", whole), ("logged.some", some)]
                .map(|(name, kept)| node.hand_over(name, &text, Some(kept)));
            async { tokio::join!(join_all(both)).0 }
        });
        for both in join_all(all).await {
            let [a, b] = <[_; 2]>::try_from(both).unwrap_or_else(|_| panic!("two"));
            of_whole.push(place(a));
            of_some.push(place(b));
        }
    }
    assert!(of_whole.is_sorted() && of_some.is_sorted());
    let retained = of_some[COUNT - 900..].to_vec();
    for (name, wanted, floor) in
        [("logged.whole", of_whole, 0), ("logged.some", retained, of_some[COUNT - 900 - 1])]
    {
        // Forwards, from the beginning; each page goes on where the one before ended.
        let (mut found, mut from) = (Vec::new(), 0);
        loop {
            let page = node.history(name, HistoryQuery::After { offset: from, limit: 97 }).await;
            if from == 0 {
                assert!(floor == 0 || page.floor == floor, "{name}: {} {floor}", page.floor);
            } else {
                assert!(page.floor <= from, "{name}: nothing is missing after {from}: {}", page.floor);
            }
            assert_eq!(page.last, wanted[wanted.len() - 1], "{name}");
            follow_each_other(&page, from);
            found.extend(offsets(&page.messages));
            let Some(last) = found.last().filter(|_| page.more) else { break };
            from = *last;
        }
        assert!(found == wanted, "{name}, forwards: {} of {}", found.len(), wanted.len());
        // Backwards, from the end.
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = node.history(name, HistoryQuery::Before { offset: before, limit: 97 }).await;
            let mut offsets = offsets(&page.messages);
            offsets.append(&mut found);
            found = offsets;
            before = found.first().copied();
            if !page.more {
                break;
            }
        }
        assert!(found == wanted, "{name}, backwards: {} of {}", found.len(), wanted.len());
        // From any place, also such that are other topics'.
        for index in [0, 1, 500, wanted.len() - 2] {
            for offset in [wanted[index], wanted[index] + 1] {
                let page = node.history(name, HistoryQuery::After { offset, limit: 3 }).await;
                let next = wanted.iter().filter(|at| **at > offset).take(3).copied().collect::<Vec<_>>();
                assert_eq!(offsets(&page.messages), next, "{name} after {offset}");
            }
        }
    }
    node.end().await;
}

/// Each message names the one before it.
fn follow_each_other(page: &Page, from: u64) {
    let mut last = from.max(page.floor);
    for message in &page.messages {
        let place = message.place().expect("a place");
        assert!(place.prev <= last, "{place:?} does not follow {last}");
        last = place.position.offset;
    }
}
