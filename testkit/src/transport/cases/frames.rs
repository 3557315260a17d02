//! What clients that read get.

use fanfare_core::message::Payload;

use crate::transport::{Event, app::App, run::Setup};

/// A text that begins with a number.
pub(super) fn numbered(n: usize, bytes: usize) -> String {
    let number = n.to_string();
    let rest = bytes.saturating_sub(number.len() + 1);
    format!("{number} {}", "x".repeat(rest))
}

pub(in crate::transport) async fn frames_arrive_in_order(setup: Setup) {
    let app = App::start(setup).await;
    for topic in ["t", "logged.t"] {
        let mut client = app.client(&[topic]).await;
        for n in 0..500 {
            // From some bytes to some write buffers, whatever they are.
            let text = numbered(n, 1 << (n % 15));
            app.publish(topic, text.clone()).await;
            // Now and then several at once.
            if n % 50 == 49 {
                for expected in n - 49..=n {
                    let (from, text) = client.message().await;
                    assert!(
                        from == topic && text == numbered(expected, 1 << (expected % 15)),
                        "message {expected}"
                    );
                }
            }
        }
    }
}

pub(in crate::transport) async fn frames_carry_every_kind_of_payload(setup: Setup) {
    let app = App::start(setup).await;
    let json = |text: &'static str| Payload::parsed_json(text).unwrap_or_else(|error| panic!("{error}"));
    let payloads = [
        Payload::text("plain"),
        Payload::text(""),
        Payload::text("lines\nand\r\nmore\rlines\n\n"),
        Payload::text("\u{0}\u{1f}\"\\ é ✓ 🎉 \u{feff}\u{2028}"),
        Payload::text("{\"not\":\"json\"}"),
        Payload::text("data: forged\n\nid: 7\n\n"),
        json("null"),
        json("\"a string\""),
        json(r#"{"a":[1,2.5,{"b":null}],"c":"é ✓"}"#),
        Payload::binary(vec![]),
        Payload::binary((0..=255).collect::<Vec<u8>>()),
    ];
    for topic in ["t", "logged.t"] {
        let mut client = app.client(&[topic]).await;
        for payload in &payloads {
            app.publish(topic, payload.clone()).await;
            let expected = Event::Message { topic: topic.to_owned(), payload: payload.clone() };
            let next = client.next().await;
            assert_eq!(next, Some(expected));
        }
    }
}

pub(in crate::transport) async fn frames_may_be_as_large_as_the_limit(setup: Setup) {
    let app = App::start(setup).await;
    let mut client = app.client(&["t"]).await;
    let limit = app.broker.limits().max_message;
    for bytes in [limit, 0, limit, limit - 1] {
        for payload in [Payload::text("y".repeat(bytes)), Payload::binary(vec![7; bytes])] {
            app.publish("t", payload.clone()).await;
            let Some(Event::Message { payload: came, .. }) = client.next().await else {
                panic!("no message")
            };
            assert!(came == payload, "{bytes} bytes have changed");
        }
    }
}

pub(in crate::transport) async fn frames_of_several_topics_are_told_apart(setup: Setup) {
    let app = App::start(setup).await;
    let mut client = app.client(&["a", "logged.a", "a.b"]).await;
    let mut other = app.client(&["b"]).await;
    for n in 0..30 {
        for topic in ["a", "logged.a", "a.b", "b", "logged.b", "A"] {
            app.publish(topic, n.to_string()).await;
        }
    }
    app.publish("b", "the end").await;
    let mut next = [0, 0, 0];
    for _ in 0..90 {
        let (topic, text) = client.message().await;
        let Some(index) = ["a", "logged.a", "a.b"].iter().position(|t| *t == topic) else {
            panic!("{topic} was not subscribed to");
        };
        assert_eq!(text, next[index].to_string(), "the order of {topic}");
        next[index] += 1;
    }
    assert_eq!(next, [30; 3]);
    for n in 0..30 {
        assert_eq!(other.message().await, ("b".to_owned(), n.to_string()));
    }
    assert_eq!(other.message().await.1, "the end");
}

pub(in crate::transport) async fn frames_reach_every_client(setup: Setup) {
    let app = App::start(setup).await;
    let mut clients = Vec::new();
    for _ in 0..30 {
        clients.push(app.client(&["t", "logged.t"]).await);
    }
    for n in 0..20 {
        for topic in ["t", "logged.t"] {
            app.publish(topic, n.to_string()).await;
        }
    }
    for client in &mut clients {
        let mut heard = [Vec::new(), Vec::new()];
        for _ in 0..40 {
            let (topic, text) = client.message().await;
            heard[usize::from(topic == "t")].push(text);
        }
        let all: Vec<_> = (0..20).map(|n: i32| n.to_string()).collect();
        assert_eq!(heard, [all.clone(), all]);
    }
}
