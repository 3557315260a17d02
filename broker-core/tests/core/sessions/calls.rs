//! Calls of clients: who is answered what, in which order, and what is left behind.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use fanfare_core::{
    Broker, BrokerBuilder,
    calls::{CallConfig, ClientCall},
    message::Payload,
    policy::Rules,
    session::{CallCommand, CloseKind, Command, ErrorCode, PublishCommand, Refusal},
};
use tokio::{
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::support::{Node, TestClient, idle, waits};

fn call(method: &str, payload: impl Into<Payload>) -> Command {
    Command::Call(CallCommand::new(method, payload))
}

async fn echo(call: ClientCall) -> Result<Payload, Refusal> {
    Ok(call.payload)
}

/// Serves `hold`, which answers when there is a permit, and says how many are being served.
fn holding(broker: BrokerBuilder, config: CallConfig) -> (BrokerBuilder, Arc<Semaphore>, Arc<AtomicUsize>) {
    let (permits, running) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (of_handler, counted) = (permits.clone(), running.clone());
    let broker = broker.on_call_with("hold", config, move |call| {
        let (permits, running) = (of_handler.clone(), counted.clone());
        async move {
            let _counted = Counted::new(&running);
            permits.acquire().await.map_err(|_| Refusal::forbidden("closed"))?.forget();
            Ok(call.payload)
        }
    });
    (broker, permits, running)
}

/// Counts itself as long as it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn node(set: impl FnOnce(BrokerBuilder) -> BrokerBuilder) -> Node {
    Node::start(|broker| set(broker).on_call("echo", echo)).await
}

#[tokio::test(start_paused = true)]
async fn a_method_answers_with_a_payload_or_a_refusal() {
    let node = node(|broker| {
        broker
            .on_call("no", |_| async { Err(Refusal::new(ErrorCode::RateLimited, "later")) })
            .on_call("who", |call| async move {
                Ok(format!("{} by {}", call.method, call.client.transport).into())
            })
    })
    .await;
    let mut client = node.client().await;
    assert_eq!(client.call(call("echo", "hi")).await, ["1: called hi"]);
    assert_eq!(client.call(call("no", "hi")).await, ["2: error rate_limited retry"]);
    assert_eq!(client.call(call("who", "hi")).await, ["3: called who by test"]);
    assert_eq!(client.call(call("what", "hi")).await, ["4: error no_such_method method"]);
    assert_eq!(client.call(call("no method", "hi")).await, ["5: error no_such_method method"]);
    // Without a number only an error is answered.
    client.session().handle(None, call("echo", "hi")).await.unwrap();
    client.session().handle(None, call("what", "hi")).await.unwrap();
    assert_eq!(client.read().await, ["-: error no_such_method method"]);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_calls_at_once_are_answered_each_to_its_caller() {
    let node = node(|broker| {
        broker.on_call("slow", |call| async move {
            tokio::time::sleep(Duration::from_millis(fastrand(&call))).await;
            Ok(format!("{} {}", call.client.id, call.payload.as_str().unwrap()).into())
        })
    })
    .await;
    let mut all = JoinSet::new();
    for number in 0..1000 {
        let node = node.clone();
        all.spawn(async move {
            let mut client = node.client().await;
            let expected = format!("1: called {} {number}", client.session().client().unwrap());
            client.send(call("slow", number.to_string())).await.unwrap();
            tokio::time::timeout(Duration::from_secs(60), async {
                loop {
                    let lines = client.read().await;
                    if !lines.is_empty() {
                        return (lines, expected);
                    }
                }
            })
            .await
            .unwrap()
        });
    }
    while let Some(answered) = all.join_next().await {
        let (lines, expected) = answered.unwrap();
        assert_eq!(lines, [expected]);
    }
}

/// A time of its own for each call.
fn fastrand(call: &ClientCall) -> u64 {
    call.payload.as_str().unwrap().parse::<u64>().unwrap() * 7919 % 500
}

#[tokio::test(start_paused = true)]
async fn of_one_client_each_call_is_answered_under_its_own_number() {
    let concurrent = CallConfig::new().concurrent(64);
    let node = node(|broker| {
        broker.limits(|limits| limits.commands_burst = 2000.try_into().unwrap()).on_call_with(
            "slow",
            concurrent,
            |call| async move {
                tokio::time::sleep(Duration::from_millis(fastrand(&call))).await;
                Ok(call.payload)
            },
        )
    })
    .await;
    let mut client = node.client().await;
    let mut lines = Vec::new();
    for number in 1..=1000 {
        let id = client.next_id();
        client.session().handle(id, call("slow", number.to_string())).await.unwrap();
        lines.extend(client.lines());
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while lines.len() < 1000 && Instant::now() < deadline {
        lines.extend(client.read().await);
    }
    let in_order = (1..=1000).map(|n| format!("{n}: called {n}")).collect::<Vec<_>>();
    assert_ne!(lines, in_order, "they take their own times");
    lines.sort_by_key(|line| line.split(':').next().unwrap().parse::<u32>().unwrap());
    assert_eq!(lines, in_order);
    assert!(!client.session().has_pending(), "nothing is left");
}

#[tokio::test(start_paused = true)]
async fn the_next_command_waits_for_a_call_unless_it_is_a_ping() {
    let mut held = None;
    let node = node(|broker| {
        let (broker, permits, _) = holding(broker, CallConfig::new());
        held = Some(permits);
        broker
    })
    .await;
    let permits = held.unwrap();
    let mut client = node.client().await;
    assert!(client.call(call("hold", "first")).await.is_empty());
    assert_eq!(client.call(Command::Ping).await, ["2: pong"]);
    {
        let id = client.next_id();
        let publish = Command::Publish(PublishCommand::new("t", "x"));
        let mut next = pin!(client.session().handle(id, publish));
        assert!(waits(&mut next));
        permits.add_permits(1);
        timeout(Duration::from_secs(60), next).await.unwrap().unwrap();
    }
    assert_eq!(client.read().await, ["1: called first", "3: published"]);
}

#[tokio::test(start_paused = true)]
async fn so_many_calls_of_a_method_run_at_once_and_no_more() {
    let mut held = None;
    let node = node(|broker| {
        let (broker, permits, running) = holding(broker, CallConfig::new().concurrent(2));
        held = Some((permits, running));
        broker
    })
    .await;
    let (permits, running) = held.unwrap();
    let mut client = node.client().await;
    client.send(call("hold", "one")).await.unwrap();
    client.send(call("hold", "two")).await.unwrap();
    assert_eq!(client.call(call("echo", "beside them")).await, ["3: called beside them"]);
    assert_eq!(running.load(Ordering::SeqCst), 2);
    {
        let id = client.next_id();
        let mut third = pin!(client.session().handle(id, call("hold", "three")));
        assert!(waits(&mut third));
        permits.add_permits(1);
        timeout(Duration::from_secs(60), third).await.unwrap().unwrap();
    }
    assert_eq!(client.read().await, ["1: called one"]);
    assert_eq!(running.load(Ordering::SeqCst), 2);
    permits.add_permits(2);
    assert_eq!(client.read().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_most_specific_method_serves() {
    let node = node(|broker| {
        broker
            .on_call("room.*", |call| async move { Ok(format!("any {}", call.method).into()) })
            .on_call("room.open", |_| async { Ok("first".into()) })
            .on_call("room.open", |_| async { Ok("second".into()) })
            .on_call(">", |_| async { Ok("fallback".into()) })
    })
    .await;
    let mut client = node.client().await;
    assert_eq!(client.call(call("room.open", "")).await, ["1: called second"]);
    assert_eq!(client.call(call("room.close", "")).await, ["2: called any room.close"]);
    assert_eq!(client.call(call("else", "")).await, ["3: called fallback"]);
    assert_eq!(client.call(call("$sys", "")).await, ["4: error no_such_method method"]);
}

#[tokio::test(start_paused = true)]
async fn a_method_that_panics_is_an_error_and_the_connection_lives() {
    let node = node(|broker| {
        broker
            .on_call("at.once", |call| {
                assert!(call.payload.is_empty(), "before there is a future");
                async { Ok("".into()) }
            })
            .on_call("later", |_| async {
                tokio::task::yield_now().await;
                panic!("in the future")
            })
    })
    .await;
    let mut client = node.client().await;
    assert_eq!(client.call(call("at.once", "x")).await, ["1: error internal retry"]);
    assert_eq!(client.call(call("later", "x")).await, ["2: error internal retry"]);
    assert_eq!(client.call(call("echo", "alive")).await, ["3: called alive"]);
}

#[tokio::test(start_paused = true)]
async fn a_method_that_takes_too_long_is_dropped_and_answered_timeout() {
    let mut held = None;
    let node = node(|broker| {
        let (broker, permits, running) = holding(broker, CallConfig::new());
        held = Some((permits, running));
        let longer = CallConfig::new().timeout(Duration::from_secs(90));
        broker.on_call_with("longer", longer, |_| async {
            tokio::time::sleep(Duration::from_secs(80)).await;
            Ok("done".into())
        })
    })
    .await;
    let (permits, running) = held.unwrap();
    let mut client = node.client().await;
    client.send(call("hold", "x")).await.unwrap();
    assert_eq!(running.load(Ordering::SeqCst), 1);
    let began = Instant::now();
    let line = loop {
        if let Some(line) = client.read().await.pop() {
            break line;
        }
        assert!(began.elapsed() < Duration::from_secs(31));
    };
    assert_eq!(line, "1: error timeout retry");
    assert!(began.elapsed() >= Duration::from_secs(29));
    assert_eq!(running.load(Ordering::SeqCst), 0, "it was dropped");
    permits.add_permits(1);
    assert!(client.read().await.is_empty(), "it does not answer any more");
    assert!(!client.session().has_pending());

    client.send(call("longer", "x")).await.unwrap();
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(79) {
        assert!(client.read().await.is_empty());
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(client.read().await, ["2: called done"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_over_the_limit_is_said_in_both_directions() {
    let node = node(|broker| {
        broker
            .limits(|limits| limits.max_message = 10)
            .on_call("long", |_| async { Ok("x".repeat(11).into()) })
    })
    .await;
    let mut client = node.client().await;
    assert_eq!(client.call(call("echo", "x".repeat(10))).await, [format!("1: called {}", "x".repeat(10))]);
    assert_eq!(client.call(call("echo", "x".repeat(11))).await, ["2: error too_large data 11>10"]);
    assert_eq!(client.call(call("long", "")).await, ["3: error too_large data 11>10"]);
}

#[tokio::test(start_paused = true)]
async fn the_policy_decides_on_each_call() {
    let rules = Rules::new().call("room.*").unwrap();
    let broker = Broker::builder().policy(rules).shards(1).on_call("room.open", echo).on_call("admin", echo);
    let mut client = Node::of(broker.start().await.unwrap()).client().await;
    assert_eq!(client.call(call("room.open", "x")).await, ["1: called x"]);
    assert_eq!(client.call(call("admin", "x")).await, ["2: error forbidden method"]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_calls_is_told_and_ended() {
    let node = node(|broker| broker.limits(|limits| limits.commands_burst = 10.try_into().unwrap())).await;
    let mut client = node.client().await;
    let mut over = None;
    for _ in 0..100 {
        if let Err(reason) = client.send(call("echo", "x")).await {
            over = Some(reason);
            break;
        }
    }
    assert_eq!(over.unwrap().kind, CloseKind::RateLimited);
    assert!(client.lines().iter().any(|line| line.contains("error rate_limited")));
}

#[tokio::test(start_paused = true)]
async fn the_handler_of_a_client_that_leaves_is_dropped_before_the_hooks_run() {
    let journal = Arc::new(Mutex::new(Vec::new()));
    let mut held = None;
    let node = node(|broker| {
        let (broker, permits, running) = holding(broker, CallConfig::new());
        held = Some((permits, running.clone()));
        let journal = journal.clone();
        broker.on_disconnecting(move |_, _, reason| {
            let line = format!("{} {}", reason.name(), running.load(Ordering::SeqCst));
            journal.lock().unwrap().push(line);
            async {}
        })
    })
    .await;
    let (_permits, running) = held.unwrap();
    for close in [true, false] {
        let mut client = node.client().await;
        client.send(call("hold", "x")).await.unwrap();
        assert_eq!(running.load(Ordering::SeqCst), 1);
        let session = client.into_session();
        if close {
            session.close(CloseKind::Normal.into()).await;
        } else {
            drop(session);
        }
        idle().await;
    }
    assert_eq!(*journal.lock().unwrap(), ["normal 0", "lost 0"]);
}

#[tokio::test(start_paused = true)]
async fn draining_waits_for_the_handlers_that_run() {
    let mut held = None;
    let node = node(|broker| {
        let (broker, permits, _) = holding(broker, CallConfig::new().concurrent(2));
        held = Some(permits);
        broker
    })
    .await;
    let permits = held.unwrap();
    let mut client = node.client().await;
    client.send(call("hold", "x")).await.unwrap();
    let broker = node.broker.clone();
    let draining = tokio::spawn(async move { broker.drain(Duration::from_secs(10)).await });
    assert!(client.read().await.is_empty());
    assert_eq!(client.call(call("echo", "x")).await, ["2: error draining retry"]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(client.read().await.is_empty(), "not even a close");
    permits.add_permits(1);
    let lines = told(&mut client).await;
    assert_eq!(lines, ["1: called x", "close 4200 draining retry"]);
    client.into_session().close(CloseKind::Draining.into()).await;
    assert!(draining.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn draining_does_not_wait_for_ever() {
    let mut held = None;
    let node = node(|broker| {
        let (broker, permits, running) = holding(broker, CallConfig::new());
        held = Some((permits, running));
        broker
    })
    .await;
    let (_permits, running) = held.unwrap();
    let mut client = node.client().await;
    client.send(call("hold", "x")).await.unwrap();
    let broker = node.broker.clone();
    let draining = tokio::spawn(async move { broker.drain(Duration::from_secs(3)).await });
    while client.over().await.is_none() {}
    client.into_session().close(CloseKind::Draining.into()).await;
    assert!(!draining.await.unwrap(), "not all was done");
    assert_eq!(running.load(Ordering::SeqCst), 0);
}

/// All lines until the connection is over.
async fn told(client: &mut TestClient) -> Vec<String> {
    let mut lines = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(60);
    while client.over().await.is_none() {
        assert!(Instant::now() < deadline);
    }
    lines.extend(client.lines());
    lines
}
