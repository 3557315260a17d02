//! What a backend says can be heard by others than brokers.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use fanfare_core::{
    backend::{
        Arrivals, Backend, BackendState, Incoming, Ingress, Interest, NodeId, Origin, Outgoing,
        memory::MemoryHub,
    },
    message::MessageParts,
    topic::TopicName,
};

use crate::support::{idle, name};

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Heard {
    fn note(&self, said: String) {
        self.0.lock().unwrap().push(said);
    }

    fn all(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[async_trait]
impl Arrivals for Heard {
    async fn deliver(&self, incoming: Incoming) {
        let text = incoming.message.payload.as_str().unwrap_or_default().to_owned();
        self.note(format!("{} {text}", incoming.message.topic));
    }

    fn lost(&self, topic: Option<&TopicName>) {
        self.note(format!("lost {topic:?}"));
    }

    fn control(&self, from: NodeId, frame: Bytes) {
        self.note(format!("control {} {frame:?}", from.value()));
    }

    fn state(&self, state: BackendState) {
        self.note(format!("{state:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_backend_says_can_be_heard_without_a_broker() {
    let hub = MemoryHub::new();
    let heard = Arc::new(Heard::default());
    let (here, there) = (hub.node(), hub.node());
    here.start(Ingress::to(NodeId::new(1), heard.clone())).await.unwrap();
    there.start(Ingress::to(NodeId::new(2), Arc::new(Heard::default()))).await.unwrap();
    here.subscribe(&Interest::Topic { name: name("t"), retention: None }).await.unwrap();
    let origin = Origin { node: NodeId::new(2), stream: 1, seq: 1 };
    there.publish(Outgoing::ephemeral(MessageParts::new(name("t"), "1"), origin)).await.unwrap();
    there.publish(Outgoing::ephemeral(MessageParts::new(name("u"), "2"), origin)).await.unwrap();
    there.control(None, Bytes::from_static(b"x")).await.unwrap();
    idle().await;
    assert_eq!(heard.all(), ["t 1", "control 2 b\"x\""]);
    here.set_connected(false);
    here.set_connected(true);
    assert_eq!(heard.all(), ["Down", "Up"]);
}
