//! Calls to clients of another node, through a real server.

mod support;

use std::{future::IntoFuture, future::poll_fn, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use fanfare_core::{
    Broker,
    message::{Encoder, Format, Frame, Payload, PayloadKind},
    outbox::Outbox,
    policy::Open,
    session::{AnswerCommand, ClientId, Command, Handshake, Session, SubscribeCommand},
};
use fanfare_testkit::server::Program;
use support::{PATIENCE, Setup, built};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::timeout,
};

/// What a client has to know of a call: its name, the payload's kind, and the payload.
struct Calls;

impl Encoder for Calls {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        let Frame::Call(call) = frame else { return };
        out.extend_from_slice(format!("{} {} ", call.id, call.payload.kind().as_str()).as_bytes());
        out.extend_from_slice(call.payload.bytes());
    }
}

struct Node {
    broker: Broker,
    format: Format,
}

impl Node {
    async fn start(setup: &Setup) -> Self {
        let broker = Broker::builder().policy(Open).backend(built(setup.builder()));
        let broker = broker.start().await.expect("a broker");
        let format = broker.register(Arc::new(Calls)).expect("a format");
        Self { broker, format }
    }

    /// A client of a topic that answers with what it is given, or keeps silent.
    async fn client(&self, topic: &str, answers: bool) -> (ClientId, JoinHandle<()>) {
        let connected = self.broker.connect(Handshake::new("test"), &self.format).await;
        let (mut session, outbox) = connected.expect("it is let in");
        session.subscribe(SubscribeCommand::live(topic)).await.expect("it is subscribed");
        let client = outbox.client();
        (client, tokio::spawn(async move { serve(&mut session, &outbox, answers).await }))
    }
}

async fn serve(session: &mut Session, outbox: &Outbox, answers: bool) {
    loop {
        let mut frames: Vec<Bytes> = Vec::new();
        if poll_fn(|cx| outbox.poll_pull(cx, 1, &mut frames)).await.is_some() {
            return;
        }
        for frame in frames.iter().filter(|_| answers) {
            let mut parts = frame.splitn(3, |byte| *byte == b' ');
            let mut part = || parts.next().expect("a part");
            let (id, kind, payload) = (part(), part(), part());
            let id = String::from_utf8(id.to_vec()).expect("a name");
            let kind = if kind == b"binary" { PayloadKind::Binary } else { PayloadKind::Text };
            let payload = Payload::from_parts(kind, payload.to_vec()).expect("a payload");
            let answer = Command::Answer(AnswerCommand::new(id, Ok(payload)));
            session.handle(None, answer).await.expect("it is taken");
        }
    }
}

/// Waits until both nodes know of each other.
async fn two(setup: &Setup) -> [Node; 2] {
    let nodes = [Node::start(setup).await, Node::start(setup).await];
    let known = async {
        while nodes.iter().any(|node| node.broker.nodes().is_empty()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, known).await.expect("the nodes hear of each other");
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_calls_to_another_node_get_each_its_own_answer() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let [here, there] = two(&setup).await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(there.client("t", true).await);
    }
    let mut calls = JoinSet::new();
    for number in 0..1000 {
        let one = here.broker.clients().client(clients[number % 20].0);
        let call = one.call("echo", number.to_string()).timeout(PATIENCE).into_future();
        calls.spawn(async move { (number, timeout(PATIENCE, call).await) });
    }
    while let Some(called) = calls.join_next().await {
        let (number, answered) = called.expect("it is called");
        let answered = answered.expect("in time").expect("it is made");
        assert_eq!(answered.one().expect("an answer"), number.to_string().into());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_topics_clients_on_both_nodes_so_many_have_answered() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let nodes = two(&setup).await;
    let mut clients = Vec::new();
    for node in &nodes {
        clients.push(node.client("t", true).await);
        clients.push(node.client("t", true).await);
        node.client("other", true).await;
    }
    let silent = nodes[1].client("t", false).await;
    let image: Vec<u8> = (0..60_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let call = nodes[0].broker.clients().topic("t").call("draw", image.clone());
    let call = call.timeout(Duration::from_secs(2)).into_future();
    let answered = timeout(PATIENCE, call).await.expect("in time").expect("it is made");
    assert_eq!((answered.answered(), answered.asked, answered.silent_nodes), (4, 5, 0));
    for (client, answer) in answered.answers {
        assert!(clients.iter().any(|(known, _)| *known == client) && client != silent.0);
        assert_eq!(answer, Ok(image.clone().into()));
    }
}
