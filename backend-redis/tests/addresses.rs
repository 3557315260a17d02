//! Messages to users, to connections and to everybody, on two nodes of one server.

mod support;

use std::{future::poll_fn, sync::Arc};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use fanfare_core::{
    Broker,
    message::{Encoder, Format, Frame},
    outbox::Outbox,
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{Handshake, Refusal, Session, SubscribeCommand},
    topic::{Address, Topic},
};
use fanfare_testkit::server::Program;
use support::{PATIENCE, Setup, built};
use tokio::time::timeout;

/// Whoever says a name is the user of this name.
struct Named;

#[async_trait]
impl Policy for Named {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        Ok(Admission::Accept(Identity::user(handshake.credential().unwrap_or("nobody"))))
    }

    fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
        Verdict::allow()
    }
}

/// A line for each message, and for each gap.
struct Lines;

impl Encoder for Lines {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        let line = match frame {
            Frame::Message(message) => {
                format!("{} {}\n", message.topic(), message.payload().as_str().unwrap_or_default())
            }
            Frame::Gap { topic, .. } => format!("{topic} gap\n"),
            _ => return,
        };
        out.extend_from_slice(line.as_bytes());
    }
}

struct Node {
    broker: Broker,
    format: Format,
}

struct Tab {
    session: Session,
    outbox: Outbox,
}

impl Node {
    async fn start(setup: &Setup) -> Self {
        let broker = Broker::builder().policy(Named).backend(built(setup.builder()));
        let broker = broker.limits(|limits| limits.queue_messages = 1 << 16).start().await;
        let broker = broker.expect("a broker");
        let format = broker.register(Arc::new(Lines)).expect("a format");
        Self { broker, format }
    }

    async fn tab(&self, user: &str) -> Tab {
        let handshake = Handshake::new("test").with_token(user);
        let (session, outbox) = self.broker.connect(handshake, &self.format).await.expect("it is let in");
        Tab { session, outbox }
    }

    async fn publish(&self, to: &str, text: impl ToString) {
        self.broker.publish(to, text.to_string()).await.expect("it is carried");
    }
}

impl Tab {
    fn address(&self) -> Address {
        Address::client(self.outbox.client())
    }

    /// The lines that come until one has come that ends with each of these words.
    async fn until(&mut self, words: &[&str]) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        while !words.iter().all(|word| lines.iter().any(|line| line.ends_with(word))) {
            let mut frames: Vec<Bytes> = Vec::new();
            let pulled = poll_fn(|cx| self.outbox.poll_pull(cx, 1, &mut frames));
            let over = timeout(PATIENCE, pulled).await;
            let over = over.unwrap_or_else(|_| panic!("{words:?} never come: {lines:?}"));
            assert!(over.is_none(), "the connection ends: {over:?}");
            lines.extend(frames.iter().map(|frame| String::from_utf8_lossy(frame).trim_end().to_owned()));
        }
        lines
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_users_tabs_on_both_nodes_get_a_message_once_each_and_nobody_else() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let nodes = [Node::start(&setup).await, Node::start(&setup).await];
    let (mut tabs, mut others) = (Vec::new(), Vec::new());
    for node in &nodes {
        for _ in 0..2 {
            let mut tab = node.tab("ann").await;
            tab.session.subscribe(SubscribeCommand::live("news")).await.expect("it is subscribed");
            tabs.push(tab);
        }
        others.push(node.tab("ben").await);
    }
    for node in &nodes {
        for n in 0..100 {
            node.publish("$user.ann", n).await;
        }
    }
    let first = tabs[0].address();
    nodes[1].broker.publish(&first, "only this tab").await.expect("it is carried");
    // What is one of ann's, subscribed, and everybody, is one copy.
    nodes[0].broker.publish("news", "end").also("$user.ann").also("$all").await.expect("it is carried");
    for (at, node) in nodes.iter().enumerate() {
        node.publish("$all", format!("last {at}")).await;
    }
    for (at, tab) in tabs.iter_mut().enumerate() {
        let mut lines = tab.until(&[" last 0", " last 1", " end"]).await;
        assert_eq!(lines.iter().filter(|line| line.ends_with(" end")).count(), 1, "tab {at}: {lines:?}");
        lines.retain(|line| !line.ends_with(" end"));
        let mut expected: Vec<_> = (0..100).chain(0..100).map(|n| format!("$user.ann {n}")).collect();
        expected.extend(["$all last 0".to_owned(), "$all last 1".to_owned()]);
        if at == 0 {
            expected.push(format!("{} only this tab", first.name().expect("a name")));
        }
        // Between nodes there is no order.
        lines.sort();
        expected.sort();
        assert_eq!(lines, expected, "tab {at}");
    }
    for other in &mut others {
        let mut lines = other.until(&[" last 0", " last 1"]).await;
        lines.sort();
        assert_eq!(lines, ["$all end", "$all last 0", "$all last 1"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_lost_between_the_nodes_is_told_to_everybody() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let (here, there) = (Node::start(&setup).await, Node::start(&setup).await);
    let (mut ann, mut ben) = (there.tab("ann").await, there.tab("ben").await);
    let publishing = tokio::spawn(async move {
        for n in 0..2000 {
            let _ = here.broker.publish("$user.ann", n.to_string()).await;
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        here
    });
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    setup.kill_subscribers().await;
    let here = publishing.await.expect("it is published");
    here.publish("$all", "last").await;
    let mut lines = ann.until(&["$all last"]).await;
    lines.pop();
    let mut next = 0;
    let mut is_told = false;
    for line in &lines {
        if line == "$direct gap" {
            is_told = true;
            continue;
        }
        let n: u64 = line.strip_prefix("$user.ann ").and_then(|n| n.parse().ok()).expect("a number");
        assert!(n == next || (n > next && is_told), "{n} comes after {next} without a word");
        (next, is_told) = (n + 1, false);
    }
    assert!(next == 2000 || is_told, "the end is silence");
    assert!(lines.len() > 1000, "they are cut off for a moment only: {}", lines.len());
    let mut told = ben.until(&["$all last"]).await;
    told.pop();
    assert!(!told.is_empty() && told.iter().all(|line| line == "$direct gap"), "{told:?}");
}
