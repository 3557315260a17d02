//! Test clients, as an app's author uses them.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use fanfare_core::{
    Broker,
    policy::{Action, Admission, Identity, Open, Policy, Verdict},
    presence::PresenceConfig,
    session::{Handshake, Refusal},
    topic::TopicConfig,
};
use fanfare_testkit::{TestBroker, transport::Event};
use serde_json::json;

async fn open() -> TestBroker {
    let log = TopicConfig::new().history(100);
    TestBroker::start(Broker::builder().policy(Open).topic("log.*", log)).await
}

#[tokio::test(start_paused = true)]
async fn what_one_publishes_others_get() {
    let app = open().await;
    let (mut ann, mut bob) = (app.connect().await, app.connect().await);
    assert_ne!(ann.name(), bob.name());
    ann.subscribe("chat.*").await;
    bob.publish("chat.lobby", "hello").await;
    bob.publish_json("chat.lobby", json!({ "n": 1 })).await;
    app.publish("chat.other", vec![0_u8, 255]).await.unwrap();
    let first = ann.message().await;
    assert_eq!((&*first.topic, first.text()), ("chat.lobby", "hello"));
    assert_eq!(ann.message().await.text(), r#"{"n":1}"#);
    assert_eq!(ann.message().await.payload.bytes()[..], [0, 255]);
    bob.nothing().await;
    ann.unsubscribe("chat.*").await;
    bob.publish("chat.lobby", "anybody?").await;
    ann.nothing().await;
}

#[tokio::test(start_paused = true)]
async fn private_messages_reach_all_tabs_of_a_user_or_one() {
    let app = TestBroker::start(Broker::builder().policy(Users)).await;
    let (mut tab, mut other_tab) = (app.connect_as("ann").await, app.connect_as("ann").await);
    let mut bob = app.connect_as("bob").await;
    app.publish("$user.ann", "for ann").await.unwrap();
    app.publish("$all", "for all").await.unwrap();
    app.publish(tab.address().as_str(), "for this tab").await.unwrap();
    for client in [&mut tab, &mut other_tab] {
        let message = client.message().await;
        assert_eq!((&*message.topic, message.text()), ("$user.ann", "for ann"));
    }
    for client in [&mut tab, &mut other_tab, &mut bob] {
        assert_eq!(client.message().await.text(), "for all");
    }
    assert_eq!(tab.message().await.text(), "for this tab");
    other_tab.nothing().await;
    bob.nothing().await;
}

#[tokio::test(start_paused = true)]
async fn who_was_cut_off_gets_what_it_missed() {
    let app = open().await;
    let (mut ann, mut bob) = (app.connect().await, app.connect().await);
    ann.subscribe("log.a").await;
    bob.publish("log.a", "1").await;
    // It has come, whether the test has asked for it or not.
    tokio::time::sleep(Duration::from_millis(10)).await;
    ann.cut();
    bob.publish("log.a", "2").await;
    ann.reconnect().await;
    bob.publish("log.a", "3").await;
    for text in ["1", "2", "3"] {
        assert_eq!(ann.message().await.text(), text);
    }
    ann.nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_session_is_taken_up_after_a_cut() {
    let builder = Broker::builder().policy(Open).topic("log.>", TopicConfig::new().history(10));
    let server = TestBroker::start(builder).await;
    let mut ann = server.connect().await;
    let name = ann.name().to_owned();
    ann.subscribe("log.a").await;
    ann.subscribe("now").await;
    let client = name.parse().unwrap();
    server.clients().client(client).subscribe("log.server").await.unwrap();
    assert_eq!(ann.subscribed_by_server().await, "log.server");
    ann.cut();
    server.publish("log.a", "1").await.unwrap();
    server.publish("log.server", "2").await.unwrap();
    ann.reconnect().await;
    assert!(ann.is_resumed());
    assert_eq!(ann.name(), name);
    let mut came = Vec::new();
    while came.len() < 3 {
        match ann.next().await {
            Event::Message { topic, payload } => came.push(format!("{topic} {}", payload.as_str().unwrap())),
            Event::Gap { topic, .. } => came.push(format!("{topic} gap")),
            Event::Live { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    came.sort();
    assert_eq!(came, ["log.a 1", "log.server 2", "now gap"]);
    server.clients().revoke("log.*").await.unwrap();
    let mut ended = [ann.unsubscribed_by_server().await, ann.unsubscribed_by_server().await];
    ended.sort();
    assert_eq!(ended.map(|(topic, code)| format!("{topic} {code}")), ["log.a revoked", "log.server revoked"]);
    ann.cut();
    ann.reconnect_as_new().await;
    assert!(!ann.is_resumed() && ann.name() != name);
    server.publish("now", "3").await.unwrap();
    assert_eq!(ann.message().await.text(), "3");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_told_what_it_lost() {
    let app = open().await;
    let (mut slow, mut other) = (app.connect().await, app.connect().await);
    for client in [&mut slow, &mut other] {
        client.subscribe("news").await;
    }
    slow.stop_reading();
    let long = "x".repeat(1000);
    for n in 0..2_000 {
        app.publish("news", format!("{n} {long}")).await.unwrap();
        assert!(other.message().await.text().starts_with(&format!("{n} ")));
    }
    slow.start_reading();
    let mut next = 0;
    while next < 2_000 {
        next += match slow.next().await {
            Event::Message { payload, .. } => {
                assert!(payload.as_str().unwrap().starts_with(&format!("{next} ")));
                1
            }
            Event::Gap { missed, .. } => missed.unwrap(),
            other => panic!("{other:?}"),
        };
    }
    assert!(app.stats().dropped > 0);
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_counted() {
    let queue = TopicConfig::new().queue_messages(5);
    let app = TestBroker::start(Broker::builder().policy(Open).topic("news", queue)).await;
    let mut slow = app.connect().await;
    slow.subscribe("news").await;
    slow.stop_reading();
    let long = "x".repeat(10_000);
    let total = 100;
    for n in 0..total {
        app.publish("news", format!("{n} {long}")).await.unwrap();
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    slow.start_reading();
    let mut before = 0;
    let missed = loop {
        match slow.next().await {
            Event::Message { .. } => before += 1,
            Event::Gap { missed, .. } => break missed.unwrap(),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(before + missed + 5, total);
    for _ in 0..5 {
        slow.message().await;
    }
    slow.nothing().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_client_lives_for_hours_and_a_deaf_one_does_not() {
    let app = open().await;
    let (mut idle, mut deaf) = (app.connect().await, app.connect().await);
    idle.subscribe("t").await;
    deaf.stop_reading();
    tokio::time::sleep(Duration::from_secs(3 * 3600)).await;
    assert_eq!(app.stats().connections, 1);
    app.publish("t", "still there").await.unwrap();
    assert_eq!(idle.message().await.text(), "still there");
    deaf.start_reading();
    // What it was told last, it was told before it could answer.
    assert_eq!(deaf.closed().await, "lost");
}

#[tokio::test(start_paused = true)]
async fn draining_and_hooks_are_seen() {
    let ended = Arc::new(AtomicUsize::new(0));
    let count = ended.clone();
    let builder = Broker::builder().policy(Open).on_disconnected(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(())
    });
    let app = TestBroker::start(builder).await;
    let mut client = app.connect().await;
    let broker = Broker::clone(&app);
    let drained = tokio::spawn(async move { broker.drain(Duration::from_secs(5)).await });
    assert_eq!(client.closed().await, "draining");
    assert!(drained.await.unwrap());
    assert_eq!(ended.load(Ordering::SeqCst), 1);
    assert!(app.try_connect_as("whoever").await.is_err());
}

/// Tokens are users; `mallory` is not let in, and `secret` is Ann's.
struct Users;

#[async_trait]
impl Policy for Users {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        match handshake.credential() {
            Some("mallory") => Err(Refusal::forbidden("not you")),
            Some(user) => Ok(Admission::Accept(Identity::user(user))),
            None => Err(Refusal::unauthenticated("who are you?")),
        }
    }

    fn authorize<'a>(&'a self, who: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        match action {
            Action::Subscribe(topic) if topic.as_str() == "secret" && who.user.as_deref() != Some("ann") => {
                Verdict::deny(Refusal::forbidden("it is a secret"))
            }
            _ => Verdict::allow(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_policy_is_asked() {
    let app = TestBroker::start(Broker::builder().policy(Users)).await;
    assert_eq!(app.try_connect_as("mallory").await.unwrap_err().0, "forbidden");
    let (mut ann, mut bob) = (app.connect_as("ann").await, app.connect_as("bob").await);
    ann.subscribe("secret").await;
    assert_eq!(bob.try_subscribe("secret").await.unwrap_err()["code"], "forbidden");
    let wrong = bob.try_publish(json!({ "topic": "a..b", "data": 1 })).await.unwrap_err();
    assert_eq!(wrong["code"], "invalid_topic");
}

#[tokio::test(start_paused = true)]
async fn clients_call_and_are_called() {
    let builder = Broker::builder().policy(Open).on_call("double", |call| async move {
        let number: Option<i64> = call.payload.as_str().and_then(|text| text.parse().ok());
        let number = number.ok_or_else(|| Refusal::invalid_payload("a number, please"))?;
        Ok(fanfare_core::message::Payload::parsed_json((2 * number).to_string())?)
    });
    let builder = builder.on_call("greet", |call| async move {
        let name = call.broker.clients().client(call.client.id).call("name", "?").await;
        let name = name.ok().and_then(|answers| answers.one().ok());
        Ok(format!("hello, {}", name.as_ref().and_then(|name| name.as_str()).unwrap_or("nobody")).into())
    });
    let app = TestBroker::start(builder).await;
    let (mut ann, mut bob) = (app.connect().await, app.connect().await);
    assert_eq!(ann.call("double", 21).await, 42);
    assert_eq!(ann.try_call("double", "x").await.unwrap_err()["code"], "invalid_payload");
    assert_eq!(ann.try_call("treble", 1).await.unwrap_err()["code"], "no_such_method");

    let broker = (*app).clone();
    let call = tokio::spawn(async move { broker.clients().call("ready", "?").await.unwrap() });
    for (client, answer) in [(&mut ann, Ok(json!("yes"))), (&mut bob, Err(json!({ "code": "busy" })))] {
        let asked = client.asked().await;
        assert_eq!((&*asked.method, asked.payload.as_str()), ("ready", Some("?")));
        client.answer(&asked, answer).await;
    }
    let answers = call.await.unwrap();
    assert!(answers.is_complete());
    assert_eq!(answers.answers.iter().filter(|(_, result)| result.is_ok()).count(), 1);

    // While the client itself waits for an answer.
    ann.serve(|asked| if asked.method == "name" { Ok(json!("Ann")) } else { Err(json!({})) });
    assert_eq!(ann.call("greet", ()).await, json!("hello, \"Ann\""));
    bob.nothing().await;
}

#[tokio::test(start_paused = true)]
async fn a_client_is_told_who_is_there() {
    let rooms = TopicConfig::new().presence(PresenceConfig::new());
    let app = TestBroker::start(Broker::builder().policy(Users).topic("room.*", rooms)).await;
    let (mut ann, mut bob) = (app.connect_as("ann").await, app.connect_as("bob").await);
    bob.subscribe("room.a").await;
    ann.watch("room.a").await;
    let (topic, said) = ann.presence().await;
    assert_eq!((&*topic, &said["clients"]), ("room.a", &json!(2)));
    assert!(said["snapshot"].as_array().unwrap().contains(&json!({ "client": bob.name(), "user": "bob" })));
    let who = bob.who_is_there(json!({ "topic": "room.a", "limit": 1 })).await.unwrap();
    assert_eq!((who["members"].as_array().unwrap().len(), &who["users"]), (1, &json!(2)));
    let next = who["next"].clone();
    let who = bob.who_is_there(json!({ "topic": "room.a", "next": next })).await.unwrap();
    assert!(who["members"].as_array().unwrap().len() == 1 && who.get("next").is_none(), "{who}");
    bob.unsubscribe("room.a").await;
    assert_eq!(ann.presence().await.1, json!({ "leave": [bob.name()], "clients": 1, "users": 1 }));
    // Who comes back is told again.
    ann.cut();
    ann.reconnect().await;
    assert_eq!(ann.gap().await, None, "what the topic carried meanwhile is gone");
    assert_eq!(ann.presence().await.1["users"], 1);
}
