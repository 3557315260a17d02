//! A client as a test sees it: its connection, which comes, breaks and comes again.

mod commands;
mod events;
mod received;

use std::{fmt, sync::Arc, time::Duration};

pub use received::{Asked, Received};
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use super::connection::{Answer, Connection, Door, Shared};
use crate::transport::{Event, Refused};

/// How long something may take to come; under paused time nothing takes long.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many events a client keeps that the test has not asked for; then it reads no further.
const KEPT: usize = 10_000;

/// A client of a [`TestBroker`](super::TestBroker). Dropped, its connection is cut.
///
/// It reads all the time, answers pings and keeps what comes until the test asks for it, unless it is told to
/// [stop reading](Self::stop_reading).
pub struct TestClient {
    door: Door,
    token: Option<String>,
    shared: Arc<Shared>,
    events: mpsc::Receiver<Event>,
    connection: Option<Connection>,
    topics: Vec<String>,
    /// Of these it is told who is there.
    watched: Vec<String>,
    name: String,
    /// With what it takes its session up.
    session: Option<String>,
    is_resumed: bool,
    last_id: u64,
}

impl TestClient {
    pub(super) async fn connect(door: Door, token: Option<String>) -> Result<Self, Refused> {
        let (keep, events) = mpsc::channel(KEPT);
        let shared = Shared::new(keep);
        let (topics, watched, name) = (Vec::new(), Vec::new(), String::new());
        let mut client = Self {
            door,
            token,
            shared,
            events,
            connection: None,
            topics,
            watched,
            name,
            session: None,
            is_resumed: false,
            last_id: 0,
        };
        client.enter().await?;
        Ok(client)
    }

    async fn enter(&mut self) -> Result<(), Refused> {
        self.connection = None;
        let connection = Connection::open(&self.door, self.token.as_deref(), self.shared.clone());
        let connection = timeout(PATIENCE, connection).await;
        self.connection = Some(connection.unwrap_or_else(|_| panic!("the handshake is not answered"))?);
        let body = self.wanted();
        match self.command("connect", body).await {
            Some(Ok(ok)) => {
                self.name = ok["client"].as_str().unwrap_or_default().to_owned();
                self.session = ok["session"].as_str().map(str::to_owned);
                self.is_resumed = ok["resumed"] == true;
                self.shared.v1.lock().resumed(&ok);
                for entry in ok["subscribed"].as_array().into_iter().flatten() {
                    let is_wanted = self.topics.iter().any(|topic| entry["topic"] == topic.as_str());
                    if is_wanted && let Some(error) = entry.get("error") {
                        return Err(Refused(format!("{}: {error}", entry["topic"])));
                    }
                }
                Ok(())
            }
            Some(Err(error)) => Err(Refused(error["code"].to_string())),
            None => match self.events.recv().await {
                Some(Event::Closed { name, .. }) => Err(Refused(name)),
                other => Err(Refused(format!("{other:?}"))),
            },
        }
    }

    /// What `connect` asks for: the session, and all that it was subscribed to, each from where it stopped.
    fn wanted(&self) -> Value {
        let mut body = json!({});
        if let Some(session) = &self.session {
            body["session"] = session.as_str().into();
        }
        let v1 = self.shared.v1.lock();
        let entry = |topic: &String| {
            let mut entry = json!({ "topic": topic });
            if let Some(after) = v1.cursor(topic) {
                entry["after"] = after.into();
            }
            if self.watched.contains(topic) {
                entry["presence"] = true.into();
            }
            entry
        };
        if !self.topics.is_empty() {
            body["subscribe"] = self.topics.iter().map(entry).collect();
        }
        body
    }

    /// Whether its connection has taken up the session of the one before: it has kept its name, and what the server subscribed it to.
    #[must_use]
    pub fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// The public name of its connection, as others see it in what it publishes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The address of its connection: what is published to it comes to this client alone.
    #[must_use]
    pub fn address(&self) -> String {
        format!("$client.{}", self.name)
    }

    /// Reads nothing more, as a client whose network is too slow: what is sent to it waits in the server.
    pub fn stop_reading(&self) {
        self.shared.reads.send_replace(false);
    }

    /// Reads again.
    pub fn start_reading(&self) {
        self.shared.reads.send_replace(true);
    }

    /// Cuts the connection without a word, as when a phone enters a tunnel. What has come before can still be asked for.
    pub fn cut(&mut self) {
        self.connection = None;
    }

    /// Connects again, takes its session up where the server has kept it ([`is_resumed`](Self::is_resumed)), and is subscribed to all that it was
    /// subscribed to, each from where it stopped. On an ephemeral topic a gap comes first where the session was taken up.
    ///
    /// # Panics
    ///
    /// When it is not let in, or a subscription is refused.
    pub async fn reconnect(&mut self) {
        self.start_reading();
        self.enter().await.unwrap_or_else(|error| panic!("{error}"));
    }

    /// The same without its session, as a client that was started anew: the server knows nothing of what it was.
    ///
    /// # Panics
    ///
    /// As [`reconnect`](Self::reconnect).
    pub async fn reconnect_as_new(&mut self) {
        self.session = None;
        self.reconnect().await;
    }

    /// From now on answers what the server calls, as soon as it comes and whatever the test does meanwhile. An error has a `code` and a
    /// `message`.
    pub fn serve(&self, answer: impl Fn(&Asked) -> Result<Value, Value> + Send + 'static) {
        *self.shared.serves.lock() = Some(Box::new(answer));
    }

    async fn answered(&mut self, method: &str, body: Value) -> Answer {
        self.command(method, body)
            .await
            .unwrap_or_else(|| panic!("the connection has ended, and {method} has no answer"))
    }

    async fn command(&mut self, method: &str, body: Value) -> Option<Answer> {
        self.last_id += 1;
        let id = self.last_id;
        let connection = self.connection.as_ref()?;
        let command = json!({ "id": id, method: body }).to_string();
        let answer = timeout(PATIENCE, connection.ask(id, command)).await;
        answer.unwrap_or_else(|_| panic!("{method} is not answered: does the client read?"))
    }
}

impl fmt::Debug for TestClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient")
            .field("name", &self.name)
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}
