//! Typed topics: the compiler checks both ends.

use fanfare_core::{
    message::InvalidPayload,
    publish::PublishError,
    subscription::Delivery,
    topic::{Codec, InvalidTopic, Topic, TopicName},
};

use crate::support::Node;

/// Even numbers, as text.
struct Even;

impl Codec<u32> for Even {
    fn encode(value: &u32) -> Result<fanfare_core::message::Payload, InvalidPayload> {
        match value % 2 {
            0 => Ok(fanfare_core::message::Payload::text(value.to_string())),
            _ => Err(InvalidPayload::Encode("it is odd".into())),
        }
    }

    fn decode(payload: &fanfare_core::message::Payload) -> Result<u32, InvalidPayload> {
        let text = payload.as_str().unwrap_or_default();
        text.parse().map_err(|error| InvalidPayload::Decode(Box::new(error)))
    }
}

struct Counter<'a>(&'a str);

impl Topic for Counter<'_> {
    type Payload = u32;
    type Codec = Even;

    fn name(&self) -> Result<TopicName, InvalidTopic> {
        TopicName::join(["counter", self.0])
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_goes_in_and_comes_out() {
    let node = Node::start(|broker| broker).await;
    let mut counter = node.broker.subscribe(&Counter("a b")).await.unwrap();
    node.broker.send(&Counter("a b"), &42).await.unwrap();
    node.broker.publish("counter.a%20b", "not a number").await.unwrap();
    let Some(Delivery::Message(message)) = counter.recv().await else { panic!("no message") };
    assert_eq!((message.value, message.topic().as_str()), (42, "counter.a%20b"));
    let Some(Delivery::Undecodable(raw, InvalidPayload::Decode(_))) = counter.recv().await else {
        panic!("it is no number")
    };
    assert_eq!(raw.payload().as_str(), Some("not a number"));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_encoded_is_not_published() {
    let node = Node::start(|broker| broker).await;
    let odd = node.broker.send(&Counter("a"), &1).await;
    assert!(matches!(odd, Err(PublishError::InvalidPayload(InvalidPayload::Encode(_)))), "{odd:?}");
    let unnamed = node.broker.send(&Counter(&"x".repeat(300)), &2).await;
    assert!(matches!(unnamed, Err(PublishError::InvalidTopic(_))), "{unnamed:?}");
    assert_eq!(node.broker.stats().published, 0);
}

#[cfg(feature = "json")]
#[tokio::test(start_paused = true)]
async fn json_goes_in_and_comes_out() {
    use fanfare_core::{message::PayloadKind, topic::Json};

    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Line {
        who: String,
        words: Vec<String>,
    }
    struct Room;
    impl Topic for Room {
        type Payload = Line;
        type Codec = Json;
        fn name(&self) -> Result<TopicName, InvalidTopic> {
            TopicName::new("room")
        }
    }
    let node = Node::start(|broker| broker).await;
    let mut room = node.broker.subscribe(&Room).await.unwrap();
    let line = Line { who: "ann".to_owned(), words: vec!["hello".to_owned()] };
    node.broker.send(&Room, &line).await.unwrap();
    node.broker.publish_json("room", &line).await.unwrap();
    node.broker.publish("room", "{}").await.unwrap();
    for _ in 0..2 {
        let Some(Delivery::Message(message)) = room.recv().await else { panic!("no message") };
        assert_eq!(message.value, line);
        assert_eq!(message.payload().kind(), PayloadKind::Json);
    }
    assert!(matches!(room.recv().await, Some(Delivery::Undecodable(_, InvalidPayload::Decode(_)))));
}
