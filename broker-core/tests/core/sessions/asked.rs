//! Calls of the server: who is asked, who has answered, and that nothing is left of a call that is over.

use std::{future::IntoFuture, sync::Arc, time::Duration};

use bytes::BytesMut;
use fanfare_core::{
    BrokerBuilder,
    calls::{Answers, CallConfig, CallError, ClientError},
    message::{Encoder, Frame, Payload},
    session::{AnswerCommand, CallCommand, ClientId, CloseKind, Command, Handshake},
};
use tokio::{
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::support::{Lines, Node, TestClient, idle};

const WITHIN: Duration = Duration::from_secs(5);

fn id(client: &mut TestClient) -> ClientId {
    client.session().client().unwrap()
}

/// The name of the call that has just come.
pub(super) async fn asked(client: &mut TestClient) -> String {
    let lines = client.read().await;
    let call = lines.iter().rev().find_map(|line| line.strip_prefix("call "));
    call.unwrap_or_else(|| panic!("no call: {lines:?}")).split(' ').next().unwrap().to_owned()
}

pub(super) fn answer(call: &str, payload: impl Into<Payload>) -> Command {
    Command::Answer(AnswerCommand::new(call, Ok(payload.into())))
}

/// Calls in a task of its own.
pub(super) fn calling(call: fanfare_core::calls::Call) -> JoinHandle<Result<Answers, CallError>> {
    tokio::spawn(call.timeout(WITHIN).into_future())
}

pub(super) async fn answers(call: JoinHandle<Result<Answers, CallError>>) -> Answers {
    timeout(Duration::from_secs(60), call).await.unwrap().unwrap().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_client_answers_with_a_payload_or_an_error() {
    let node = Node::start(|broker| broker).await;
    let mut client = node.client().await;
    let name = id(&mut client);
    let call = calling(node.broker.clients().client(name).call("seen", "upto 7"));
    assert_eq!(client.read().await, ["call s1 seen upto 7"]);
    assert_eq!(client.call(answer("s1", "ok")).await, ["1: answered"]);
    let answered = answers(call).await;
    assert_eq!((answered.answered(), answered.asked, answered.is_complete()), (1, 1, true));
    assert_eq!(answered.answers, [(name, Ok("ok".into()))]);
    assert_eq!(answered.one().unwrap(), "ok".into());

    let call = calling(node.broker.clients().client(name).call("seen", vec![0u8, 255]));
    let error = ClientError::new("busy", "not now");
    let name_of_call = asked(&mut client).await;
    client.send(Command::Answer(AnswerCommand::new(name_of_call, Err(error.clone())))).await.unwrap();
    assert!(matches!(answers(call).await.one(), Err(CallError::Client(said)) if said == error));

    let nobody = node.broker.clients().client(ClientId::random()).call("seen", "").await.unwrap();
    assert_eq!((nobody.asked, nobody.is_complete()), (0, true));
    assert!(matches!(nobody.one(), Err(CallError::NobodyThere)));
}

#[tokio::test(start_paused = true)]
async fn of_a_topic_so_many_have_answered_and_the_silent_ones_are_not_waited_for_longer_than_said() {
    let node = Node::start(|broker| broker).await;
    let mut all = Vec::new();
    for _ in 0..4 {
        let mut client = node.client().await;
        client.subscribe("t").await;
        all.push(client);
    }
    let other = &mut node.client().await;
    let began = Instant::now();
    let call = calling(node.broker.clients().topic("t").call("ready", "?"));
    let mut names = Vec::new();
    for (number, client) in all.iter_mut().enumerate().take(2) {
        let call = asked(client).await;
        client.send(answer(&call, number.to_string())).await.unwrap();
        names.push((id(client), Ok(number.to_string().into())));
    }
    // One leaves, one keeps silent.
    drop(all.remove(2));
    assert!(other.read().await.is_empty(), "not asked");
    let answered = answers(call).await;
    assert_eq!((answered.answered(), answered.asked), (2, 4));
    assert_eq!(answered.answers, names);
    assert!((WITHIN..WITHIN + Duration::from_millis(500)).contains(&began.elapsed()));

    // What comes too late is passed over, and the next call is another one.
    let late = asked(&mut all[2]).await;
    let call = calling(node.broker.clients().topic("t").call("ready", "again"));
    assert_eq!(all[2].call(answer(&late, "late")).await.len(), 2, "the call, and the reply");
    let next = next_name(&late);
    for client in &mut all {
        client.send(answer(&next, "in time")).await.unwrap();
    }
    let answered = answers(call).await;
    assert!(answered.is_complete());
    assert!(answered.answers.iter().all(|(_, result)| *result == Ok("in time".into())));
}

fn next_name(call: &str) -> String {
    format!("s{}", call[1..].parse::<u64>().unwrap() + 1)
}

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_who_has_left() {
    let node = Node::start(|broker| broker).await;
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(node.client().await);
    }
    let began = Instant::now();
    let call = calling(node.broker.clients().call("ready", "?"));
    let _first = asked(&mut clients[0]).await;
    drop(clients.pop());
    clients.pop().unwrap().into_session().close(CloseKind::Normal.into()).await;
    assert!(!call.is_finished());
    node.broker.disconnect(id(&mut clients[0]), CloseKind::Kicked.into());
    let reason = clients[0].over().await.unwrap();
    clients.pop().unwrap().into_session().close(reason).await;
    let answered = answers(call).await;
    assert_eq!((answered.answered(), answered.asked), (0, 3));
    assert!(began.elapsed() < WITHIN);
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_once_and_only_under_the_name_of_an_open_call() {
    let node = Node::start(|broker| broker).await;
    let (mut ann, mut bob) = (node.client().await, node.client().await);
    let name = id(&mut ann);
    let call = calling(node.broker.clients().client(name).call("seen", "?"));
    let open = asked(&mut ann).await;
    for wrong in ["s999", "", "nonsense", "s18446744073709551616"] {
        assert!(ann.call(answer(wrong, "wrong")).await[0].ends_with(": answered"), "{wrong}");
    }
    // Who was not asked cannot answer in another's place.
    assert_eq!(bob.call(answer(&open, "forged")).await, ["1: answered"]);
    assert!(!call.is_finished());
    ann.send(answer(&open, "first")).await.unwrap();
    ann.send(answer(&open, "second")).await.unwrap();
    assert_eq!(answers(call).await.answers, [(name, Ok("first".into()))]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_asked_for_costs_nothing_and_every_other_one_counts_as_a_command() {
    let node = Node::start(|broker| {
        broker.limits(|limits| {
            limits.commands_burst = 5.try_into().unwrap();
            limits.commands_per_second = 1.try_into().unwrap();
        })
    })
    .await;
    let mut client = node.client().await;
    for _ in 0..50 {
        let call = calling(node.broker.clients().call("seen", "?"));
        let name = asked(&mut client).await;
        client.session().handle(None, answer(&name, "yes")).await.unwrap();
        assert!(answers(call).await.is_complete());
    }
    let mut over = None;
    for _ in 0..20 {
        if let Err(reason) = client.session().handle(None, answer("s1", "flood")).await {
            over = Some(reason);
            break;
        }
    }
    assert_eq!(over.unwrap().kind, CloseKind::RateLimited);
}

#[tokio::test(start_paused = true)]
async fn an_answer_over_the_limit_is_an_error_to_both() {
    let node = Node::start(|broker| broker.limits(|limits| limits.max_message = 10)).await;
    let mut client = node.client().await;
    let call = calling(node.broker.clients().call("seen", "?"));
    let name = asked(&mut client).await;
    assert_eq!(client.call(answer(&name, "x".repeat(11))).await, ["1: error too_large data 11>10"]);
    let error = answers(call).await.one();
    assert!(matches!(&error, Err(CallError::Client(error)) if error.code == "too_large"), "{error:?}");
    let long = node.broker.clients().call("seen", "x".repeat(11)).await;
    assert!(matches!(long, Err(CallError::TooLarge { field: "data", limit: 10, value: 11 })), "{long:?}");
    let long = node.broker.clients().call("x".repeat(256), "").await;
    assert!(matches!(long, Err(CallError::TooLarge { field: "method", limit: 255, value: 256 })), "{long:?}");
    assert!(client.read().await.is_empty(), "nobody was called");
    let wrong = node.broker.clients().topic("no..topic").call("seen", "").await;
    assert!(matches!(wrong, Err(CallError::InvalidTopic(_))), "{wrong:?}");
}

#[tokio::test(start_paused = true)]
async fn of_many_answers_only_so_many_bytes_are_kept() {
    let node = Node::start(|broker| broker.limits(|limits| limits.answers_bytes = 1000)).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(node.client().await);
    }
    let call = calling(node.broker.clients().call("seen", "?"));
    for client in &mut clients {
        let name = asked(client).await;
        client.send(answer(&name, "x".repeat(400))).await.unwrap();
    }
    let answered = answers(call).await;
    assert_eq!((answered.answered(), answered.asked), (5, 5));
    let kept = answered.answers.iter().filter(|(_, result)| result.is_ok()).count();
    assert_eq!(kept, 2);
    let codes = answered.answers.iter().filter_map(|(_, result)| Some(&result.as_ref().err()?.code));
    assert!(codes.clone().count() == 3 && codes.into_iter().all(|code| code == "limit_exceeded"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_calls_that_are_over() {
    let node = Node::start(|broker| broker.limits(|limits| limits.calls_to_client = 1)).await;
    let mut client = node.client().await;
    for _ in 0..3 {
        // Too late, dropped, and answered: in each case there is room for the next one.
        let silent = answers(calling(node.broker.clients().call("seen", "?"))).await;
        assert_eq!((silent.answered(), silent.asked), (0, 1));
        asked(&mut client).await;
        let dropped = calling(node.broker.clients().call("seen", "?"));
        asked(&mut client).await;
        dropped.abort();
        idle().await;
        let call = calling(node.broker.clients().call("seen", "?"));
        let name = asked(&mut client).await;

        // While it is open there is no room for another one, and nobody waits for that.
        let began = Instant::now();
        let beside = node.broker.clients().call("seen", "?").await.unwrap();
        assert_eq!((beside.answered(), beside.asked, began.elapsed()), (0, 1, Duration::ZERO));
        client.send(answer(&name, "yes")).await.unwrap();
        assert!(answers(call).await.is_complete());
        client.read().await;
    }
}

/// A format without a way back.
pub(super) struct OneWay;

impl Encoder for OneWay {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        if !matches!(frame, Frame::Call(_)) {
            Lines.encode(frame, out);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_cannot_answer_is_counted_and_not_waited_for() {
    let node = Node::start(|broker| broker).await;
    let mut able = node.client().await;
    let one_way = node.broker.register(Arc::new(OneWay)).unwrap();
    let (_session, _outbox) = node.broker.connect(Handshake::new("sse"), &one_way).await.unwrap();
    let began = Instant::now();
    let call = calling(node.broker.clients().call("seen", "?"));
    let name = asked(&mut able).await;
    able.send(answer(&name, "yes")).await.unwrap();
    let answered = answers(call).await;
    assert_eq!((answered.answered(), answered.asked), (1, 2));
    assert!(began.elapsed() < WITHIN);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_called_as_long_as_there_is_room() {
    let node = Node::start(|broker| broker.limits(|limits| limits.control_bytes = 1000)).await;
    let mut client = node.client().await;
    client.wire.shut();
    let open: Vec<_> = (0..3).map(|_| calling(node.broker.clients().call("seen", "x".repeat(400)))).collect();
    idle().await;
    assert_eq!(open.iter().map(JoinHandle::is_finished).collect::<Vec<_>>(), [false, false, true]);
    client.wire.open();
    assert_eq!(client.read().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_handler_may_call_the_client_back_even_while_the_server_drains() {
    let node = Node::start(|broker| callback(broker, CallConfig::new())).await;
    let mut client = node.client().await;
    client.send(Command::Call(CallCommand::new("greet", ""))).await.unwrap();
    let name = asked(&mut client).await;
    let broker = node.broker.clone();
    let draining = tokio::spawn(async move { broker.drain(Duration::from_secs(10)).await });
    idle().await;
    client.send(answer(&name, "Ann")).await.unwrap();
    while client.over().await.is_none() {}
    let lines = client.lines();
    assert!(lines.contains(&"1: called hello, Ann".to_owned()), "{lines:?}");
    client.into_session().close(CloseKind::Draining.into()).await;
    assert!(draining.await.unwrap());
}

/// A method that asks its caller for its name.
pub(super) fn callback(broker: BrokerBuilder, config: CallConfig) -> BrokerBuilder {
    broker.on_call_with("greet", config, |call| async move {
        let name = call.broker.clients().client(call.client.id).call("name", "?").await.unwrap().one();
        Ok(format!("hello, {}", name.unwrap().as_str().unwrap()).into())
    })
}
