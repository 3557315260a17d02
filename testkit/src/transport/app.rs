//! A broker that is served, and clients of it.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use fanfare_core::{
    Broker, BrokerBuilder, Stats,
    message::Payload,
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{ClientId, Handshake, Refusal},
    topic::TopicConfig,
};
use parking_lot::Mutex;
use tokio::time::{Instant, sleep, timeout};

use super::{Client, Event, Harness, Refused, Wanted, run::Setup};

/// The token of a client whose admission ends soon.
pub(super) const BRIEF: &str = "brief";

/// How long it lasts.
const BRIEFLY: Duration = Duration::from_millis(500);

/// The token of a client that is not let in.
pub(super) const UNKNOWN: &str = "unknown";

/// A broker that is served. Topics `logged.*` retain 5,000 messages, `short.*` five; others are ephemeral.
pub(super) struct App {
    pub(super) broker: Broker,
    pub(super) harness: Arc<dyn Harness>,
    pub(super) patience: Duration,
    clients: Arc<Mutex<Vec<ClientId>>>,
}

impl App {
    pub(super) async fn start(setup: Setup) -> Self {
        Self::start_with(setup, |builder| builder).await
    }

    pub(super) async fn start_with(setup: Setup, set: impl FnOnce(BrokerBuilder) -> BrokerBuilder) -> Self {
        let clients = Arc::new(Mutex::new(Vec::new()));
        let connected = clients.clone();
        let logged = TopicConfig::new().history(5_000).history_bytes(64 << 20);
        let builder = Broker::builder()
            .policy(Tokens)
            .topic("logged.*", logged)
            .topic("short.*", TopicConfig::new().history(5))
            .on_connected(move |client| {
                connected.lock().push(client.id);
                std::future::ready(())
            });
        let broker = set(builder).start().await;
        let broker = broker.unwrap_or_else(|error| panic!("the broker does not start: {error}"));
        let harness = (setup.serve)(broker.clone()).await;
        Self { broker, harness, patience: setup.patience, clients }
    }

    pub(super) async fn connect(&self, wanted: &Wanted) -> Result<Listener, Refused> {
        let connected = timeout(self.patience, self.harness.connect(wanted)).await;
        let client = connected.unwrap_or_else(|_| panic!("connecting hangs: {wanted:?}"))?;
        Ok(Listener { client, patience: self.patience, got: Vec::new() })
    }

    pub(super) async fn client(&self, topics: &[&str]) -> Listener {
        self.client_for(&Wanted::topics(topics.iter().copied())).await
    }

    pub(super) async fn client_for(&self, wanted: &Wanted) -> Listener {
        self.connect(wanted).await.unwrap_or_else(|error| panic!("{wanted:?}: {error}"))
    }

    pub(super) async fn publish(&self, topic: &str, payload: impl Into<Payload>) {
        let published = timeout(self.patience, self.broker.publish(topic, payload).into_future()).await;
        let published = published.unwrap_or_else(|_| panic!("publishing to {topic} hangs"));
        published.unwrap_or_else(|error| panic!("publishing to {topic}: {error}"));
    }

    /// The names of the connections so far.
    pub(super) fn clients(&self) -> Vec<ClientId> {
        self.clients.lock().clone()
    }

    /// Waits until the broker's counts are as wanted.
    pub(super) async fn until(&self, what: &str, is: impl Fn(&Stats) -> bool) {
        let deadline = Instant::now() + self.patience;
        while !is(&self.broker.stats()) {
            assert!(Instant::now() < deadline, "{what}: {:?}", self.broker.stats());
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A client of the suite.
pub(super) struct Listener {
    client: Box<dyn Client>,
    patience: Duration,
    pub(super) got: Vec<Event>,
}

impl Listener {
    /// The next event; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let next = timeout(self.patience, self.client.next()).await;
        let event = next.unwrap_or_else(|_| {
            let last = self.got.last().map(short);
            panic!("nothing comes; there were {} events, the last {last:?}", self.got.len())
        });
        self.got.extend(event.clone());
        event
    }

    /// The next message's topic and text.
    pub(super) async fn message(&mut self) -> (String, String) {
        match self.next().await {
            Some(Event::Message { topic, payload }) => {
                (topic, payload.as_str().unwrap_or("(binary)").to_owned())
            }
            Some(other) => panic!("no message: {}", short(&other)),
            None => panic!("the connection has ended"),
        }
    }

    /// Reads until a message of this text has come.
    pub(super) async fn until_text(&mut self, text: &str) {
        loop {
            match self.next().await {
                Some(Event::Message { payload, .. }) if payload.as_str() == Some(text) => return,
                Some(_) => {}
                None => panic!("the connection has ended before {text:?} came"),
            }
        }
    }

    /// Reads to the end, and says why it has come.
    pub(super) async fn until_closed(&mut self) -> Option<Event> {
        let mut closed = None;
        while let Some(event) = self.next().await {
            if matches!(event, Event::Closed { .. }) {
                closed = Some(event);
            }
        }
        closed
    }

    pub(super) fn resume(&self) -> Option<String> {
        self.client.resume()
    }

    /// The texts of the messages so far.
    pub(super) fn texts(&self) -> Vec<&str> {
        self.got
            .iter()
            .filter_map(
                |event| if let Event::Message { payload, .. } = event { payload.as_str() } else { None },
            )
            .collect()
    }
}

/// An event without its payload, which may be long.
fn short(event: &Event) -> String {
    match event {
        Event::Message { topic, payload } => {
            let text = payload.as_str().unwrap_or("(binary)");
            format!("{:?} of {topic}, {} bytes", text.get(..20).unwrap_or(text), payload.len())
        }
        other => format!("{other:?}"),
    }
}

/// Lets everybody do everything, but for two tokens.
struct Tokens;

#[async_trait]
impl Policy for Tokens {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        match handshake.credential() {
            Some(UNKNOWN) => Err(Refusal::unauthenticated("nobody knows this token")),
            Some(BRIEF) => Ok(Admission::Accept(Identity::user("eve").expires_in(BRIEFLY))),
            _ => Ok(Admission::Accept(Identity::anonymous())),
        }
    }

    fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
        Verdict::allow()
    }
}
