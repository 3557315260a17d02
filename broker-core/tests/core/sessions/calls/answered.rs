//! Who is answered what.

use fanfare_core::{Broker, policy::Rules, session::ErrorCode};
use tokio::task::JoinSet;

use super::*;

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
