//! The connection to the hub, which comes back by itself.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use fanfare_core::backend::{
    BackendError, BackendErrorKind, BackendState, Incoming, Ingress, NodeId, envelope::Envelope,
};
use futures_util::{FutureExt, SinkExt, StreamExt, future::BoxFuture};
use parking_lot::Mutex;
use tokio::{
    net::TcpStream,
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    hub::BEAT,
    wire::{self, Answer, Frames, Hello, Request, Told},
};

/// How long connecting may take, and how long the hub may be silent.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest pause between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// How many requests wait to be sent at most, and how many messages wait for the node.
const QUEUE: usize = 10_000;

pub(crate) struct Link {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Asked>,
    tasks: Mutex<JoinSet<()>>,
}

struct Shared {
    hub: SocketAddr,
    hello: (String, NodeId),
    is_up: AtomicBool,
    /// Questions that wait for their answers, and how many there are, those not sent yet included.
    pending: Mutex<HashMap<u64, Reply>>,
    open: watch::Sender<usize>,
    next: AtomicU64,
    /// Something was lost behind what waits for the node.
    lost: AtomicBool,
}

type Asked = (Request, Reply);
type Reply = oneshot::Sender<Result<Answer, BackendError>>;

pub(crate) fn away() -> BackendError {
    BackendError::new(BackendErrorKind::Unavailable, "hub", "the hub cannot be reached, or is behind")
}

pub(crate) fn unknown() -> BackendError {
    BackendError::new(
        BackendErrorKind::OutcomeUnknown,
        "hub",
        "the connection to the hub broke before it answered",
    )
}

impl Link {
    pub(crate) async fn start(
        hub: SocketAddr,
        cluster: String,
        ingress: Ingress,
    ) -> Result<Self, BackendError> {
        let shared = Arc::new(Shared {
            hub,
            hello: (cluster, ingress.node()),
            is_up: AtomicBool::new(true),
            pending: Mutex::default(),
            open: watch::Sender::new(0),
            next: AtomicU64::new(0),
            lost: AtomicBool::new(false),
        });
        let frames = shared.connect().await.ok_or_else(away)?;
        let (requests, asked) = mpsc::channel(QUEUE);
        let (arrive, arrived) = mpsc::channel(QUEUE);
        let mut tasks = JoinSet::new();
        tasks.spawn(shared.clone().deliver(arrived, ingress.clone()));
        tasks.spawn(shared.clone().run(frames, asked, arrive, ingress));
        Ok(Self { shared, requests, tasks: Mutex::new(tasks) })
    }

    /// Hands a request over; the future waits for the answer.
    pub(crate) fn ask(&self, request: Request) -> BoxFuture<'static, Result<Answer, BackendError>> {
        let (reply, replied) = oneshot::channel();
        let is_up = self.shared.is_up.load(Ordering::SeqCst);
        self.shared.open.send_modify(|open| *open += 1);
        if !is_up || self.requests.try_send((request, reply)).is_err() {
            self.shared.close(1);
            return std::future::ready(Err(away())).boxed();
        }
        async move { replied.await.unwrap_or_else(|_| Err(unknown())) }.boxed()
    }

    /// Ready when all that was asked has been answered.
    pub(crate) async fn settled(&self) {
        let _ = self.shared.open.subscribe().wait_for(|open| *open == 0).await;
    }

    pub(crate) async fn end(&self) {
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("is_up", &self.shared.is_up).finish_non_exhaustive()
    }
}

impl Shared {
    /// Connects, and waits for the hub's first word.
    async fn connect(&self) -> Option<Frames> {
        let connecting = async {
            let mut frames = wire::frames(TcpStream::connect(self.hub).await.ok()?);
            let (cluster, node) = &self.hello;
            frames.send(wire::write(&Hello(cluster.clone(), node.value())).ok()?).await.ok()?;
            let first = frames.next().await?.ok()?;
            matches!(wire::read(&first), Ok(Told::Beat)).then_some(frames)
        };
        timeout(PATIENCE, connecting).await.ok().flatten()
    }

    /// Serves one connection after the other.
    async fn run(
        self: Arc<Self>,
        mut frames: Frames,
        mut asked: mpsc::Receiver<Asked>,
        arrive: mpsc::Sender<Option<Incoming>>,
        ingress: Ingress,
    ) {
        loop {
            let (sink, stream) = frames.split();
            tokio::select! {
                () = self.write(sink, &mut asked) => {}
                () = self.read(stream, &arrive, &ingress) => {}
            }
            self.is_up.store(false, Ordering::SeqCst);
            ingress.state(BackendState::Down);
            // What was sent may have been done; what was not sent was not.
            let sent = std::mem::take(&mut *self.pending.lock());
            self.close(sent.len());
            drop(sent);
            while let Ok((_, reply)) = asked.try_recv() {
                self.close(1);
                let _ = reply.send(Err(away()));
            }
            frames = loop {
                sleep(PAUSE.mul_f64(fastrand::f64())).await;
                if let Some(frames) = self.connect().await {
                    break frames;
                }
            };
            self.is_up.store(true, Ordering::SeqCst);
            ingress.state(BackendState::Up);
        }
    }

    async fn write(
        &self,
        mut sink: impl futures_util::Sink<bytes::Bytes> + Unpin,
        asked: &mut mpsc::Receiver<Asked>,
    ) {
        while let Some((request, reply)) = asked.recv().await {
            let number = self.next.fetch_add(1, Ordering::SeqCst);
            self.pending.lock().insert(number, reply);
            let Ok(frame) = wire::write(&(number, request)) else { return };
            if sink.send(frame).await.is_err() {
                return;
            }
        }
    }

    async fn read(
        &self,
        mut stream: impl futures_util::Stream<Item = std::io::Result<bytes::BytesMut>> + Unpin,
        arrive: &mpsc::Sender<Option<Incoming>>,
        ingress: &Ingress,
    ) {
        debug_assert!(PATIENCE > 2 * BEAT);
        while let Ok(Some(Ok(frame))) = timeout(PATIENCE, stream.next()).await {
            let arrived = match wire::read(&frame) {
                Ok(Told::Message(bytes)) => Envelope::decode(bytes.into()).ok().map(Envelope::into_incoming),
                Ok(Told::Answer(number, answer)) => {
                    if let Some(reply) = self.pending.lock().remove(&number) {
                        self.close(1);
                        let refused = |message| BackendError::new(BackendErrorKind::Refused, "hub", message);
                        let _ = reply.send(answer.map_err(refused));
                    }
                    continue;
                }
                Ok(Told::Control(from, frame)) => {
                    ingress.control(NodeId::new(from), frame.into());
                    continue;
                }
                Ok(Told::Beat) => continue,
                // What cannot be read is a loss.
                Ok(Told::Lost) | Err(_) => None,
            };
            if arrive.try_send(arrived).is_err() {
                self.lost.store(true, Ordering::SeqCst);
            }
        }
    }

    /// Gives what has arrived to the node, which may take its time. `None` is a loss.
    async fn deliver(self: Arc<Self>, mut arrived: mpsc::Receiver<Option<Incoming>>, ingress: Ingress) {
        while let Some(next) = arrived.recv().await {
            match next {
                Some(incoming) => ingress.deliver(incoming).await,
                None => ingress.lost(None),
            }
            if arrived.is_empty() && self.lost.swap(false, Ordering::SeqCst) {
                ingress.lost(None);
            }
        }
    }

    fn close(&self, answered: usize) {
        self.open.send_modify(|open| *open -= answered);
    }
}
