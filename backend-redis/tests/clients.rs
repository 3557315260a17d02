//! What an app does to the clients of two nodes, through a real server.

mod support;

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use fanfare_core::{
    Broker,
    message::{Encoder, Format, Frame},
    policy::Open,
    session::{ClientId, CloseKind, CloseReason, Handshake, SubscribeCommand},
};
use fanfare_redis::{RedisBackend, RedisBuilder};
use fanfare_testkit::server::Program;
use support::{PASSWORD, PATIENCE, Setup, built, url_of};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

/// Short, so that a node that is silent is away soon: after 700 ms and a second.
const HEARTBEAT: Duration = Duration::from_millis(200);
const BOUND: Duration = Duration::from_millis(1600);

/// What a client is told, in words.
struct Words;

impl Encoder for Words {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        let word = match frame {
            Frame::Subscribed { topic, .. } => format!("subscribed {topic}"),
            Frame::Unsubscribed { topic, code, .. } => format!("unsubscribed {topic} {code}"),
            Frame::Message(message) => {
                format!("{} {}", message.topic(), message.payload().as_str().unwrap_or(""))
            }
            _ => return,
        };
        out.extend_from_slice(word.as_bytes());
    }
}

struct Node {
    broker: Broker,
    format: Format,
}

struct Client {
    id: ClientId,
    /// All that it was told, once its connection is over.
    told: JoinHandle<(Vec<String>, CloseReason)>,
}

impl Node {
    async fn start(builder: RedisBuilder) -> Self {
        let broker = Broker::builder().policy(Open).heartbeat(HEARTBEAT).backend(built(builder));
        let broker = broker.start().await.expect("a broker");
        let format = broker.register(Arc::new(Words)).expect("a format");
        Self { broker, format }
    }

    async fn client(&self, topic: &str) -> Client {
        let connected = self.broker.connect(Handshake::new("test"), &self.format).await;
        let (mut session, outbox) = connected.expect("it is let in");
        session.subscribe(SubscribeCommand::live(topic)).await.expect("it is subscribed");
        let id = outbox.client();
        let told = tokio::spawn(async move {
            let mut told = Vec::new();
            loop {
                let mut frames: Vec<Bytes> = Vec::new();
                let over = poll_fn(|cx| outbox.poll_pull(cx, 1, &mut frames)).await;
                told.extend(frames.iter().map(|frame| String::from_utf8_lossy(frame).into_owned()));
                if let Some(reason) = over {
                    session.close(reason.clone()).await;
                    return (told, reason);
                }
            }
        });
        Client { id, told }
    }

    /// Waits until so many others are known.
    async fn knows(&self, others: usize) {
        let known = async {
            while self.broker.nodes().len() != others {
                sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, known).await.expect("the others are known");
    }

    async fn members(&self, topic: &str) -> (Vec<ClientId>, usize, usize) {
        let members = self.broker.members(topic).await.expect("a name");
        let mut clients: Vec<_> = members.clients.iter().map(|member| member.client).collect();
        clients.sort();
        (clients, members.answered, members.asked)
    }
}

impl Client {
    async fn over(self) -> (Vec<String>, CloseReason) {
        timeout(PATIENCE, self.told).await.expect("its connection ends").expect("it reads")
    }
}

fn sorted(clients: &[&Client]) -> Vec<ClientId> {
    let mut ids: Vec<_> = clients.iter().map(|client| client.id).collect();
    ids.sort();
    ids
}

/// Two nodes, of which only the second one's connections go through the proxy.
async fn two(setup: &Setup) -> [Node; 2] {
    let direct = RedisBackend::builder(url_of(setup.server.addr(), PASSWORD, ""));
    let nodes = [Node::start(direct).await, Node::start(setup.builder()).await];
    for node in &nodes {
        node.knows(1).await;
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everyone_in_a_topic_is_listed_moved_and_closed_from_either_node() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let [one, two] = two(&setup).await;
    let (here, there) = (one.client("lobby").await, two.client("lobby").await);
    let elsewhere = two.client("cellar").await;
    for node in [&one, &two] {
        assert_eq!(node.members("lobby").await, (sorted(&[&here, &there]), 2, 2));
        assert_eq!(node.members("cellar").await, (vec![elsewhere.id], 2, 2));
    }
    let moved = one.broker.clients().topic("lobby").move_to("lobby", "garden").await.expect("names");
    assert_eq!((moved.clients, moved.changed, moved.failed, moved.answered, moved.asked), (2, 2, 0, 2, 2));
    for node in [&one, &two] {
        assert_eq!(node.members("garden").await, (sorted(&[&here, &there]), 2, 2));
        assert_eq!(node.members("lobby").await, (vec![], 2, 2));
    }
    let closed = two.broker.clients().topic("garden").disconnect(CloseKind::Kicked).await.expect("a name");
    assert_eq!((closed.clients, closed.answered, closed.asked), (2, 2, 2));
    for client in [here, there] {
        let (told, reason) = client.over().await;
        assert_eq!(told[..2], ["subscribed garden", "unsubscribed lobby kicked"]);
        assert_eq!(reason.kind, CloseKind::Kicked);
    }
    assert_eq!(one.members("cellar").await, (vec![elsewhere.id], 2, 2), "nobody else was meant");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_longer_than_a_frame_comes_whole() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let [one, two] = two(&setup).await;
    let mut clients = Vec::new();
    for _ in 0..5000 {
        clients.push(two.client("hall").await);
    }
    let all: Vec<_> = clients.iter().collect();
    let (listed, answered, asked) = one.members("hall").await;
    assert!(listed == sorted(&all), "{} of {}", listed.len(), all.len());
    assert_eq!((answered, asked), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_falls_silent_is_away_within_the_bound_and_is_back_when_it_speaks() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let [one, two] = two(&setup).await;
    let (here, there) = (one.client("lobby").await, two.client("lobby").await);
    setup.proxy.blackhole();
    let silent = Instant::now();
    // Before it is known to be away it has not answered; after that it is not asked.
    let members = one.broker.clients().topic("lobby").within(Duration::from_millis(300)).list().await;
    let members = members.expect("a name");
    assert_eq!((members.clients.len(), members.answered, members.asked), (1, 1, 2));
    one.knows(0).await;
    assert!(silent.elapsed() >= BOUND - HEARTBEAT - Duration::from_millis(50), "{:?}", silent.elapsed());
    assert_eq!(one.members("lobby").await, (vec![here.id], 1, 1));
    setup.proxy.heal();
    one.knows(1).await;
    two.knows(1).await;
    assert_eq!(one.members("lobby").await, (sorted(&[&here, &there]), 2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_ends_is_away_at_once_and_its_successor_is_another() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let [one, two] = two(&setup).await;
    let before = one.broker.nodes();
    let ended = Instant::now();
    two.broker.drain(Duration::from_secs(5)).await;
    one.knows(0).await;
    eprintln!("known after {:?}", ended.elapsed());
    let two = Node::start(setup.builder()).await;
    one.knows(1).await;
    assert_eq!(one.broker.nodes(), [two.broker.node()]);
    assert_ne!(one.broker.nodes(), before);
}
