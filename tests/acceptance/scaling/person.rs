//! Somebody who types and reads, through a client that comes back as PROTOCOL.md says.

use std::{collections::BTreeSet, time::Duration};

use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_tungstenite::tungstenite::http::HeaderMap;

use crate::support::{Nginx, PATIENCE, WebSocket};

const TOPIC: &str = "chat.lobby";

/// How fast everybody types.
const TYPES_EVERY: Duration = Duration::from_millis(15);

/// How long a client waits before it tries again.
const PAUSE: Duration = Duration::from_millis(50);

/// Who hears this line has heard all before it.
const LAST_LINE: &str = "last";

pub(super) struct Person {
    name: &'static str,
    /// How many lines there are to type.
    lines: usize,
    /// How many of them were accepted, for who watches.
    accepted: watch::Sender<usize>,
    cursor: Option<String>,
    told: Told,
}

/// What somebody has heard, and has been told of their own lines.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) heard: Vec<Heard>,
    /// The positions of their own lines.
    pub(super) accepted: Vec<String>,
    /// Their own lines that were typed into a connection or a backend that did not answer.
    pub(super) unanswered: BTreeSet<String>,
    /// How often they came back.
    pub(super) returns: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Heard {
    Line { id: String, position: String },
    Gap { reason: String },
}

/// How a connection ended.
enum End {
    /// The last line was heard.
    Last,
    /// It broke, or the server said goodbye: with the time after which to come back.
    Lost(Duration),
}

impl Person {
    pub(super) fn new(name: &'static str, lines: usize) -> Self {
        Self { name, lines, accepted: watch::Sender::new(0), cursor: None, told: Told::default() }
    }

    pub(super) fn progress(&self) -> Progress {
        Progress(self.accepted.subscribe())
    }

    /// Types and reads until the last line.
    pub(super) async fn run(mut self, nginx: &Nginx) -> Told {
        loop {
            let mut socket = self.enter(nginx).await;
            match self.talk(&mut socket).await {
                End::Last => return self.told,
                End::Lost(pause) => sleep(pause).await,
            }
            self.told.returns += 1;
        }
    }

    /// Connects and subscribes in one command, from where the last connection stopped.
    async fn enter(&mut self, nginx: &Nginx) -> WebSocket {
        let entered = async {
            loop {
                if let Some(socket) = self.try_to_enter(nginx).await {
                    return socket;
                }
                sleep(PAUSE).await;
            }
        };
        timeout(PATIENCE, entered).await.expect("nobody lets the client in")
    }

    async fn try_to_enter(&mut self, nginx: &Nginx) -> Option<WebSocket> {
        let opened = WebSocket::secure(&nginx.address, &nginx.certificate, "127.0.0.1", HeaderMap::new());
        let mut socket = opened.await.ok()?;
        let from = match &self.cursor {
            Some(after) => json!({ "topic": TOPIC, "after": after }),
            // Whoever comes second has heard what the first has said.
            None => json!({ "topic": TOPIC, "last": 500 }),
        };
        let command = json!({ "id": 1, "connect": { "token": self.name, "subscribe": [from] } });
        if !socket.try_send(&command.to_string()).await {
            return None;
        }
        let reply = socket.next().await?;
        let position = reply["ok"]["subscribed"][0]["pos"].as_str()?;
        self.cursor = Some(position.to_owned());
        Some(socket)
    }

    async fn talk(&mut self, socket: &mut WebSocket) -> End {
        let mut keys = interval(TYPES_EVERY);
        keys.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // A line is typed when the one before it was answered.
        let mut waits = false;
        let mut pause = PAUSE;
        loop {
            tokio::select! {
                frame = socket.next() => {
                    let Some(frame) = frame else { break };
                    if let Some(retry) = frame["close"]["retry_ms"].as_u64() {
                        pause = Duration::from_millis(retry);
                    } else if frame.get("id").is_some() {
                        waits = false;
                        self.answered(&frame);
                    } else if self.hear(&frame) {
                        self.listen(socket).await;
                        return End::Last;
                    }
                }
                _ = keys.tick(), if !waits && self.told.accepted.len() < self.lines => {
                    waits = socket.try_send(&self.line()).await;
                    if !waits {
                        break;
                    }
                }
            }
        }
        if waits {
            self.told.unanswered.insert(self.id());
        }
        End::Lost(pause)
    }

    /// The line that is to be typed next. Typed again it has the same id.
    fn line(&self) -> String {
        let id = self.id();
        let data = json!({ "text": id });
        json!({ "id": 2, "publish": { "topic": TOPIC, "message_id": id, "data": data } }).to_string()
    }

    fn id(&self) -> String {
        format!("{} {}", self.name, self.told.accepted.len())
    }

    fn answered(&mut self, reply: &Value) {
        if let Some(ok) = reply.get("ok") {
            self.told.accepted.push(ok["pos"].as_str().unwrap().to_owned());
            self.accepted.send_replace(self.told.accepted.len());
        } else {
            assert_eq!(reply["error"]["retry"], true, "{reply}");
            self.told.unanswered.insert(self.id());
        }
    }

    /// True for the last line.
    fn hear(&mut self, frame: &Value) -> bool {
        // What is written to people, and not to the room, may have been lost with the server: nobody writes to anybody here.
        if frame["topic"] == "$direct" && frame["gap"]["reason"] == "backend" {
            return false;
        }
        assert_eq!(frame["topic"], TOPIC, "{frame}");
        if let Some(position) = frame["pos"].as_str() {
            self.cursor = Some(position.to_owned());
        }
        if let Some(gap) = frame.get("gap") {
            let reason = gap["reason"].as_str().unwrap().to_owned();
            self.told.heard.push(Heard::Gap { reason });
        }
        let Some(id) = frame["message_id"].as_str() else { return false };
        let (id, position) = (id.to_owned(), frame["pos"].as_str().unwrap().to_owned());
        let is_last = id == LAST_LINE;
        self.told.heard.push(Heard::Line { id, position });
        is_last
    }

    /// Nothing may come after the end.
    async fn listen(&mut self, socket: &mut WebSocket) {
        if let Ok(Some(frame)) = timeout(Duration::from_millis(300), socket.next()).await {
            assert_eq!(frame["live"], true, "{frame}");
        }
    }
}

impl Told {
    pub(super) fn lines(&self) -> Vec<&str> {
        self.heard.iter().filter(|heard| heard.position().is_some()).map(Heard::text).collect()
    }

    pub(super) fn gaps(&self) -> Vec<&str> {
        self.heard.iter().filter(|heard| heard.position().is_none()).map(Heard::text).collect()
    }
}

impl Heard {
    /// The line, or why there is a gap.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Line { id, .. } => id,
            Self::Gap { reason } => reason,
        }
    }

    pub(super) fn position(&self) -> Option<&str> {
        match self {
            Self::Line { position, .. } => Some(position),
            Self::Gap { .. } => None,
        }
    }
}

/// How many lines of somebody's were accepted.
pub(super) struct Progress(watch::Receiver<usize>);

impl Progress {
    pub(super) async fn until(&mut self, lines: usize) {
        let reached = timeout(PATIENCE, self.0.wait_for(|accepted| *accepted >= lines)).await;
        reached.unwrap_or_else(|_| panic!("{lines} lines are not accepted")).unwrap();
    }
}

/// Says the line after which there is none.
pub(super) async fn say_the_last_line(nginx: &Nginx) {
    let opened = WebSocket::secure(&nginx.address, &nginx.certificate, "127.0.0.1", HeaderMap::new());
    let mut socket = opened.await.unwrap();
    let publish = json!({ "topic": TOPIC, "message_id": LAST_LINE, "data": {} });
    socket.ask(&json!({ "id": 1, "connect": { "token": "the last" } }).to_string()).await;
    let reply = socket.ask(&json!({ "id": 2, "publish": publish }).to_string()).await;
    assert!(reply.get("ok").is_some(), "{reply}");
}
