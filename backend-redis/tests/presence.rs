//! Who is there, on nodes that have a real server between them: two that agree, one that is cut off, and a process that is killed.

mod support;

use std::{
    collections::BTreeSet,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use fanfare_core::{
    Broker,
    message::{Encoder, Format, Frame},
    outbox::Outbox,
    policy::Open,
    presence::{PresenceConfig, PresenceEvent, WatchPresence},
    session::{ClientId, CloseKind, Handshake, Session, SubscribeCommand},
    topic::TopicConfig,
};
use fanfare_redis::{RedisBackend, RedisBuilder};
use fanfare_testkit::server::Program;
use support::{PASSWORD, PATIENCE, Setup, built};
use tokio::time::{Instant, sleep, timeout};

/// Short, so that a node that is silent is away soon: after 600 ms and a second.
const HEARTBEAT: Duration = Duration::from_millis(200);
const ROOM: &str = "room.lobby";

/// In the environment of a process that is to be a node, and to be killed: the server's URL.
const URL: &str = "FANFARE_PRESENCE_NODE";

/// How many members such a process has.
const DOOMED: usize = 50;

/// Nobody reads here.
struct Silent;

impl Encoder for Silent {
    fn encode(&self, _: Frame<'_>, _: &mut BytesMut) {}
}

struct Node {
    broker: Broker,
    format: Format,
}

type Member = (Session, Outbox);

impl Node {
    async fn start(builder: RedisBuilder) -> Self {
        let rooms = TopicConfig::new().presence(PresenceConfig::new().grace(Duration::from_secs(1)));
        let broker = Broker::builder().policy(Open).topic("room.*", rooms).heartbeat(HEARTBEAT);
        let broker = broker.backend(built(builder)).start().await.expect("a broker");
        let format = broker.register(Arc::new(Silent)).expect("a format");
        Self { broker, format }
    }

    async fn member(&self) -> Member {
        let connected = self.broker.connect(Handshake::new("test"), &self.format).await;
        let (mut session, outbox) = connected.expect("it is let in");
        session.subscribe(SubscribeCommand::live(ROOM)).await.expect("it is subscribed");
        (session, outbox)
    }

    fn watch(&self) -> Watcher {
        let stream = self.broker.presence(ROOM).watch().expect("the room keeps presence");
        Watcher { stream, list: None, left: Vec::new() }
    }
}

/// What a watcher knows, by what it was told.
struct Watcher {
    stream: WatchPresence,
    list: Option<BTreeSet<ClientId>>,
    left: Vec<ClientId>,
}

impl Watcher {
    fn take(&mut self, event: PresenceEvent) {
        match (event, &mut self.list) {
            (PresenceEvent::Snapshot(page), list) => {
                *list = Some(page.members.iter().map(|member| member.client).collect());
            }
            (PresenceEvent::Changes(changes), Some(list)) => {
                for member in changes.join {
                    assert!(list.insert(member.client), "it joins twice");
                }
                for client in changes.leave {
                    assert!(list.remove(&client), "it leaves and was not there");
                    self.left.push(client);
                }
            }
            (other, _) => panic!("{other:?}"),
        }
    }

    /// Reads until the list is as it has to be.
    async fn until(&mut self, expected: &BTreeSet<ClientId>) {
        let agreed = async {
            while self.list.as_ref() != Some(expected) {
                let event = self.stream.recv().await.expect("the broker lives");
                self.take(event);
            }
        };
        if timeout(PATIENCE, agreed).await.is_err() {
            panic!("expected {expected:?}, got {:?}", self.list);
        }
    }

    /// Reads until so many are there.
    async fn until_count(&mut self, count: usize) {
        let counted = async {
            while self.list.as_ref().map(BTreeSet::len) != Some(count) {
                let event = self.stream.recv().await.expect("the broker lives");
                self.take(event);
            }
        };
        timeout(PATIENCE, counted).await.expect("so many are there");
    }
}

fn names(members: &[&[Member]]) -> BTreeSet<ClientId> {
    members.iter().flat_map(|members| members.iter()).map(|(_, outbox)| outbox.client()).collect()
}

#[tokio::test]
async fn two_nodes_agree_also_after_they_were_cut_off() {
    for program in [Program::Redis, Program::Valkey] {
        let Some(setup) = Setup::start(program).await else { continue };
        let (one, two) = (Node::start(setup.builder()).await, Node::start(setup.builder()).await);
        let (mut here, mut there) = (one.watch(), two.watch());
        let (mut first, mut second) = (Vec::new(), Vec::new());
        for _ in 0..20 {
            first.push(one.member().await);
            second.push(two.member().await);
        }
        let all = names(&[&first, &second]);
        here.until(&all).await;
        there.until(&all).await;
        for (session, _) in first.drain(..10) {
            session.close(CloseKind::Kicked.into()).await;
        }
        let all = names(&[&first, &second]);
        here.until(&all).await;
        there.until(&all).await;
        // Nobody hears anybody for longer than it takes to be given up, and both go on.
        setup.proxy.refuse();
        here.until(&names(&[&first])).await;
        there.until(&names(&[&second])).await;
        for (session, _) in second.drain(..5) {
            session.close(CloseKind::Kicked.into()).await;
        }
        first.push(one.member().await);
        setup.proxy.heal();
        let all = names(&[&first, &second]);
        here.until(&all).await;
        there.until(&all).await;
        let page = two.broker.presence(ROOM).page(None, 100).await.expect("the room keeps presence");
        assert_eq!(page.members.iter().map(|member| member.client).collect::<BTreeSet<_>>(), all);
    }
}

#[tokio::test]
async fn a_process_that_is_killed_takes_its_members_with_it_once() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let (one, two) = (Node::start(setup.builder()).await, Node::start(setup.builder()).await);
    let survivor = [one.member().await];
    let (mut here, mut there) = (one.watch(), two.watch());
    let mut process = Doomed::start(&setup.url(PASSWORD, ""));
    for watcher in [&mut here, &mut there] {
        watcher.until_count(1 + DOOMED).await;
    }
    let killed = Instant::now();
    process.0.kill().expect("it is killed");
    let expected = names(&[&survivor]);
    for watcher in [&mut here, &mut there] {
        watcher.until(&expected).await;
        assert_eq!(watcher.left.len(), DOOMED, "each once");
    }
    assert!(killed.elapsed() < PATIENCE);
    sleep(Duration::from_secs(2)).await;
    for node in [&one, &two] {
        assert_eq!(node.broker.presence(ROOM).counts().await.expect("the room keeps presence").clients, 1);
    }
}

/// Another process, which is killed at the latest when this is dropped.
struct Doomed(Child);

impl Doomed {
    fn start(url: &str) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.args(["--exact", "a_node_until_it_is_killed", "--nocapture"]).env(URL, url);
        Self(command.stdout(Stdio::null()).spawn().expect("it starts"))
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What the killed process does; in any other it has nothing to do.
#[tokio::test]
async fn a_node_until_it_is_killed() {
    let Ok(url) = std::env::var(URL) else { return };
    let node = Node::start(RedisBackend::builder(url)).await;
    let mut members = Vec::new();
    for _ in 0..DOOMED {
        members.push(node.member().await);
    }
    // Not for ever, should nobody kill it.
    sleep(4 * PATIENCE).await;
}
