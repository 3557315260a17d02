//! A client as a test sees it.

use std::{fmt, sync::Arc, time::Duration};

use fanfare_core::message::Payload;
use serde_json::{Value, json};
use tokio::{sync::mpsc, time::timeout};

use super::connection::{Answer, Connection, Door, Shared};
use crate::transport::{Event, Refused};

/// How long something may take to come; under paused time nothing takes long.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a client listens to be sure that nothing comes.
const SILENCE: Duration = Duration::from_secs(1);

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
    name: String,
    last_id: u64,
}

/// A message that a client got.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Received {
    /// Its topic.
    pub topic: String,
    /// Its payload, of the kind that it was published with.
    pub payload: Payload,
}

impl Received {
    /// The payload as text: what was published as text, or the JSON as it is written.
    ///
    /// # Panics
    ///
    /// When it is binary and no UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        self.payload.as_str().unwrap_or_else(|| panic!("the payload is no text: {self:?}"))
    }
}

impl TestClient {
    pub(super) async fn connect(door: Door, token: Option<String>) -> Result<Self, Refused> {
        let (keep, events) = mpsc::channel(KEPT);
        let shared = Shared::new(keep);
        let (topics, name) = (Vec::new(), String::new());
        let mut client = Self { door, token, shared, events, connection: None, topics, name, last_id: 0 };
        client.enter().await?;
        Ok(client)
    }

    async fn enter(&mut self) -> Result<(), Refused> {
        self.connection = None;
        let connection = Connection::open(&self.door, self.token.as_deref(), self.shared.clone());
        let connection = timeout(PATIENCE, connection).await;
        self.connection = Some(connection.unwrap_or_else(|_| panic!("the handshake is not answered"))?);
        match self.command("connect", json!({})).await {
            Some(Ok(ok)) => {
                self.name = ok["client"].as_str().unwrap_or_default().to_owned();
                Ok(())
            }
            Some(Err(error)) => Err(Refused(error["code"].to_string())),
            None => match self.events.recv().await {
                Some(Event::Closed { name, .. }) => Err(Refused(name)),
                other => Err(Refused(format!("{other:?}"))),
            },
        }
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

    /// Subscribes to a topic or a pattern.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn subscribe(&mut self, topic: &str) {
        if let Err(error) = self.try_subscribe(topic).await {
            panic!("subscribing to {topic} is refused: {error}");
        }
    }

    /// The same where it may be refused.
    ///
    /// # Errors
    ///
    /// The error of the wire format: `code`, `message`, ...
    pub async fn try_subscribe(&mut self, topic: &str) -> Result<(), Value> {
        let mut body = json!({ "topic": topic });
        if let Some(after) = self.shared.v1.lock().cursor(topic) {
            body["after"] = after.into();
        }
        let ok = self.answered("subscribe", body).await?;
        self.shared.v1.lock().subscribed(topic, &ok);
        if !self.topics.iter().any(|known| known == topic) {
            self.topics.push(topic.to_owned());
        }
        Ok(())
    }

    /// Leaves a topic or a pattern, as it was subscribed.
    ///
    /// # Panics
    ///
    /// When it was not subscribed.
    pub async fn unsubscribe(&mut self, topic: &str) {
        if let Err(error) = self.answered("unsubscribe", json!({ "topic": topic })).await {
            panic!("unsubscribing from {topic} is refused: {error}");
        }
        self.topics.retain(|known| known != topic);
    }

    /// Publishes a text.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn publish(&mut self, topic: &str, text: &str) {
        if let Err(error) = self.try_publish(json!({ "topic": topic, "text": true, "data": text })).await {
            panic!("publishing to {topic} is refused: {error}");
        }
    }

    /// Publishes a value as JSON.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn publish_json(&mut self, topic: &str, value: impl Into<Value>) {
        if let Err(error) = self.try_publish(json!({ "topic": topic, "data": value.into() })).await {
            panic!("publishing to {topic} is refused: {error}");
        }
    }

    /// Publishes as the body of the command says: `topic`, `data`, `event`, `message_id`, ... Ready with what it was answered.
    ///
    /// # Errors
    ///
    /// The error of the wire format: `code`, `message`, ...
    pub async fn try_publish(&mut self, body: Value) -> Result<Value, Value> {
        self.answered("publish", body).await
    }

    /// The next event.
    ///
    /// # Panics
    ///
    /// When none comes.
    pub async fn next(&mut self) -> Event {
        match timeout(PATIENCE, self.events.recv()).await {
            Ok(Some(event)) => event,
            _ => panic!("nothing comes"),
        }
    }

    /// The next message. What says that a topic is live is passed over.
    ///
    /// # Panics
    ///
    /// When something else comes, a gap for example, or nothing.
    pub async fn message(&mut self) -> Received {
        match self.next_but_live().await {
            Event::Message { topic, payload } => Received { topic, payload },
            other => panic!("no message: {other:?}"),
        }
    }

    /// The next event, which has to be a gap: how many messages are missing, if that is known.
    ///
    /// # Panics
    ///
    /// When something else comes, or nothing.
    pub async fn gap(&mut self) -> Option<u64> {
        match self.next_but_live().await {
            Event::Gap { missed, .. } => missed,
            other => panic!("no gap: {other:?}"),
        }
    }

    /// The next event, which has to be the end of the connection: the name of its close code, such as `draining`;
    /// `lost` where it broke without a word.
    ///
    /// # Panics
    ///
    /// When something else comes, or nothing.
    pub async fn closed(&mut self) -> String {
        match self.next_but_live().await {
            Event::Closed { name, .. } => name,
            other => panic!("not closed: {other:?}"),
        }
    }

    /// Makes sure that nothing comes for a second. Under paused time that takes none.
    ///
    /// # Panics
    ///
    /// When something comes.
    pub async fn nothing(&mut self) {
        loop {
            match timeout(SILENCE, self.events.recv()).await {
                Err(_) => return,
                Ok(Some(Event::Live { .. })) => {}
                Ok(other) => panic!("something comes: {other:?}"),
            }
        }
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

    /// Connects again, and subscribes to all that it was subscribed to, each from where it stopped.
    ///
    /// # Panics
    ///
    /// When it is not let in, or a subscription is refused.
    pub async fn reconnect(&mut self) {
        self.start_reading();
        self.enter().await.unwrap_or_else(|error| panic!("{error}"));
        for topic in self.topics.clone() {
            self.subscribe(&topic).await;
        }
    }

    async fn next_but_live(&mut self) -> Event {
        loop {
            match self.next().await {
                Event::Live { .. } => {}
                event => return event,
            }
        }
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
