//! One connection of a test client, over a pipe.

use std::{collections::HashMap, sync::Arc};

use fanfare_core::session::CloseKind;
use fanfare_ws::WebSocket;
use futures_util::{SinkExt, StreamExt};
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    io::DuplexStream,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

use super::Asked;
use crate::{
    transport::{Event, Refused},
    v1::{Frame, V1},
};

/// What a pipe holds in each direction, as a socket's buffers do: bytes.
const PIPE: usize = 64 << 10;

/// Where clients come in.
#[derive(Clone, Debug)]
pub(super) struct Door {
    websocket: WebSocket,
}

impl Door {
    pub(super) fn new(websocket: WebSocket) -> Self {
        Self { websocket }
    }

    async fn open(&self, token: Option<&str>) -> Result<WebSocketStream<DuplexStream>, Refused> {
        let (here, there) = tokio::io::duplex(PIPE);
        let service = TowerToHyperService::new(self.websocket.clone());
        let connection = http1::Builder::new().serve_connection(TokioIo::new(there), service);
        tokio::spawn(connection.with_upgrades());
        let mut request = http::Request::get("ws://localhost/ws")
            .header("host", "localhost")
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let request = request.body(()).map_err(|error| Refused(error.to_string()))?;
        let opened = client_async(request, here).await;
        opened.map(|(stream, _)| stream).map_err(|error| Refused(error.to_string()))
    }
}

pub(super) type Answer = Result<Value, Value>;

/// What the client and its connections share.
pub(super) struct Shared {
    pub(super) v1: Mutex<V1>,
    pending: Mutex<HashMap<u64, oneshot::Sender<Answer>>>,
    pub(super) reads: watch::Sender<bool>,
    events: mpsc::Sender<Event>,
    /// Answers what the server calls.
    pub(super) serves: Mutex<Option<Box<Serve>>>,
}

/// An answer, or the error in its place.
pub(super) type Serve = dyn Fn(&Asked) -> Result<Value, Value> + Send;

impl Shared {
    pub(super) fn new(events: mpsc::Sender<Event>) -> Arc<Self> {
        let reads = watch::Sender::new(true);
        Arc::new(Self {
            v1: Mutex::default(),
            pending: Mutex::default(),
            reads,
            events,
            serves: Mutex::default(),
        })
    }
}

impl Shared {
    /// The answer to a call of the server, where it is to be answered at once.
    fn served(&self, event: &Event) -> Option<String> {
        let Event::Call { id, method, payload } = event else { return None };
        let asked = Asked { id: id.clone(), method: method.clone(), payload: payload.clone() };
        let result = self.serves.lock().as_ref()?(&asked);
        Some(json!({ "answer": asked.answer(result) }).to_string())
    }
}

/// A connection in a task of its own, which reads also while the test does not look: as a browser does, and so pings are answered.
pub(super) struct Connection {
    commands: mpsc::Sender<String>,
    task: JoinHandle<()>,
    shared: Arc<Shared>,
}

impl Connection {
    pub(super) async fn open(door: &Door, token: Option<&str>, shared: Arc<Shared>) -> Result<Self, Refused> {
        let stream = door.open(token).await?;
        let (commands, wanted) = mpsc::channel(16);
        let task = tokio::spawn(run(stream, wanted, shared.clone()));
        Ok(Self { commands, task, shared })
    }

    /// Sends a command and waits for its answer; `None` when the connection has ended.
    pub(super) async fn ask(&self, id: u64, command: String) -> Option<Answer> {
        let (answer, answered) = oneshot::channel();
        self.shared.pending.lock().insert(id, answer);
        self.commands.send(command).await.ok()?;
        answered.await.ok()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
        self.shared.pending.lock().clear();
    }
}

async fn run(stream: WebSocketStream<DuplexStream>, mut wanted: mpsc::Receiver<String>, shared: Arc<Shared>) {
    let (mut sink, mut stream) = stream.split();
    let mut reads = shared.reads.subscribe();
    let mut is_told = false;
    loop {
        let is_reading = *reads.borrow_and_update();
        let next = async {
            // Room first, so that nothing is read that cannot be kept.
            let room = shared.events.reserve().await.ok()?;
            Some((room, stream.next().await?.ok()?))
        };
        tokio::select! {
            Some(command) = wanted.recv() => {
                if sink.send(Message::text(command)).await.is_err() {
                    break;
                }
            }
            next = next, if is_reading => {
                let Some((room, message)) = next else { break };
                let frame = match message {
                    Message::Text(text) => shared.v1.lock().read(&text),
                    Message::Binary(bytes) => shared.v1.lock().read_binary(&bytes),
                    _ => continue,
                };
                match frame {
                    Frame::Event(event) => {
                        let served = shared.served(&event);
                        if let Some(answer) = served {
                            if sink.send(Message::text(answer)).await.is_err() {
                                break;
                            }
                            continue;
                        }
                        is_told |= matches!(event, Event::Closed { .. });
                        room.send(event);
                    }
                    Frame::Reply { id, result } => {
                        let pending = id.and_then(|id| shared.pending.lock().remove(&id));
                        if let Some(answer) = pending {
                            let _ = answer.send(result);
                        }
                    }
                    Frame::Cursor => {}
                }
            }
            changed = reads.changed() => {
                if changed.is_err() {
                    break;
                }
            }
        }
    }
    if !is_told {
        let name = CloseKind::Lost.name().to_owned();
        let _ = shared.events.try_send(Event::Closed { name, retry_after: None });
    }
    shared.pending.lock().clear();
}
