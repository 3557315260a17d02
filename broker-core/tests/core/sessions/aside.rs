//! What does not wait for its turn while another command of the same client is being served.

use std::{
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use fanfare_core::{
    Broker,
    calls::{CallConfig, CallError},
    session::{
        CallCommand, ClientId, CloseKind, Command, Handshake, PublishCommand, Refusal, RequestId,
        SubscribeCommand,
    },
};
use tokio::time::timeout;

use super::asked::{answer, answers, asked, callback, calling};
use crate::support::{Node, TestClient, idle, waits};

const PATIENCE: Duration = Duration::from_secs(60);

fn publish(topic: &str) -> Command {
    Command::Publish(PublishCommand::new(topic, "x"))
}

/// The replies among what has come.
async fn replies(client: &mut TestClient) -> Vec<String> {
    let lines = client.read().await;
    lines.into_iter().filter(|line| line.starts_with(|first: char| first.is_ascii_digit())).collect()
}

#[tokio::test(start_paused = true)]
async fn a_method_gets_its_answer_although_another_command_waits_for_the_method() {
    let node = Node::start(|broker| callback(broker, CallConfig::new())).await;
    let mut client = node.client().await;
    client.send(Command::Call(CallCommand::new("greet", ""))).await.unwrap();
    let name = asked(&mut client).await;
    let aside = client.session().aside().unwrap();
    let id = client.next_id();
    {
        let mut behind = pin!(client.session().handle(id, publish("t")));
        assert!(waits(&mut behind));
        assert!(aside.take(RequestId::new(7), answer(&name, "Ann")).is_none());
        timeout(PATIENCE, behind).await.unwrap().unwrap();
    }
    assert_eq!(replies(&mut client).await, ["7: answered", "1: called hello, Ann", "2: published"]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_gets_its_answer_although_it_keeps_the_command_waiting() {
    let handle: Arc<OnceLock<Broker>> = Arc::default();
    let (inside, about) = (handle.clone(), handle.clone());
    let sure = |broker: Broker, client: ClientId| async move {
        let asked = broker.clients().client(client).call("sure", "?").await;
        asked.is_ok_and(|answers| answers.one().is_ok())
    };
    let node = Node::start(|broker| {
        broker
            .on_publish("t", move |publish| {
                let sure = sure(inside.get().unwrap().clone(), publish.client.id);
                async move { if sure.await { Ok(publish) } else { Err(Refusal::forbidden("not sure")) } }
            })
            .on_subscribed("u", move |client, _| {
                let sure = sure(about.get().unwrap().clone(), client.id);
                async move { assert!(sure.await) }
            })
    })
    .await;
    handle.set(node.broker.clone()).unwrap();
    let mut client = node.client().await;
    let aside = client.session().aside().unwrap();
    for (command, call, reply) in [
        (publish("t"), "s1", "1: published"),
        (Command::Subscribe(SubscribeCommand::live("u")), "s2", "2: subscribed"),
    ] {
        let id = client.next_id();
        {
            let mut served = pin!(client.session().handle(id, command));
            assert!(waits(&mut served));
            assert!(aside.take(None, answer(call, "yes")).is_none(), "{call}");
            timeout(PATIENCE, served).await.unwrap().unwrap();
        }
        assert_eq!(replies(&mut client).await, [reply]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_has_to_wait_is_given_back() {
    let node = Node::start(|broker| broker).await;
    let mut client = node.client().await;
    let name = client.session().client().unwrap();
    let aside = client.session().aside().unwrap();
    let id = RequestId::new(1);
    assert!(matches!(aside.take(id, publish("t")), Some(Command::Publish(_))));
    let unsubscribe = Command::Unsubscribe { topic: "t".to_owned() };
    assert!(matches!(aside.take(id, unsubscribe), Some(Command::Unsubscribe { .. })));
    for nobodys in ["s1", "", "nonsense"] {
        assert!(matches!(aside.take(id, answer(nobodys, "x")), Some(Command::Answer(_))), "{nobodys}");
    }
    assert!(client.read().await.is_empty(), "nothing was answered");

    let call = calling(node.broker.clients().client(name).call("seen", "?"));
    let open = asked(&mut client).await;
    assert!(aside.take(None, answer(&open, "yes")).is_none());
    assert!(aside.take(None, answer(&open, "again")).is_some(), "once");
    assert_eq!(answers(call).await.one().unwrap(), "yes".into());

    // Whose connection the app has ended is served no more.
    let call = calling(node.broker.clients().client(name).call("seen", "?"));
    let open = asked(&mut client).await;
    node.broker.clients().client(name).disconnect(CloseKind::Kicked).await.unwrap();
    assert!(aside.take(None, answer(&open, "yes")).is_some());
    assert!(aside.take(id, Command::Ping).is_some());
    client.into_session().close(CloseKind::Kicked.into()).await;
    assert!(matches!(answers(call).await.one(), Err(CallError::NoAnswer)));
}

#[tokio::test(start_paused = true)]
async fn before_the_client_is_let_in_all_has_its_turn() {
    let node = Node::start(|broker| broker.policy(super::connect::Tokens)).await;
    let mut client = node.connect(Handshake::new("test")).await.unwrap();
    assert!(!client.session().is_admitted());
    let aside = client.session().aside().unwrap();
    assert!(aside.take(RequestId::new(1), Command::Ping).is_some());
}

#[tokio::test(start_paused = true)]
async fn a_ping_is_answered_and_counted_later() {
    let node = Node::start(|broker| {
        broker.limits(|limits| {
            limits.commands_burst = 5.try_into().unwrap();
            limits.commands_per_second = 1.try_into().unwrap();
        })
    })
    .await;
    let mut client = node.client().await;
    let aside = client.session().aside().unwrap();
    for number in 1..=9 {
        assert!(aside.take(RequestId::new(number), Command::Ping).is_none());
    }
    assert_eq!(replies(&mut client).await.len(), 9);
    let line = client.call(publish("t")).await;
    assert!(line[0].starts_with("1: error rate_limited"), "{line:?}");
    // Nobody can have ever so many answered before any is counted.
    let answered = (1..=100).filter(|n| aside.take(RequestId::new(*n), Command::Ping).is_none()).count();
    assert_eq!(answered, 16);
    assert_eq!(client.send(Command::Ping).await.unwrap_err().kind, CloseKind::RateLimited);
}

#[tokio::test(start_paused = true)]
async fn an_answer_over_the_limit_is_an_error_to_both() {
    let node = Node::start(|broker| broker.limits(|limits| limits.max_message = 10)).await;
    let mut client = node.client().await;
    let aside = client.session().aside().unwrap();
    let call = calling(node.broker.clients().call("seen", "?"));
    let name = asked(&mut client).await;
    assert!(aside.take(RequestId::new(3), answer(&name, "x".repeat(11))).is_none());
    assert_eq!(client.read().await, ["3: error too_large data 11>10"]);
    let error = answers(call).await.one();
    assert!(matches!(&error, Err(CallError::Client(error)) if error.code == "too_large"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn without_room_for_the_reply_an_answer_has_its_turn() {
    let node = Node::start(|broker| broker.limits(|limits| limits.control_bytes = 1000)).await;
    let mut client = node.client().await;
    let aside = client.session().aside().unwrap();
    client.wire.shut();
    let call = calling(node.broker.clients().call("seen", "x".repeat(700)));
    idle().await;
    assert!(aside.take(RequestId::new(1), Command::Ping).is_some());
    assert!(aside.take(RequestId::new(2), answer("s1", "yes")).is_some());
    assert!(!call.is_finished());
    assert!(aside.take(None, answer("s1", "yes")).is_none(), "it has no reply");
    assert!(answers(call).await.is_complete());
    client.wire.open();
}
