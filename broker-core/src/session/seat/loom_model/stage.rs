//! A broker with Ann's session, who takes it up, and what has to be so in the end.

use std::{
    fmt::Write,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use async_trait::async_trait;
use bytes::BytesMut;
use loom::future::block_on;
use tokio::{
    runtime::{self, Runtime},
    time::Instant,
};

use super::super::Seat;
use crate::{
    Broker,
    broker::Inner,
    message::{Encoder, Format, Frame},
    outbox::Outbox,
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{
        ClientId, CloseKind, Command, ConnectCommand, Handshake, Refusal, Reply, RequestId, Session,
        SubscribeCommand,
    },
    topic::TopicConfig,
};

/// The client whose session it is about.
pub(super) const ANN: ClientId = ClientId::new(1);

/// A broker whose own tasks stand still while the threads of the model run.
pub(super) struct Stage {
    broker: Broker,
    pub(super) runtime: Runtime,
}

impl Stage {
    pub(super) fn new() -> Self {
        let runtime = runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let logged = TopicConfig::new().history(16);
        let builder = Broker::builder().policy(Ann).shards(1).topic("log", logged);
        let broker = runtime.block_on(builder.start()).unwrap();
        Self { broker, runtime }
    }

    /// As [`Broker::connect`] lets one in, under a name that is the same in each run.
    fn connect(&self, client: ClientId) -> Client {
        let inner = self.broker.inner();
        let format = Format { index: 0, encoder: Arc::new(Words) };
        let outbox = Outbox::new(inner.outbox(client, 0, Some(format)));
        let seat = Seat::new(inner.clone(), outbox.clone(), 0, "model");
        let mut place = inner.registry.enter(None).unwrap();
        place.name(seat.clone());
        let session = Session::new(seat.clone(), place, Handshake::new("model"));
        Client { session: Some(session), outbox, seat }
    }

    /// Ann's first connection, with her secret. Something has been said to it that it has not read.
    pub(super) fn ann(&self) -> (Client, String) {
        let mut ann = self.connect(ANN);
        let subscribe = ["live", "log"].map(SubscribeCommand::live).to_vec();
        let connect = ConnectCommand { subscribe, ..with_token() };
        let session = ann.session.as_mut().unwrap();
        self.runtime.block_on(session.handle(RequestId::new(1), Command::Connect(connect))).unwrap();
        self.run();
        let said = ann.read();
        let (_, secret) = said.split_once("secret:").unwrap();
        let secret = secret.split_whitespace().next().unwrap().to_owned();
        self.say("1");
        (ann, secret)
    }

    /// The same, and the connection is lost.
    pub(super) fn absent_ann(&self) -> String {
        let (mut ann, secret) = self.ann();
        ann.lose();
        self.run();
        secret
    }

    /// Another connection, on its way to take Ann's session up.
    pub(super) fn heir(&self, number: u64, secret: &str) -> Heir {
        Heir { client: self.connect(ClientId::new(number)), secret: secret.to_owned() }
    }

    pub(super) fn inner(&self) -> Arc<Inner> {
        self.broker.inner().clone()
    }

    /// Has something said on both topics.
    fn say(&self, text: &'static str) {
        for topic in ["live", "log"] {
            self.runtime.block_on(self.broker.publish(topic, text).into_future()).unwrap();
        }
        self.run();
    }

    /// Lets the broker's own tasks do what there is to do.
    pub(super) fn run(&self) {
        self.runtime.block_on(async {
            for _ in 0..32 {
                tokio::task::yield_now().await;
            }
        });
    }

    pub(super) fn parked(&self) -> usize {
        let mut count = 0;
        self.inner().parking.retain(|parked| {
            count += usize::from(parked.client == ANN);
            true
        });
        count
    }

    /// Ann's session is with exactly one of these connections, all of it: nothing that was said is missing without a word, and what is said
    /// from now on comes there and nowhere else.
    pub(super) fn assert_one_has_it(&self, clients: &[Client]) {
        let having: Vec<_> = clients.iter().map(Client::has_session).collect();
        let said = self.hear(clients);
        assert_eq!(having.iter().filter(|has| **has).count(), 1, "{said:?}");
        assert_eq!(self.parked(), 0, "{said:?}");
        for (said, has) in said.iter().zip(having) {
            let words: Vec<_> = said.split_whitespace().collect();
            let count = |word| words.iter().filter(|said| **said == word).count();
            let heard = ["gap:live", "log=1", "log=2", "live=2", "resumed:true"].map(count);
            if has {
                assert_eq!(heard, [1; 5], "{said}");
                let at = |word| words.iter().position(|said| *said == word);
                assert!(at("gap:live") < at("live=2") && at("log=1") < at("log=2"), "{said}");
                assert!(self.inner().registry.seat(ANN).is_some());
            } else {
                assert_eq!(heard[2..4], [0, 0], "{said}");
                assert!(heard[4] == 0 || words.contains(&"close:Resumed"), "{said}");
            }
        }
    }

    /// Nobody has Ann's session, and nobody comes to it.
    pub(super) fn assert_nobody_has_it(&self, clients: &[Client], secret: &str) {
        assert_eq!(self.parked(), 0);
        let said = self.hear(clients);
        assert!(!clients.iter().any(Client::has_session), "{said:?}");
        assert!(!said.concat().contains("=2"), "{said:?}");
        let mut late = self.heir(9, secret).take_up();
        let said = late.read();
        assert!(said.contains("resumed:false"), "{said}");
        late.lose();
    }

    /// Something more is said, and what each has heard.
    fn hear(&self, clients: &[Client]) -> Vec<String> {
        let mut heard: Vec<_> = clients.iter().map(Client::read).collect();
        self.run();
        self.say("2");
        // What is read again from a log comes page by page.
        for _ in 0..3 {
            for (heard, client) in heard.iter_mut().zip(clients) {
                heard.push_str(&client.read());
            }
            self.run();
        }
        heard
    }

    /// All connections are lost, and nobody comes back in time: nothing of anything is kept.
    pub(super) fn end<const N: usize>(&self, clients: [Client; N]) {
        let seats = clients.map(|mut client| {
            client.lose();
            Arc::downgrade(&client.seat)
        });
        self.run();
        let inner = self.inner();
        let now = Instant::now();
        inner.sweep_parking(now + inner.limits.resume_within + Duration::from_secs(1));
        assert_eq!(inner.sweep_parking(now), None);
        inner.parking.retain(|parked| panic!("{parked:?} is kept"));
        assert_eq!(inner.registry.seats_of("ann").len(), 0);
        assert_eq!((inner.registry.len(), inner.registry.outboxes().len()), (0, 0));
        assert_eq!(self.broker.stats().subscriptions, 0);
        self.run();
        assert!(seats.iter().all(|seat| seat.upgrade().is_none()), "a seat is kept");
    }
}

/// A connection.
pub(super) struct Client {
    session: Option<Session>,
    outbox: Outbox,
    pub(super) seat: Arc<Seat>,
}

impl Client {
    /// What it is told, as far as it has come.
    pub(super) fn read(&self) -> String {
        let mut out = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(None) = self.outbox.poll_pull(&mut cx, 1 << 16, &mut out) {}
        String::from_utf8(out.concat()).unwrap()
    }

    pub(super) fn has_session(&self) -> bool {
        self.seat.client() == ANN && ["live", "log"].iter().all(|topic| self.seat.is_subscribed(topic))
    }

    pub(super) fn lose(&mut self) {
        if let Some(session) = self.session.take() {
            block_on(session.close(CloseKind::Lost.into()));
        }
    }
}

/// Who takes Ann's session up.
pub(super) struct Heir {
    client: Client,
    secret: String,
}

impl Heir {
    pub(super) fn take_up(mut self) -> Client {
        let connect = ConnectCommand { session: Some(self.secret), ..with_token() };
        if let Some(session) = &mut self.client.session
            && let Err(reason) = block_on(session.handle(RequestId::new(1), Command::Connect(connect)))
        {
            // As its transport does.
            block_on(self.client.session.take().unwrap().close(reason));
        }
        self.client
    }
}

fn with_token() -> ConnectCommand {
    ConnectCommand { token: Some("ann".to_owned()), ..ConnectCommand::default() }
}

/// Everybody is Ann who has a token.
struct Ann;

#[async_trait]
impl Policy for Ann {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        Ok(match handshake.token {
            Some(_) => Admission::Accept(Identity::user("ann")),
            None => Admission::AwaitConnect,
        })
    }

    fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
        Verdict::allow()
    }
}

/// Each frame is a word.
struct Words;

impl Encoder for Words {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        let written = match frame {
            Frame::Message(message) => {
                let text = message.payload().as_str().unwrap_or_default();
                write!(out, "{}={text} ", message.topic())
            }
            Frame::Gap { topic, .. } => write!(out, "gap:{topic} "),
            Frame::Reply { reply: Reply::Connected(connected), .. } => {
                let secret = connected.session.as_deref().unwrap_or_default();
                write!(out, "resumed:{} secret:{secret} ", connected.resumed)
            }
            Frame::Reply { reply: Reply::Error(error), .. } => write!(out, "error:{:?} ", error.code),
            Frame::Close(reason) => write!(out, "close:{:?} ", reason.kind),
            _ => Ok(()),
        };
        written.unwrap();
    }
}
