//! What the core makes of a backend elsewhere: one that is slow, fails, hangs, goes away and comes back.

mod agreement;
mod health;
mod ingress;
mod late;
mod lifecycle;
mod patterns;
mod reports;
mod settling;
mod storms;
mod timeouts;

use std::{sync::Arc, time::Duration};

use fanfare_core::{
    BrokerBuilder,
    backend::memory::MemoryHub,
    topic::{TopicConfig, TopicName},
};

use crate::support::{Faulty, Handle, Node};

/// Longer than any pause between two attempts.
const SOON: Duration = Duration::from_secs(1);

/// Two nodes of a hub; the first one's backend does as it is told.
struct Two {
    hub: MemoryHub,
    faulty: Arc<Faulty>,
    here: Node,
    there: Node,
}

impl Two {
    async fn start() -> Self {
        Self::with(|broker| broker).await
    }

    async fn with(set: impl Fn(BrokerBuilder) -> BrokerBuilder) -> Self {
        let hub = MemoryHub::new();
        let faulty = Faulty::of(&hub);
        let logged = |broker: BrokerBuilder| set(broker.topic("log.>", TopicConfig::new().history(100)));
        let here = Node::start(|broker| logged(broker).backend(Handle(faulty.clone()))).await;
        let there = Node::start(|broker| logged(broker).backend(hub.node())).await;
        Self { hub, faulty, here, there }
    }

    fn forget(&self, topic: &str) {
        self.hub.forget(&TopicName::new(topic).unwrap());
    }
}

async fn soon() {
    tokio::time::sleep(SOON).await;
}
