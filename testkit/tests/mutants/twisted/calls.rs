//! The calls of a node, each as it should be but for its fault.

use std::{
    future::{pending, ready},
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use fanfare_core::{
    backend::{
        Accepted, Backend, BackendError, BackendErrorKind, Capabilities, HistoryQuery, Ingress, Interest,
        NodeId, Outgoing, Page,
    },
    message::Position,
    topic::{TopicName, TopicPattern},
};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::time::{Instant, sleep};

use super::{Node, same_epoch, unavailable};
use crate::{arrivals::Twist, fault::Fault, pages};

#[async_trait]
impl Backend for Node {
    fn capabilities(&self) -> Capabilities {
        self.hub.capabilities()
    }

    async fn start(&self, ingress: Ingress) -> Result<(), BackendError> {
        if self.fault == Fault::StartLeavesTask {
            tokio::spawn(pending::<()>());
            tokio::task::yield_now().await;
        }
        *self.ingress.lock() = Some(ingress.clone());
        let twist = Twist::new(self.fault, ingress.clone(), self.inside.clone());
        let to = Ingress::to(ingress.node(), Arc::new(twist));
        if self.fault == Fault::StartsLater {
            let hub = self.hub.clone();
            tokio::spawn(async move {
                sleep(Duration::from_millis(10)).await;
                hub.start(to).await
            });
            return Ok(());
        }
        self.world.connections.fetch_add(1, Ordering::SeqCst);
        self.hub.start(to).await?;
        if self.fault == Fault::DeliversUnwanted {
            self.hub.subscribe(&Interest::Pattern(TopicPattern::new(">").unwrap())).await?;
        }
        Ok(())
    }

    fn publish(&self, mut message: Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        self.alter(&mut message);
        self.world.published.lock().insert(message.message.topic.clone());
        let n = self.published.fetch_add(1, Ordering::SeqCst);
        let is_logged = message.retention.is_some();
        let hub = self.hub.clone();
        match self.fault {
            Fault::HangsWhileDown if self.is_down() => pending().boxed(),
            Fault::HandsOverWhenPolled => async move { hub.publish(message).await }.boxed(),
            Fault::OverfullIsRefused if n > 1000 => {
                ready(Err(BackendError::new(BackendErrorKind::Refused, "publish", "too much"))).boxed()
            }
            Fault::DropsAtShutdown => self.later(message),
            Fault::ReordersPublishes if n % 4 == 1 => self.later(message),
            Fault::AcknowledgesBeforeStoring if is_logged => self.acknowledge_early(message),
            Fault::IdsWithoutUsers => self.publish_with_ids(message),
            Fault::LiesAboutStoring if is_logged && n % 50 == 49 => {
                drop(hub.publish(message));
                ready(Err(unavailable("publish"))).boxed()
            }
            Fault::KeepsEpoch => {
                let accepted = hub.publish(message).now_or_never().unwrap();
                let same = |mut accepted: Accepted| {
                    accepted.position = accepted.position.map(same_epoch);
                    accepted
                };
                ready(accepted.map(same)).boxed()
            }
            _ => hub.publish(message),
        }
    }

    async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, BackendError> {
        self.hang().await;
        let was_there = self.note_interest(interest);
        if self.fault == Fault::SubscribesOnce && was_there {
            return Ok(None);
        }
        self.subscribe_twisted(interest).await
    }

    async fn unsubscribe(&self, interest: &Interest) -> Result<(), BackendError> {
        self.hang().await;
        let was_there = self.inside.interests.lock().contains(interest);
        self.inside.interests.lock().retain(|other| other != interest);
        if self.fault == Fault::UnsubscribeTwiceFails && !was_there {
            return Err(BackendError::new(BackendErrorKind::Refused, "unsubscribe", "nobody wants it"));
        }
        if let Interest::Topic { name, .. } = interest {
            self.inside.subscribes.lock().remove(name);
            if self.fault == Fault::ForgetsPatternsWithNames {
                let ever = self.inside.ever.lock().clone();
                let patterns =
                    ever.into_iter().filter(|i| matches!(i, Interest::Pattern(p) if p.matches(name)));
                for pattern in patterns {
                    self.hub.unsubscribe(&pattern).await?;
                }
            }
        }
        let asked = match interest {
            Interest::Pattern(pattern) => Interest::Pattern(self.twist_pattern(pattern)),
            topic => topic.clone(),
        };
        self.hub.unsubscribe(&asked).await
    }

    async fn history(&self, topic: &TopicName, query: HistoryQuery) -> Result<Page, BackendError> {
        self.hang().await;
        let _locked = match self.fault {
            Fault::LockedWhileDelivering => Some(self.inside.lock.lock().await),
            _ => None,
        };
        let query = match (self.fault, query) {
            (Fault::ReadsFromOffset, HistoryQuery::After { offset, limit }) => {
                HistoryQuery::After { offset: offset.saturating_sub(1), limit }
            }
            (Fault::ReadsToOffset, HistoryQuery::Before { offset: Some(offset), limit }) => {
                HistoryQuery::Before { offset: Some(offset + 1), limit }
            }
            (Fault::LatestOfTheHistory, HistoryQuery::Latest) => {
                let all = self.hub.history(topic, HistoryQuery::After { offset: 0, limit: 1000 }).await?;
                return Ok(pages::latest_of(all));
            }
            (_, query) => query,
        };
        let page = self.hub.history(topic, query).await?;
        if self.fault == Fault::StaleHistory {
            return Ok(self.inside.pages.lock().entry(topic.clone()).or_insert(page).clone());
        }
        pages::twist(self.fault, page, query)
    }

    fn control(&self, to: Option<NodeId>, frame: Bytes) -> BoxFuture<'static, Result<(), BackendError>> {
        match self.fault {
            Fault::HangsWhileDown if self.is_down() => pending().boxed(),
            Fault::ControlForAll => self.hub.control(None, frame),
            Fault::ControlEcho => {
                if let Some(ingress) = self.ingress() {
                    ingress.control(ingress.node(), frame.clone());
                }
                self.hub.control(to, frame)
            }
            _ => self.hub.control(to, frame),
        }
    }

    async fn shutdown(&self, by: Instant) {
        self.inside.ended.store(true, Ordering::SeqCst);
        match self.fault {
            Fault::NeverEnds => return,
            Fault::LeavesTask => drop(tokio::spawn(pending::<()>())),
            Fault::WaitsAtShutdown => {
                while self.is_down() {
                    sleep(Duration::from_secs(1)).await;
                }
            }
            Fault::ShutsEverybodyDown => {
                let nodes: Vec<_> = self.world.nodes.lock().iter().filter_map(Weak::upgrade).collect();
                for node in nodes {
                    node.hub.shutdown(by).await;
                }
            }
            _ => {}
        }
        if self.fault != Fault::LeavesConnection && self.ingress.lock().take().is_some() {
            self.world.connections.fetch_sub(1, Ordering::SeqCst);
        }
        self.hub.shutdown(by).await;
    }
}
