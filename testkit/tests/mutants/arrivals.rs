//! What arrives at a node, twisted on its way.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use fanfare_core::{
    backend::{Arrivals, BackendState, Incoming, Ingress, NodeId},
    message::Payload,
    topic::TopicName,
};
use parking_lot::Mutex;

use crate::{fault::Fault, twisted::Inside};

/// Between a hub's node and whoever hears.
pub(crate) struct Twist {
    pub(crate) fault: Fault,
    pub(crate) to: Ingress,
    pub(crate) inside: Arc<Inside>,
    pub(crate) count: AtomicU64,
    pub(crate) held: Mutex<Option<Incoming>>,
    pub(crate) was_down: AtomicBool,
}

impl Twist {
    pub(crate) fn new(fault: Fault, to: Ingress, inside: Arc<Inside>) -> Self {
        let (count, held, was_down) = (AtomicU64::new(0), Mutex::default(), AtomicBool::new(false));
        Self { fault, to, inside, count, held, was_down }
    }

    fn twist(&self, incoming: &mut Incoming) {
        match self.fault {
            Fault::ForgetsExcept => incoming.message.except = None,
            Fault::ForgetsAlso => incoming.also.clear(),
            Fault::ForgetsLoggedOrigin if incoming.log.is_some() => incoming.origin = None,
            Fault::MakesText => {
                let text = String::from_utf8_lossy(incoming.message.payload.bytes()).into_owned();
                incoming.message.payload = Payload::text(text);
            }
            Fault::WrongPrev => {
                if let Some(log) = &mut incoming.log {
                    log.prev = log.prev.saturating_sub(1);
                }
            }
            Fault::KeepsEpoch => {
                if let Some(log) = &mut incoming.log {
                    log.position = crate::twisted::same_epoch(log.position);
                }
            }
            _ => {}
        }
    }

    fn is_dropped(&self, incoming: &Incoming) -> bool {
        let n = self.count.fetch_add(1, Ordering::SeqCst);
        let was_down = self.was_down.load(Ordering::SeqCst);
        let topic = incoming.message.topic.as_str();
        let is_own = incoming.origin.is_some_and(|origin| origin.node == self.to.node());
        match self.fault {
            Fault::Lossy => n % 10 == 7,
            Fault::EchoesNothing => is_own,
            Fault::DeafAfterReconnect => was_down,
            Fault::PartialAfterReconnect => was_down && topic.ends_with(".7"),
            Fault::PatternsOfKnownTopics => {
                !self.inside.wants(&incoming.message.topic) && !self.inside.knew(&incoming.message.topic)
            }
            _ => false,
        }
    }
}

#[async_trait]
impl Arrivals for Twist {
    async fn deliver(&self, mut incoming: Incoming) {
        if self.fault == Fault::TellsLossFirst && self.count.load(Ordering::SeqCst) == 0 {
            self.to.lost(None);
        }
        if self.is_dropped(&incoming) {
            return;
        }
        self.twist(&mut incoming);
        let is_own = incoming.origin.is_some_and(|origin| origin.node == self.to.node());
        let copies = match self.fault {
            Fault::Duplicates => 2,
            Fault::EchoesTwice if is_own => 2,
            Fault::CountsSubscribes => self.inside.subscribes(&incoming.message.topic).max(1),
            _ => 1,
        };
        if self.fault == Fault::Reorders {
            // One of five waits for three that come after it.
            let n = self.count.load(Ordering::SeqCst) % 5;
            if n == 1 {
                *self.held.lock() = Some(incoming);
                return;
            }
            self.to.deliver(incoming).await;
            let before = if n == 4 { self.held.lock().take() } else { None };
            if let Some(before) = before {
                self.to.deliver(before).await;
            }
            return;
        }
        if self.fault == Fault::MixesCase {
            let lower = incoming.message.topic.as_str().to_lowercase();
            if let Ok(name) = TopicName::new(lower)
                && name != incoming.message.topic
            {
                let mut other = incoming.clone();
                other.message.topic = name;
                self.to.deliver(other).await;
            }
        }
        if self.fault == Fault::GivesWhatHadBegun {
            let to = self.to.clone();
            // Dropped, it goes on.
            let _ = tokio::spawn(async move { to.deliver(incoming).await }).await;
            return;
        }
        if self.fault == Fault::DeliversConcurrently {
            let to = self.to.clone();
            tokio::spawn(async move { to.deliver(incoming).await });
            return;
        }
        let _locked = match self.fault {
            Fault::LockedWhileDelivering => Some(self.inside.lock.lock().await),
            _ => None,
        };
        for _ in 0..copies {
            self.to.deliver(incoming.clone()).await;
        }
    }

    fn lost(&self, topic: Option<&TopicName>) {
        if !matches!(self.fault, Fault::SwallowsLost | Fault::TellsLossFirst) {
            self.to.lost(topic);
        }
    }

    fn control(&self, from: NodeId, frame: Bytes) {
        let short =
            if self.fault == Fault::ShortControl { frame.slice(..frame.len().min(1000)) } else { frame };
        self.to.control(from, short);
    }

    fn state(&self, state: BackendState) {
        if state == BackendState::Up {
            self.was_down.store(true, Ordering::SeqCst);
        }
        if self.fault != Fault::SwallowsState {
            self.to.state(state);
        }
    }
}
