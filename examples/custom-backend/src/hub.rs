//! The server in the middle: what Redis or NATS is elsewhere.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use fanfare_core::{
    backend::{
        Arrivals, Backend, BackendState, Incoming, Ingress, NodeId, Origin, Outgoing,
        memory::{HubNode, MemoryHub},
    },
    message::Message,
    topic::TopicName,
};
use futures_util::{SinkExt, StreamExt};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::mpsc, task::JoinSet, time::Instant};

use crate::wire::{self, Answer, Frames, Hello, Request, Told};

/// How often a silent hub says that it is there.
pub(crate) const BEAT: Duration = Duration::from_secs(2);

/// Clusters by name, each with its logs and its nodes, in memory.
#[derive(Clone, Debug, Default)]
pub struct Hub {
    clusters: Arc<Mutex<HashMap<String, MemoryHub>>>,
}

impl Hub {
    /// A hub without clusters.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses the log of a topic, as a restart would.
    pub fn forget(&self, cluster: &str, topic: &TopicName) {
        self.cluster(cluster).forget(topic);
    }

    /// Serves nodes, until the future is dropped.
    pub async fn serve(self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                Ok((stream, _)) = listener.accept() => {
                    connections.spawn(self.clone().connection(wire::frames(stream)));
                }
                Some(_) = connections.join_next() => {}
            }
        }
    }

    fn cluster(&self, name: &str) -> MemoryHub {
        self.clusters.lock().entry(name.to_owned()).or_default().clone()
    }

    async fn connection(self, mut frames: Frames) {
        let Some(Ok(hello)) = frames.next().await else { return };
        let Ok(Hello(cluster, node)) = wire::read(&hello) else { return };
        let backend = self.cluster(&cluster).node();
        let (tell, mut told) = mpsc::channel(256);
        let forward = Arc::new(Forward { tell: tell.clone(), lost: AtomicBool::new(false) });
        if backend.start(Ingress::to(NodeId::new(node), forward.clone())).await.is_err() {
            return;
        }
        let (mut sink, mut stream) = frames.split();
        let reading = async {
            while let Some(Ok(frame)) = stream.next().await {
                let Ok((number, request)) = wire::read(&frame) else { return };
                if tell.send(Told::Answer(number, answer(&backend, request).await)).await.is_err() {
                    return;
                }
            }
        };
        let writing = async {
            let mut beat = tokio::time::interval(BEAT);
            loop {
                let next = tokio::select! {
                    Some(next) = told.recv() => next,
                    _ = beat.tick() => Told::Beat,
                };
                let lost = forward.lost.swap(false, Ordering::SeqCst).then_some(Told::Lost);
                for told in [next].into_iter().chain(lost) {
                    let Ok(frame) = wire::write(&told) else { return };
                    if sink.send(frame).await.is_err() {
                        return;
                    }
                }
            }
        };
        tokio::select! {
            () = reading => {}
            () = writing => {}
        }
        backend.shutdown(Instant::now()).await;
    }
}

async fn answer(backend: &HubNode, request: Request) -> Result<Answer, String> {
    let malformed = || "malformed".to_owned();
    let answered = match request {
        Request::Publish(envelope, kept) => {
            let outgoing = wire::outgoing(envelope, kept).ok_or_else(malformed)?;
            backend.publish(outgoing).await.map(|accepted| Answer::accepted(&accepted))
        }
        Request::Subscribe(wanted) => {
            let interest = wanted.interest().ok_or_else(malformed)?;
            backend.subscribe(&interest).await.map(Answer::top)
        }
        Request::Unsubscribe(wanted) => {
            let interest = wanted.interest().ok_or_else(malformed)?;
            backend.unsubscribe(&interest).await.map(|()| Answer::Done)
        }
        Request::History(topic, query) => {
            let topic = TopicName::new(topic).map_err(|error| error.to_string())?;
            backend.history(&topic, query.query()).await.map(|page| Answer::page(&page, stored))
        }
        Request::Control(to, frame) => {
            backend.control(to.map(NodeId::new), frame.into()).await.map(|()| Answer::Done)
        }
    };
    answered.map_err(|error| error.to_string())
}

/// A message of the log; where it came from is not kept.
fn stored(message: &Message) -> Vec<u8> {
    let nobody = Origin { node: NodeId::new(0), stream: 0, seq: 0 };
    wire::envelope(&Outgoing::ephemeral(message.parts().clone(), nobody), message.place())
}

/// Passes on what the cluster brings to a node.
struct Forward {
    tell: mpsc::Sender<Told>,
    lost: AtomicBool,
}

#[async_trait]
impl Arrivals for Forward {
    async fn deliver(&self, incoming: Incoming) {
        let Some(origin) = incoming.origin else { return };
        let outgoing = Outgoing::ephemeral(incoming.message, origin).with_also(incoming.also);
        let _ = self.tell.send(Told::Message(wire::envelope(&outgoing, incoming.log))).await;
    }

    fn lost(&self, _: Option<&TopicName>) {
        self.lost.store(true, Ordering::SeqCst);
    }

    fn control(&self, from: NodeId, frame: Bytes) {
        let _ = self.tell.try_send(Told::Control(from.value(), frame.into()));
    }

    fn state(&self, _: BackendState) {}
}
