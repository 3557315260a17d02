//! What happens by the clock alone. The body is polled by hand, under paused time.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use fanfare_core::{
    Broker,
    policy::{Action, Admission, Identity, Open, Policy, Verdict},
    session::{CloseKind, Handshake, Refusal},
};
use fanfare_sse::{Config, EventBody, EventStream};
use http::Request;
use http_body_util::BodyExt;
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::{Instant, advance};

use crate::parser::Parser;

async fn open(events: &EventStream, query: &str) -> EventBody {
    let response = events.respond(Request::get(format!("/?{query}")).body(()).unwrap()).await;
    assert_eq!(response.status(), 200);
    response.into_body()
}

async fn next(body: &mut EventBody) -> Option<Bytes> {
    Some(body.frame().await?.unwrap().into_data().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_silent_stream_says_that_it_is_there() {
    let broker = Broker::builder().policy(Open).ping_interval(Duration::from_secs(20)).start().await.unwrap();
    let events = EventStream::new(&broker).unwrap();
    let mut body = open(&events, "topic=t").await;
    let began = Instant::now();
    assert!(next(&mut body).await.unwrap().starts_with(b"retry: "));
    assert_eq!(began.elapsed(), Duration::ZERO, "the first event does not wait");
    for _ in 0..3 {
        let since = Instant::now();
        assert_eq!(next(&mut body).await.unwrap(), ":\n\n");
        let waited = since.elapsed();
        assert!(waited >= Duration::from_secs(19) && waited < Duration::from_secs(21), "{waited:?}");
    }
    // Whatever is written puts it off.
    advance(Duration::from_secs(15)).await;
    broker.publish("t", "x").await.unwrap();
    assert_eq!(next(&mut body).await.unwrap(), "data: x\n\n");
    let since = Instant::now();
    assert_eq!(next(&mut body).await.unwrap(), ":\n\n");
    assert!(since.elapsed() >= Duration::from_secs(19), "{:?}", since.elapsed());
}

struct Expiring;

#[async_trait]
impl Policy for Expiring {
    async fn connect(&self, _: &Handshake) -> Result<Admission, Refusal> {
        Ok(Admission::Accept(Identity::anonymous().expires_in(Duration::from_secs(60))))
    }

    fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
        Verdict::allow()
    }
}

#[tokio::test(start_paused = true)]
async fn an_admission_that_ends_ends_the_stream() {
    let broker = Broker::builder().policy(Expiring).start().await.unwrap();
    let events = EventStream::new(&broker).unwrap();
    let began = Instant::now();
    let mut body = open(&events, "topic=t").await;
    let mut parser = Parser::default();
    let mut read = Vec::new();
    while let Some(bytes) = next(&mut body).await {
        read.extend(parser.push(&bytes));
    }
    assert!(began.elapsed() >= Duration::from_secs(60) && began.elapsed() < Duration::from_secs(61));
    let names: Vec<_> = read.iter().map(|event| &*event.name).collect();
    assert_eq!(names, ["$token", "$close"], "a page is told before, in time to open the stream anew");
    let notice: Value = serde_json::from_str(&read[0].data).unwrap();
    assert!(notice["token"]["expires_ms"].as_u64().is_some_and(|left| (11_000..=12_000).contains(&left)));
    let frame: Value = serde_json::from_str(&read[1].data).unwrap();
    assert_eq!((&frame["close"]["code"], &frame["close"]["name"]), (&4004.into(), &"token_expired".into()));
}

/// The body is not polled while its connection takes nothing: all the same nothing of the stream is left after the deadline.
#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_polls_is_cut_and_told() {
    let reasons = Arc::new(Mutex::new(Vec::new()));
    let told = reasons.clone();
    let builder = Broker::builder().policy(Open).on_disconnected(move |_, reason| {
        told.lock().push(reason.kind);
        async {}
    });
    let broker = builder.start().await.unwrap();
    let config = Config::new().write_timeout(Duration::from_secs(7));
    let events = EventStream::new(&broker).unwrap().config(config);
    let mut stalled = open(&events, "topic=t").await;
    let mut reading = open(&events, "topic=t").await;
    for body in [&mut stalled, &mut reading] {
        next(body).await.unwrap();
    }
    // Nothing waits: an idle stream is not a stalled one.
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(broker.stats().connections, 2);
    broker.publish("t", "x").await.unwrap();
    assert_eq!(next(&mut reading).await.unwrap(), "data: x\n\n");
    tokio::time::sleep(Duration::from_millis(6900)).await;
    assert_eq!((broker.stats().connections, broker.stats().queued, broker.stats().lagging), (2, 1, 1));
    tokio::time::sleep(Duration::from_millis(700)).await;
    let stats = broker.stats();
    assert_eq!((stats.connections, stats.subscriptions, stats.queued, stats.queued_bytes), (1, 1, 0, 0));
    assert_eq!(*reasons.lock(), [CloseKind::SlowConsumer]);
    // Who reads on after all is told, and comes back.
    let last = String::from_utf8(next(&mut stalled).await.unwrap().to_vec()).unwrap();
    assert!(
        last.starts_with("event: $close\ndata: {\"close\":{\"code\":4100,\"name\":\"slow_consumer\"}}\n"),
        "{last}"
    );
    assert_eq!(next(&mut stalled).await, None);
    drop(stalled);
    assert_eq!(reasons.lock().len(), 1, "it has ended once");
}

/// As long as something is pulled now and then, a reader is slow and not stalled.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_is_not_a_stalled_one() {
    let broker = Broker::builder().policy(Open).start().await.unwrap();
    let events =
        EventStream::new(&broker).unwrap().config(Config::new().write_timeout(Duration::from_secs(7)));
    let mut body = open(&events, "topic=t").await;
    next(&mut body).await.unwrap();
    for _ in 0..10 {
        for _ in 0..3 {
            broker.publish("t", "x".repeat(60_000)).await.unwrap();
        }
        tokio::time::sleep(Duration::from_secs(6)).await;
        next(&mut body).await.unwrap();
    }
    assert_eq!(broker.stats().connections, 1);
}

/// Draining gives up in the end: no stream outlives it, polled or not.
#[tokio::test(start_paused = true)]
async fn a_stream_that_nobody_polls_does_not_outlive_its_broker_for_long() {
    let broker = Broker::builder().policy(Open).start().await.unwrap();
    let events = EventStream::new(&broker).unwrap();
    let _body = open(&events, "topic=t").await;
    assert!(!broker.drain(Duration::from_secs(2)).await);
    tokio::time::sleep(Duration::from_secs(11)).await;
    assert_eq!(broker.stats().connections, 0);
}
