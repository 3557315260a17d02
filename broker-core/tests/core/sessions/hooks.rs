//! Hooks: what they see, what they may do, and that each runs once.

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fanfare_core::{
    Broker, BrokerBuilder,
    message::Payload,
    session::{CloseKind, Command, PublishCommand, Refusal},
    topic::TopicConfig,
};

use crate::support::{Node, idle};

type Journal = Arc<Mutex<Vec<String>>>;

fn note(journal: &Journal, line: String) {
    journal.lock().unwrap().push(line);
}

/// Writes down what the hooks around a connection see.
fn journaling(broker: BrokerBuilder, journal: &Journal) -> BrokerBuilder {
    let (connected, disconnecting, disconnected) = (journal.clone(), journal.clone(), journal.clone());
    broker
        .on_connected(move |client| {
            note(&connected, format!("connected by {}", client.transport));
            async {}
        })
        .on_disconnecting(move |_, mut topics, reason| {
            topics.sort();
            note(&disconnecting, format!("disconnecting {topics:?} {}", reason.name()));
            async {}
        })
        .on_disconnected(move |_, reason| {
            note(&disconnected, format!("disconnected {}", reason.name()));
            async {}
        })
}

#[tokio::test(start_paused = true)]
async fn a_connections_hooks_run_once_and_in_order() {
    let journal = Journal::default();
    let node = Node::start(|broker| journaling(broker, &journal)).await;
    let mut client = node.client().await;
    assert_eq!(*journal.lock().unwrap(), ["connected by test"], "before the first command");
    client.subscribe("b").await;
    client.subscribe("a.*").await;
    client.into_session().close(CloseKind::Normal.into()).await;
    idle().await;
    let expected = ["connected by test", "disconnecting [\"a.*\", \"b\"] normal", "disconnected normal"];
    assert_eq!(*journal.lock().unwrap(), expected);
    assert_eq!(node.broker.stats().subscriptions, 0);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_dropped_runs_them_as_lost() {
    let journal = Journal::default();
    let node = Node::start(|broker| journaling(broker, &journal)).await;
    let mut client = node.client().await;
    client.subscribe("a").await;
    drop(client);
    idle().await;
    let expected = ["connected by test", "disconnecting [\"a\"] lost", "disconnected lost"];
    assert_eq!(*journal.lock().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn who_was_never_admitted_is_nobody_to_the_hooks() {
    struct Await;
    #[async_trait::async_trait]
    impl fanfare_core::policy::Policy for Await {
        async fn connect(
            &self,
            _: &fanfare_core::session::Handshake,
        ) -> Result<fanfare_core::policy::Admission, Refusal> {
            Ok(fanfare_core::policy::Admission::AwaitConnect)
        }
        fn authorize<'a>(
            &'a self,
            _: &'a fanfare_core::policy::Identity,
            _: fanfare_core::policy::Action<'a>,
        ) -> fanfare_core::policy::Verdict<'a> {
            fanfare_core::policy::Verdict::allow()
        }
    }
    let journal = Journal::default();
    let node = Node::start(|broker| journaling(broker, &journal).policy(Await)).await;
    drop(node.client().await);
    idle().await;
    assert!(journal.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_publish_hook_changes_refuses_and_sees_who_it_is() {
    let journal = Journal::default();
    let seen = journal.clone();
    let node = Node::start(|broker| {
        broker.on_publish("chat.*", move |mut publish| {
            note(
                &seen,
                format!("{} {:?} to {}", publish.client.transport, publish.client.user(), publish.topic),
            );
            async move {
                match publish.payload.as_str() {
                    Some("rude") => Err(Refusal::forbidden("be kind")),
                    Some("odd") => Err(Refusal::invalid_payload("what is this?")),
                    Some("move") => {
                        publish.topic = fanfare_core::topic::TopicName::new("elsewhere").unwrap();
                        Ok(publish)
                    }
                    Some(text) => {
                        publish.payload = Payload::text(text.to_uppercase());
                        publish.event = Some("shout".into());
                        Ok(publish)
                    }
                    None => Ok(publish),
                }
            }
        })
    })
    .await;
    let mut client = node.client().await;
    client.subscribe("chat.a").await;
    client.subscribe("elsewhere").await;
    let lines = client.publish("chat.a", "hello").await;
    assert!(lines.contains(&"chat.a HELLO event=shout".to_owned()), "{lines:?}");
    assert_eq!(client.publish("chat.a", "rude").await, ["4: error forbidden"]);
    assert_eq!(client.publish("chat.a", "odd").await, ["5: error invalid_payload"]);
    let lines = client.publish("chat.a", "move").await;
    assert!(lines.contains(&"chat.a move".to_owned()), "a hook cannot change the topic: {lines:?}");
    assert_eq!(journal.lock().unwrap()[0], "test None to chat.a");
    // Other topics, and what the app publishes, pass it by.
    client.publish("other", "rude").await;
    node.broker.publish("chat.a", "rude").await.unwrap();
    assert_eq!(client.read().await, ["chat.a rude"]);
    assert_eq!(journal.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_panics_is_an_error_reply_and_nothing_more() {
    let node = Node::start(|broker| {
        broker
            .on_publish("now", |_| -> std::future::Ready<_> { panic!("in the call") })
            .on_publish("later", |_| async { panic!("in the future") })
            .on_connected(|_| async { panic!("at the start") })
            .on_disconnecting(|_, _, _| async { panic!("at the end") })
    })
    .await;
    let mut client = node.client().await;
    assert_eq!(client.publish("now", "x").await, ["1: error internal retry"]);
    assert_eq!(client.publish("later", "x").await, ["2: error internal retry"]);
    assert_eq!(client.publish("other", "x").await, ["3: published"]);
    client.into_session().close(CloseKind::Normal.into()).await;
    idle().await;
    assert_eq!(node.broker.stats().connections, 0);
}

#[tokio::test(start_paused = true)]
async fn all_hooks_that_match_run_the_most_specific_first() {
    let add = |letter: &'static str| {
        move |mut publish: fanfare_core::hooks::ClientPublish| {
            let text = format!("{}{letter}", publish.payload.as_str().unwrap_or_default());
            publish.payload = Payload::text(text);
            std::future::ready(Ok(publish))
        }
    };
    let node = Node::start(|broker| {
        broker.on_publish(">", add("3")).on_publish("a.*", add("2")).on_publish("a.b", add("1"))
    })
    .await;
    let mut topic = node.broker.subscribe("a.b").await.unwrap();
    let mut client = node.client().await;
    client.publish("a.b", "0").await;
    assert_eq!(crate::support::received(&mut topic).await, ["a.b 0123"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_over_the_limits_never_reaches_a_hook() {
    let journal = Journal::default();
    let seen = journal.clone();
    let node = Node::start(|broker| {
        broker.topic("log", TopicConfig::new().history(1)).limits(|l| l.max_message = 10).on_publish(
            ">",
            move |publish| {
                note(&seen, "ran".to_owned());
                std::future::ready(Ok(publish))
            },
        )
    })
    .await;
    let mut client = node.client().await;
    client.publish("t", &"x".repeat(11)).await;
    let mut named = PublishCommand::new("t", "x");
    named.message_id = Some("m".to_owned());
    client.call(Command::Publish(named)).await;
    assert!(journal.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_a_hook_makes_of_a_message_is_checked_as_well() {
    let node = Node::start(|broker| {
        broker.limits(|l| l.max_message = 10).on_publish(">", |mut publish| async {
            publish.payload = Payload::text("x".repeat(11));
            Ok(publish)
        })
    })
    .await;
    let mut client = node.client().await;
    assert_eq!(client.publish("t", "x").await, ["1: error too_large data 11>10"]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_subscribes_its_client_on_and_on_is_told_where_it_ends() {
    const ROUNDS: usize = 3000;
    /// So far hooks may be behind.
    const BEHIND: usize = 1024;
    let handle: Arc<OnceLock<Broker>> = Arc::default();
    let (inside, heard, tasks) = (handle.clone(), Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(0)));
    let (hearing, counted) = (heard.clone(), tasks.clone());
    let node = Node::start(|broker| {
        broker.on_subscribed(">", move |client, topic| {
            hearing.fetch_add(1, Ordering::Relaxed);
            let (broker, counted) = (inside.get().unwrap().clone(), counted.clone());
            async move {
                if &*topic != "first" {
                    return;
                }
                let (mut made, mut failed) = (0, 0);
                for _ in 0..ROUNDS {
                    let me = || broker.clients().client(client.id);
                    let reached = me().subscribe("again").await.unwrap();
                    (made, failed) = (made + reached.changed, failed + reached.failed);
                    me().unsubscribe("again").await.unwrap();
                    // The client reads what it is told.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                assert_eq!((made, failed), (BEHIND, ROUNDS - BEHIND));
                *counted.lock().unwrap() = tokio::runtime::Handle::current().metrics().num_alive_tasks();
            }
        })
    })
    .await;
    handle.set(node.broker.clone()).unwrap();
    let mut client = node.client().await;
    client.subscribe("first").await;
    assert!(client.over().await.is_none());
    assert_eq!(heard.load(Ordering::Relaxed), 1 + BEHIND, "all that was made is heard of");
    assert!((1..100).contains(&*tasks.lock().unwrap()), "no task waits for each");
    // What is behind it is told, and there is room again.
    let name = client.session().client().unwrap();
    let reached = node.broker.clients().client(name).subscribe("again").await.unwrap();
    assert_eq!((reached.changed, reached.failed), (1, 0));
    idle().await;
    assert_eq!(heard.load(Ordering::Relaxed), 2 + BEHIND);
}
