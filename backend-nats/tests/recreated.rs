//! A stream that an operator deletes and makes anew, under the same name, while nodes are connected: it is another log, and no new message is
//! taken for an old one.

mod support;

use std::time::Duration;

use fanfare_core::{
    Broker,
    message::Position,
    session::Start,
    subscription::{Delivery, Subscription},
};
use fanfare_nats::{NatsBuilder, Streams};
use fanfare_testkit::{faults::LOGGED, server::Program};
use support::{PATIENCE, Setup, broker, on_both};
use tokio::time::timeout;

on_both! {
    who_publishes_goes_on_in_the_new_log
    who_publishes_and_who_listens_go_on_in_the_new_log
    a_new_log_that_is_longer_than_the_old_one_is_none_the_less_new
    who_only_listens_by_a_pattern_is_told
    what_was_taken_for_the_old_logs_is_told_when_an_acknowledgement_tells
    who_comes_with_an_old_place_is_told
    a_purge_is_no_new_log
}

const NAME: &str = "logs";
const OTHER: &str = "logged.other";

fn checked(setup: &Setup) -> NatsBuilder {
    setup.builder().streams(Streams::Checked)
}

async fn publish(broker: &Broker, topic: &str, text: &str) -> Position {
    let published = broker.publish(topic, text).await.unwrap_or_else(|error| panic!("{text}: {error:?}"));
    published.position.expect("a position")
}

/// What is heard until a text has come: texts, and `gap`. None comes twice.
async fn heard(subscription: &mut Subscription<str>, end: &str) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let delivery = timeout(PATIENCE, subscription.recv()).await;
        let delivery = delivery.unwrap_or_else(|_| panic!("{end} never comes after {heard:?}"));
        match delivery.expect("a subscription") {
            Delivery::Message(message) => {
                heard.push(message.message().payload().as_str().expect("text").to_owned());
            }
            Delivery::Gap(_) => heard.push("gap".to_owned()),
            _ => {}
        }
        if heard.last().is_some_and(|last| last == end) {
            heard.dedup_by(|a, b| a == "gap" && b == "gap");
            return heard;
        }
    }
}

/// Two brokers that have published a few messages to a stream of the operator's, and heard them.
async fn two(setup: &Setup) -> (Broker, Broker, Vec<Position>) {
    setup.admin().await.make_log(NAME).await;
    let (one, other) = (broker(checked(setup)).await, broker(checked(setup)).await);
    let mut positions = Vec::new();
    for n in 1..=5 {
        positions.push(publish(&one, LOGGED, &format!("old {n}")).await);
    }
    (one, other, positions)
}

async fn end(brokers: [Broker; 2]) {
    for broker in brokers {
        broker.drain(Duration::from_secs(5)).await;
    }
}

async fn who_publishes_goes_on_in_the_new_log(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let (one, other, positions) = two(&setup).await;
    for round in 0..3 {
        setup.admin().await.make_log(NAME).await;
        let first = publish(&one, LOGGED, "new 1").await;
        assert_eq!(first.offset, 1, "the operator's stream begins anew");
        assert_ne!(first.epoch, positions[0].epoch, "round {round}: it is another log");
    }
    end([one, other]).await;
}

/// Who publishes finds out by its own message, and who only listens by those of others: also where it has taken none of the log before.
async fn who_publishes_and_who_listens_go_on_in_the_new_log(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let (one, other, _) = two(&setup).await;
    let mut here = one.subscribe(LOGGED).await.expect("a subscription");
    let mut there = other.subscribe(LOGGED).await.expect("a subscription");
    let third = broker(checked(&setup)).await;
    let mut aside = third.subscribe(LOGGED).await.expect("a subscription");
    let mut last = publish(&one, LOGGED, "the last old one").await;
    for subscription in [&mut here, &mut there, &mut aside] {
        heard(subscription, "the last old one").await;
    }
    for round in 0..5 {
        setup.admin().await.make_log(NAME).await;
        let text = |n| format!("new {round} {n}");
        let first = publish(&one, LOGGED, &text(1)).await;
        let second = publish(&other, LOGGED, &text(2)).await;
        // Who has seen it already, as one who still reads after the last round may have, has noted there that it begins.
        assert_ne!(first.epoch, last.epoch, "round {round}: the operator's stream begins anew");
        assert_eq!(first.epoch, second.epoch, "round {round}: it is one log for both");
        assert!(first.offset < second.offset, "round {round}: {first:?}, {second:?}");
        last = second;
        for subscription in [&mut here, &mut there, &mut aside] {
            assert_eq!(heard(subscription, &text(2)).await, ["gap".to_owned(), text(1), text(2)]);
        }
    }
    third.drain(Duration::from_secs(5)).await;
    end([one, other]).await;
}

/// Nobody listens to what makes it longer, so that offsets alone tell nothing.
async fn a_new_log_that_is_longer_than_the_old_one_is_none_the_less_new(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let (one, other, positions) = two(&setup).await;
    let mut there = other.subscribe(LOGGED).await.expect("a subscription");
    publish(&one, LOGGED, "the last old one").await;
    heard(&mut there, "the last old one").await;
    setup.admin().await.make_log(NAME).await;
    // From somebody who has never seen the old one.
    let third = broker(checked(&setup)).await;
    for n in 0..50 {
        publish(&third, OTHER, &n.to_string()).await;
    }
    for n in 1..=3 {
        let position = publish(&third, LOGGED, &format!("new {n}")).await;
        assert!(position.offset > positions[4].offset + 10);
    }
    assert_eq!(heard(&mut there, "new 3").await, ["gap", "new 1", "new 2", "new 3"]);
    third.drain(Duration::from_secs(5)).await;
    end([one, other]).await;
}

/// Who is subscribed by a pattern alone has nothing that makes it look at the stream.
async fn who_only_listens_by_a_pattern_is_told(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let (one, other, _) = two(&setup).await;
    let mut there = other.subscribe_pattern("logged.>").await.expect("a subscription");
    let mut end_of = async |text: &str| {
        let mut heard = Vec::new();
        loop {
            match timeout(PATIENCE, there.recv()).await.expect("a message").expect("a subscription") {
                Delivery::Message(message) => {
                    heard.push(message.message().payload().as_str().expect("text").to_owned());
                }
                Delivery::Gap(_) => heard.push("gap".to_owned()),
                _ => {}
            }
            if heard.last().is_some_and(|last| last == text) {
                return heard;
            }
        }
    };
    // The first one may be before it is known whose stream it is; that is told then.
    let began = std::time::Instant::now();
    publish(&one, LOGGED, "first").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    for n in 1..=3 {
        publish(&one, LOGGED, &n.to_string()).await;
    }
    let all = end_of("3").await;
    assert!(all.ends_with(&["1", "2", "3"].map(str::to_owned)), "{all:?} after {:?}", began.elapsed());
    setup.admin().await.make_log(NAME).await;
    publish(&one, LOGGED, "new 1").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    publish(&one, LOGGED, "new 2").await;
    let all = end_of("new 2").await;
    assert!(all.contains(&"gap".to_owned()), "{all:?}");
    for broker in [one, other] {
        broker.drain(Duration::from_secs(5)).await;
    }
}

/// What comes of a topic that a node knows nothing of contradicts nothing.
async fn what_was_taken_for_the_old_logs_is_told_when_an_acknowledgement_tells(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let (one, other, _) = two(&setup).await;
    let mut there = other.subscribe_pattern("logged.a.>").await.expect("a subscription");
    publish(&other, OTHER, "old").await;
    setup.admin().await.make_log(NAME).await;
    let third = broker(checked(&setup)).await;
    let new = publish(&third, "logged.a.b", "new").await;
    let mut next =
        async || timeout(PATIENCE, there.recv()).await.expect("something").expect("a subscription");
    while !matches!(next().await, Delivery::Message(_)) {}
    assert_eq!(publish(&other, OTHER, "new").await, Position::new(new.epoch, 2));
    while !matches!(next().await, Delivery::Gap(_)) {}
    third.drain(Duration::from_secs(5)).await;
    end([one, other]).await;
}

/// A client that was away meanwhile comes to a node that has nothing to do with the topic.
async fn who_comes_with_an_old_place_is_told(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let (one, other, positions) = two(&setup).await;
    // The node knows the old stream.
    publish(&other, OTHER, "x").await;
    setup.admin().await.make_log(NAME).await;
    let third = broker(checked(&setup)).await;
    for n in 1..=9 {
        publish(&third, LOGGED, &format!("new {n}")).await;
    }
    for broker in [&other, &one] {
        let start = Start::After(positions[1]);
        let mut subscription = broker.subscribe(LOGGED).start(start).await.expect("a subscription");
        assert_eq!(subscription.outcome().recovered, Some(false), "its log is no more");
        publish(&third, LOGGED, "the end").await;
        let heard = heard(&mut subscription, "the end").await;
        assert_eq!(heard[0], "gap", "{heard:?}");
        assert!(heard.iter().all(|text| !text.starts_with("old")), "{heard:?}");
    }
    third.drain(Duration::from_secs(5)).await;
    end([one, other]).await;
}

/// Numbers go on after a purge: it is the same log, of which something is gone.
async fn a_purge_is_no_new_log(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let (one, other, positions) = two(&setup).await;
    let mut there = other.subscribe(LOGGED).await.expect("a subscription");
    publish(&one, LOGGED, "the last old one").await;
    heard(&mut there, "the last old one").await;
    let stream = setup.admin().await.jetstream().get_stream(NAME).await.expect("a stream");
    for round in 0..3 {
        let _ = stream.purge().await.expect("an answer");
        let text = format!("after {round}");
        let position = publish(if round == 1 { &other } else { &one }, LOGGED, &text).await;
        assert_eq!(position.epoch, positions[0].epoch, "round {round}: the log is the same");
        assert!(position.offset > positions[4].offset);
        let heard = heard(&mut there, &text).await;
        assert!(heard == [text.clone()] || heard == ["gap".to_owned(), text], "{heard:?}");
    }
    end([one, other]).await;
}
