//! Calls of the server to clients of other nodes.

use std::{future::IntoFuture, sync::Arc, time::Duration};

use fanfare_core::{
    backend::memory::{HubNode, MemoryHub},
    calls::{Answers, Call, CallError, ClientError},
    message::Payload,
    session::{AnswerCommand, ClientId, Command},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::support::{Handle, Node, TestClient};

const WITHIN: Duration = Duration::from_secs(5);

async fn nodes<const N: usize>(hub: &MemoryHub) -> [(Arc<HubNode>, Node); N] {
    let mut all = Vec::new();
    for _ in 0..N {
        let backend = Arc::new(hub.node());
        let node = Node::start(|broker| {
            broker
                .backend(Handle(backend.clone()))
                .limits(|limits| (limits.calls_to_client, limits.max_message) = (2000, 2 << 20))
                .limits(|limits| limits.answers_bytes = 64 << 20)
        })
        .await;
        all.push((backend, node));
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while all.iter().any(|(_, node)| node.broker.nodes().len() != N - 1) {
        assert!(Instant::now() < deadline, "they do not hear of each other");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    all.try_into().unwrap_or_else(|_| unreachable!())
}

fn calling(call: Call) -> JoinHandle<Result<Answers, CallError>> {
    tokio::spawn(call.timeout(WITHIN).into_future())
}

async fn answers(call: JoinHandle<Result<Answers, CallError>>) -> Answers {
    timeout(Duration::from_secs(60), call).await.unwrap().unwrap().unwrap()
}

fn id(client: &mut TestClient) -> ClientId {
    client.session().client().unwrap()
}

/// Serves calls as they come, for so many: a client that answers with its number and what it was given.
async fn answer(client: &mut TestClient, number: usize, calls: usize) {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut served = 0;
    while served < calls {
        assert!(Instant::now() < deadline, "{served} calls of {calls}");
        for line in client.read().await {
            let [_, call, _, payload] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let result = match payload {
                "no" => Err(ClientError::new("declined", "nö")),
                "(binary)" => Ok(Payload::binary(vec![0, 159, 146, 150])),
                payload => Ok(format!("{number}:{payload}").into()),
            };
            client.session().handle(None, Command::Answer(AnswerCommand::new(call, result))).await.unwrap();
            served += 1;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn all_clients_of_a_topic_are_called_whichever_node_they_are_on() {
    let hub = MemoryHub::new();
    let nodes = nodes::<3>(&hub).await;
    let mut clients = Vec::new();
    for (_, node) in &nodes {
        for _ in 0..2 {
            let mut client = node.client().await;
            client.subscribe("t").await;
            clients.push(client);
        }
        node.client().await;
    }
    let silent = clients.pop().unwrap();
    let call = calling(nodes[0].1.broker.clients().topic("t").call("ready", "?"));
    for (number, client) in clients.iter_mut().enumerate() {
        answer(client, number, 1).await;
    }
    let answered = answers(call).await;
    assert_eq!((answered.answered(), answered.asked, answered.silent_nodes), (5, 6, 0));
    let mut said = answered.answers;
    for (number, client) in clients.iter_mut().enumerate() {
        let at = said.iter().position(|(name, _)| *name == id(client)).unwrap();
        assert_eq!(said.swap_remove(at).1, Ok(format!("{number}:?").into()));
    }
    drop(silent);
}

#[tokio::test(start_paused = true)]
async fn one_client_of_another_node_answers_with_bytes_or_an_error() {
    let hub = MemoryHub::new();
    let [(_, here), (_, there)] = nodes::<2>(&hub).await;
    let mut client = there.client().await;
    let one = || here.broker.clients().client(client.outbox.client());
    let (binary, error) = (calling(one().call("draw", vec![255u8, 0])), calling(one().call("draw", "no")));
    answer(&mut client, 0, 2).await;
    assert_eq!(answers(binary).await.one().unwrap(), vec![0u8, 159, 146, 150].into());
    let error = answers(error).await.one();
    assert!(matches!(error, Err(CallError::Client(e)) if e == ClientError::new("declined", "nö")));
    // It leaves while it is called: nobody is waited for.
    let began = Instant::now();
    let call = calling(here.broker.clients().client(client.outbox.client()).call("draw", "last"));
    client.read().await;
    drop(client);
    let answered = answers(call).await;
    assert_eq!((answered.answered(), answered.asked, answered.silent_nodes), (0, 1, 0));
    assert!(began.elapsed() < WITHIN);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_calls_across_nodes_get_each_its_own_answer() {
    let hub = MemoryHub::new();
    let [(_, here), (_, there)] = nodes::<2>(&hub).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(there.client().await);
    }
    let mut calls = Vec::new();
    for number in 0..1000 {
        let one = here.broker.clients().client(id(&mut clients[number % 10]));
        calls.push(calling(one.call("echo", number.to_string())));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        answer(client, number, 100).await;
    }
    for (number, call) in calls.into_iter().enumerate() {
        let answered = answers(call).await;
        assert_eq!(answered.one().unwrap(), format!("{}:{number}", number % 10).into());
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_be_heard_is_named_as_silent() {
    let hub = MemoryHub::new();
    let [(_, here), (cut, there)] = nodes::<2>(&hub).await;
    let (mut near, _far) = (here.client().await, there.client().await);
    cut.set_connected(false);
    let began = Instant::now();
    let call = calling(here.broker.clients().call("ready", "?"));
    answer(&mut near, 0, 1).await;
    let answered = answers(call).await;
    assert_eq!((answered.answered(), answered.asked, answered.silent_nodes), (1, 1, 1));
    assert!(!answered.is_complete());
    assert!(began.elapsed() <= WITHIN + Duration::from_secs(2));

    let call = calling(here.broker.clients().local().call("ready", "?"));
    answer(&mut near, 0, 1).await;
    assert!(answers(call).await.is_complete());
    // Who is here is nowhere else.
    let call = calling(here.broker.clients().client(id(&mut near)).call("ready", "?"));
    answer(&mut near, 0, 1).await;
    assert!(answers(call).await.is_complete());
}

#[tokio::test(start_paused = true)]
async fn what_a_node_has_gathered_fits_what_it_can_send() {
    let hub = MemoryHub::new();
    let [(_, here), (_, there)] = nodes::<2>(&hub).await;
    let mut clients = Vec::new();
    for _ in 0..9 {
        clients.push(there.client().await);
    }
    let call = calling(here.broker.clients().call("ready", "?"));
    for client in &mut clients {
        let name = super::asked::asked(client).await;
        client.send(super::asked::answer(&name, "x".repeat(1 << 20))).await.unwrap();
    }
    let answered = answers(call).await;
    assert_eq!((answered.answered(), answered.asked, answered.silent_nodes), (9, 9, 0));
    assert_eq!(answered.answers.iter().filter(|(_, result)| result.is_ok()).count(), 7);
}
