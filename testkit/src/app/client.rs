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
    /// Of these it is told who is there.
    watched: Vec<String>,
    name: String,
    /// With what it takes its session up.
    session: Option<String>,
    is_resumed: bool,
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

/// A call of the server.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Asked {
    /// What the answer has to name.
    pub id: String,
    /// The method.
    pub method: String,
    /// What the method is given.
    pub payload: Payload,
}

impl Asked {
    pub(super) fn answer(&self, result: Result<Value, Value>) -> Value {
        match result {
            Ok(data) => json!({ "call_id": self.id, "data": data }),
            Err(error) => json!({ "call_id": self.id, "error": error }),
        }
    }
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

    /// Brings a new token on the connection that it has. What was answered: `expires_ms`, where the token expires.
    ///
    /// # Errors
    ///
    /// The error of the wire format: `code`, `message`, ...
    pub async fn refresh(&mut self, token: &str) -> Result<Value, Value> {
        let answer = self.answered("refresh", json!({ "token": token })).await?;
        self.token = Some(token.to_owned());
        Ok(answer)
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
        if self.watched.iter().any(|watched| watched == topic) {
            body["presence"] = true.into();
        }
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

    /// Subscribes to a topic, and is told who is there: see [`presence`](Self::presence).
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn watch(&mut self, topic: &str) {
        if !self.watched.iter().any(|watched| watched == topic) {
            self.watched.push(topic.to_owned());
        }
        self.subscribe(topic).await;
    }

    /// The next event, which has to be one of presence: its topic, and what its frame says.
    ///
    /// # Panics
    ///
    /// When something else comes, or nothing.
    pub async fn presence(&mut self) -> (String, Value) {
        match self.next_but_live().await {
            Event::Presence { topic, said } => (topic, said),
            other => panic!("nothing of presence: {other:?}"),
        }
    }

    /// Asks who is there: the answer to `presence` with this body (`topic`, `limit`, `next`).
    ///
    /// # Errors
    ///
    /// The error of the wire format: `code`, `message`, ...
    pub async fn who_is_there(&mut self, body: Value) -> Result<Value, Value> {
        self.answered("presence", body).await
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
        self.watched.retain(|known| known != topic);
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

    /// Calls a method of the app with JSON: what it answered, a binary payload as a string of base64.
    ///
    /// # Panics
    ///
    /// When it is refused.
    pub async fn call(&mut self, method: &str, data: impl Into<Value>) -> Value {
        self.try_call(method, data)
            .await
            .unwrap_or_else(|error| panic!("calling {method} is refused: {error}"))
    }

    /// The same where it may be refused.
    ///
    /// # Errors
    ///
    /// The error of the wire format: `code`, `message`, ...
    pub async fn try_call(&mut self, method: &str, data: impl Into<Value>) -> Result<Value, Value> {
        let mut ok = self.answered("call", json!({ "method": method, "data": data.into() })).await?;
        let field = if ok.get("base64").is_some() { "base64" } else { "data" };
        Ok(ok[field].take())
    }

    /// From now on answers what the server calls, as soon as it comes and whatever the test does meanwhile. An error has a `code` and a
    /// `message`.
    pub fn serve(&self, answer: impl Fn(&Asked) -> Result<Value, Value> + Send + 'static) {
        *self.shared.serves.lock() = Some(Box::new(answer));
    }

    /// The next event, which has to be a call of the server: to be [answered](Self::answer), or not. Where the client
    /// [serves](Self::serve) calls, none comes here.
    ///
    /// # Panics
    ///
    /// When something else comes, or nothing.
    pub async fn asked(&mut self) -> Asked {
        match self.next_but_live().await {
            Event::Call { id, method, payload } => Asked { id, method, payload },
            other => panic!("no call: {other:?}"),
        }
    }

    /// Answers a call of the server.
    ///
    /// # Panics
    ///
    /// When the answer is refused.
    pub async fn answer(&mut self, asked: &Asked, result: Result<Value, Value>) {
        if let Err(error) = self.answered("answer", asked.answer(result)).await {
            panic!("the answer is refused: {error}");
        }
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

    /// The next event, which has to be a subscription that the server has made: its topic or pattern.
    ///
    /// # Panics
    ///
    /// When something else comes, or nothing.
    pub async fn subscribed_by_server(&mut self) -> String {
        match self.next_but_live().await {
            Event::Subscribed { topic } => topic,
            other => panic!("not subscribed: {other:?}"),
        }
    }

    /// The next event, which has to be the end of a subscription by the server: its topic or pattern, and the code, such as `revoked`.
    ///
    /// # Panics
    ///
    /// When something else comes, or nothing.
    pub async fn unsubscribed_by_server(&mut self) -> (String, String) {
        match self.next_but_live().await {
            Event::Unsubscribed { topic, code, .. } => {
                self.topics.retain(|known| *known != topic);
                (topic, code)
            }
            other => panic!("not unsubscribed: {other:?}"),
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
