//! Who is there, on nodes that have a real server between them: two that agree, that are cut off, and a process that is killed.

use std::{
    collections::BTreeSet,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use bytes::BytesMut;
use fanfare_core::{
    Broker,
    backend::Backend,
    message::{Encoder, Format, Frame},
    outbox::Outbox,
    policy::Open,
    presence::{PresenceConfig, PresenceEvent, WatchPresence},
    session::{ClientId, CloseKind, Handshake, Session, SubscribeCommand},
    topic::TopicConfig,
};
use tokio::time::{sleep, timeout};

use super::{PATIENCE, Site};

/// Short, so that a node that is silent is away soon: after 600 ms and a second.
const HEARTBEAT: Duration = Duration::from_millis(200);
const ROOM: &str = "room.lobby";

/// In the environment of a process that is to be a node, and to be killed: the server's URL.
const URL: &str = "FANFARE_PRESENCE_NODE";

/// How many members such a process has.
const DOOMED: usize = 50;

/// Two nodes whose server is behind the proxy list the same members: also when some have left, and when both were without the server
/// for longer than it takes to be given up.
///
/// # Panics
///
/// When they do not agree.
pub async fn cut_off<B: Backend>(site: &Site, backend: impl Fn() -> B) {
    let (one, two) = (Node::start(backend()).await, Node::start(backend()).await);
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
    // Both go on meanwhile.
    site.proxy.refuse();
    here.until(&names(&[&first])).await;
    there.until(&names(&[&second])).await;
    for (session, _) in second.drain(..5) {
        session.close(CloseKind::Kicked.into()).await;
    }
    first.push(one.member().await);
    site.proxy.heal();
    let all = names(&[&first, &second]);
    here.until(&all).await;
    there.until(&all).await;
    let page = two.broker.presence(ROOM).page(None, 100).await.expect("the room keeps presence");
    assert_eq!(page.members.iter().map(|member| member.client).collect::<BTreeSet<_>>(), all);
}

/// A process with a node is killed: its members leave on the other nodes, each once. `test` is the name of a test of the same program that
/// is nothing but [`until_killed`], and that is told the server's URL.
///
/// # Panics
///
/// When they do not.
pub async fn killed<B: Backend>(backend: impl Fn() -> B, test: &str, url: &str) {
    let (one, two) = (Node::start(backend()).await, Node::start(backend()).await);
    let survivor = [one.member().await];
    let (mut here, mut there) = (one.watch(), two.watch());
    let mut process = Doomed::start(test, url);
    for watcher in [&mut here, &mut there] {
        watcher.until_count(1 + DOOMED).await;
    }
    process.0.kill().expect("it is killed");
    let expected = names(&[&survivor]);
    for watcher in [&mut here, &mut there] {
        watcher.until(&expected).await;
    }
    // Nothing of it comes back.
    sleep(Duration::from_secs(2)).await;
    for watcher in [&mut here, &mut there] {
        watcher.until(&expected).await;
        assert_eq!(watcher.left.len(), DOOMED, "each once");
    }
    for node in [&one, &two] {
        assert_eq!(node.broker.presence(ROOM).counts().await.expect("the room keeps presence").clients, 1);
    }
}

/// What the process does that [`killed`] kills: in any other it does nothing.
///
/// # Panics
///
/// When the node does not start.
pub async fn until_killed<B: Backend>(backend: impl FnOnce(String) -> B) {
    let Ok(url) = std::env::var(URL) else { return };
    let node = Node::start(backend(url)).await;
    let mut members = Vec::new();
    for _ in 0..DOOMED {
        members.push(node.member().await);
    }
    // Not for ever, should nobody kill it.
    sleep(4 * PATIENCE).await;
}

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
    async fn start(backend: impl Backend) -> Self {
        let rooms = TopicConfig::new().presence(PresenceConfig::new().grace(Duration::from_secs(1)));
        let broker = Broker::builder().policy(Open).topic("room.*", rooms).heartbeat(HEARTBEAT);
        let broker = broker.backend(backend).start().await.expect("a broker");
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
        let agreed = self.until_it(|list| list == expected).await;
        assert!(agreed, "expected {expected:?}, got {:?}", self.list);
    }

    /// Reads until so many are there.
    async fn until_count(&mut self, count: usize) {
        assert!(self.until_it(|list| list.len() == count).await, "expected {count}, got {:?}", self.list);
    }

    async fn until_it(&mut self, is: impl Fn(&BTreeSet<ClientId>) -> bool) -> bool {
        let reading = async {
            while !self.list.as_ref().is_some_and(&is) {
                let event = self.stream.recv().await.expect("the broker lives");
                self.take(event);
            }
        };
        timeout(PATIENCE, reading).await.is_ok()
    }
}

fn names(members: &[&[Member]]) -> BTreeSet<ClientId> {
    members.iter().flat_map(|members| members.iter()).map(|(_, outbox)| outbox.client()).collect()
}

/// Another process, which is killed at the latest when this is dropped.
struct Doomed(Child);

impl Doomed {
    fn start(test: &str, url: &str) -> Self {
        let program = std::env::current_exe().expect("this program");
        let mut command = Command::new(program);
        command.args(["--exact", test, "--nocapture"]).env(URL, url);
        Self(command.stdout(Stdio::null()).spawn().expect("it starts"))
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
