//! Nothing of a message is lost.

use fanfare_core::{
    backend::Origin,
    message::{MessageParts, Payload, Publisher},
    session::ClientId,
};

use crate::backend::{Cluster, subject::Subject};

/// Messages that between them have every part, and every kind of payload.
fn messages(subject: &Subject) -> Vec<MessageParts> {
    let json = Payload::parsed_json(r#"{"text":"h\u00e9 ✓","n":[1,2.5,null]}"#);
    let payloads = [
        Payload::text("a line\nand \"another\" ✓\0"),
        Payload::binary(vec![0, 255, 10, 13, 128]),
        json.unwrap_or_else(|error| panic!("{error}")),
    ];
    let mut messages = Vec::new();
    for (n, payload) in payloads.into_iter().enumerate() {
        let bare = MessageParts::new(subject.name.clone(), payload);
        let mut full = bare.clone();
        full.event = Some("e:v e.n\"t".into());
        full.key = Some("kéy".into());
        // On an ephemeral topic as well: there the core writes what is its own.
        full.message_id = Some(format!("id {n}").into());
        full.publisher = Some(Publisher { client: ClientId::random(), user: Some("ann ✓".into()) });
        full.time_ms = bare.time_ms.saturating_sub(1);
        full.except = Some([ClientId::random(), ClientId::random()].into());
        let mut anonymous = bare.clone();
        anonymous.publisher = Some(Publisher { client: ClientId::random(), user: None });
        anonymous.event = Some("".into());
        messages.extend([bare, full, anonymous]);
    }
    messages
}

fn assert_same(is: &MessageParts, was: &MessageParts) {
    assert_eq!(is.topic, was.topic);
    assert_eq!(is.payload.kind(), was.payload.kind());
    assert_eq!(is.payload.bytes(), was.payload.bytes());
    assert_eq!(is.event, was.event, "event");
    assert_eq!(is.key, was.key, "key");
    assert_eq!(is.message_id, was.message_id, "message_id");
    assert_eq!(is.publisher, was.publisher, "publisher");
    assert_eq!(is.time_ms, was.time_ms, "time");
    let except = |parts: &MessageParts| parts.except.iter().flat_map(|e| e.to_vec()).collect::<Vec<_>>();
    assert_eq!(except(is), except(was), "except");
}

pub(in crate::backend) async fn whole_messages_arrive_with_all_their_parts(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    for subject in Subject::both("t") {
        listener.subscribe(&subject).await;
        let messages = messages(&subject);
        let mut origins: Vec<Origin> = Vec::new();
        for parts in &messages {
            let outgoing = publisher.outgoing(&subject, parts.clone());
            origins.push(outgoing.origin);
            let accepted = publisher.within("publish", publisher.backend.publish(outgoing)).await;
            accepted.unwrap_or_else(|error| panic!("{parts:?} is not accepted: {error:?}"));
        }
        let what = "all messages have to arrive";
        listener.until(what, |seen| seen.new_of(&subject.name).len() >= messages.len()).await;
        for ((incoming, was), origin) in listener.heard(&subject).iter().zip(&messages).zip(origins) {
            assert_same(&incoming.message, was);
            assert_eq!(incoming.origin, Some(origin), "origin");
            assert_eq!(incoming.log.is_some(), subject.is_logged());
            assert!(incoming.also.is_empty());
        }
    }
}

pub(in crate::backend) async fn whole_messages_are_read_with_all_their_parts(cluster: Cluster) {
    let node = cluster.node().await;
    let subject = Subject::logged("logged.t");
    let messages = messages(&subject);
    for parts in &messages {
        let accepted = node.within("publish", node.hand_over(&subject, parts.clone())).await;
        accepted.unwrap_or_else(|error| panic!("{parts:?} is not accepted: {error:?}"));
    }
    let page = node.read_all(&subject).await;
    assert_eq!(page.messages.len(), messages.len());
    for (is, was) in page.messages.iter().zip(&messages) {
        assert_same(is.parts(), was);
    }
}

pub(in crate::backend) async fn whole_messages_may_be_empty_or_large(cluster: Cluster) {
    let [publisher, listener] = cluster.nodes().await;
    let every_byte: Vec<u8> = (0..=255).cycle().take(64 << 10).collect();
    let large = fanfare_core::Limits::default().max_message;
    let payloads = [
        Payload::binary(vec![]),
        Payload::text(""),
        Payload::binary(every_byte),
        Payload::text("x".repeat(large)),
    ];
    for subject in Subject::both("t") {
        listener.subscribe(&subject).await;
        for payload in &payloads {
            let parts = MessageParts::new(subject.name.clone(), payload.clone());
            let accepted = publisher.within("publish", publisher.hand_over(&subject, parts)).await;
            accepted.unwrap_or_else(|error| panic!("{} bytes are not accepted: {error:?}", payload.len()));
        }
        listener
            .until("all payloads have to arrive", |seen| seen.new_of(&subject.name).len() >= payloads.len())
            .await;
        for (incoming, was) in listener.heard(&subject).iter().zip(&payloads) {
            assert!(incoming.message.payload == *was, "{} bytes have changed", was.len());
        }
        if subject.is_logged() {
            let page = publisher.read_all(&subject).await;
            let stored: Vec<_> = page.messages.iter().map(|message| message.payload().clone()).collect();
            assert!(stored == payloads, "a payload has changed in the log");
        }
    }
}

pub(in crate::backend) async fn also_topics_travel_as_one_message(cluster: Cluster) {
    let [publisher, first, second, pattern, nobody] = cluster.nodes().await;
    let [one, two, three] = ["also.one", "also.two", "also.three"].map(Subject::ephemeral);
    first.subscribe(&one).await;
    second.subscribe(&three).await;
    pattern.want(&crate::backend::subject::pattern("also.>")).await;
    nobody.subscribe(&Subject::ephemeral("also.four")).await;

    let parts = MessageParts::new(one.name.clone(), "to three");
    let also: Vec<_> = [&two, &three].map(|s| (s.name.clone(), publisher.next_origin(&s.name))).into();
    let outgoing = publisher.outgoing(&one, parts).with_also(also.clone());
    let all: Vec<_> = std::iter::once((one.name.clone(), outgoing.origin)).chain(also).collect();
    let accepted = publisher.within("publish", publisher.backend.publish(outgoing)).await;
    accepted.unwrap_or_else(|error| panic!("a message to several topics is not accepted: {error:?}"));

    for node in [&first, &second, &pattern] {
        node.until("the message has to arrive", |seen| !seen.messages.is_empty()).await;
    }
    cluster.settle(&[&publisher], &[&first, &second, &pattern, &nobody]).await;
    for (node, most) in [(&first, 1), (&second, 1), (&pattern, 3), (&nobody, 0)] {
        let copies: Vec<_> = node.record.seen(|seen| {
            let is_it = |topic: &fanfare_core::topic::TopicName| topic.as_str().starts_with("also.");
            seen.messages.iter().filter(|incoming| is_it(&incoming.message.topic)).cloned().collect()
        });
        assert!(copies.len() <= most, "{} copies", copies.len());
        for copy in copies {
            let Some(origin) = copy.origin else { panic!("an ephemeral message has no origin") };
            let mut named: Vec<_> = std::iter::once((copy.message.topic, origin)).chain(copy.also).collect();
            named.sort_by_key(|(name, _)| all.iter().position(|(n, _)| n == name));
            assert_eq!(named, all, "topics and origins");
            assert_eq!(copy.message.payload.as_str(), Some("to three"));
        }
    }
}
