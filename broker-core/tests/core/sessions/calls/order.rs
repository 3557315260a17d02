//! What waits for a call, and what does not.

use std::pin::pin;

use fanfare_core::session::PublishCommand;
use tokio::time::timeout;

use super::*;
use crate::support::waits;

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
async fn so_many_calls_of_a_connection_run_at_once_whatever_their_methods_allow() {
    let mut held = None;
    let node = node(|broker| {
        let (broker, permits, running) = holding(broker, CallConfig::new().concurrent(10));
        held = Some((permits, running));
        broker.limits(|limits| limits.calls_in_flight = 2)
    })
    .await;
    let (permits, running) = held.unwrap();
    let mut client = node.client().await;
    client.send(call("hold", "one")).await.unwrap();
    client.send(call("hold", "two")).await.unwrap();
    {
        let id = client.next_id();
        let mut third = pin!(client.session().handle(id, call("hold", "three")));
        assert!(waits(&mut third));
        permits.add_permits(1);
        timeout(Duration::from_secs(60), third).await.unwrap().unwrap();
    }
    assert_eq!(client.read().await, ["1: called one"]);
    assert_eq!(running.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_method_of_which_none_may_run_at_once_runs_one_at_a_time() {
    let node = node(|broker| {
        let (broker, _, _) = holding(broker, CallConfig::new().concurrent(1));
        broker.on_call_with("one", CallConfig::new().concurrent(0), |call| async move { Ok(call.payload) })
    })
    .await;
    let mut client = node.client().await;
    client.send(call("hold", "beside")).await.unwrap();
    let lines = timeout(Duration::from_secs(5), client.call(call("one", "x"))).await.unwrap();
    assert_eq!(lines, ["2: called x"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_call_beside_it_is_not_the_end_of_one_that_is_waited_for() {
    let mut held = None;
    let node = node(|broker| {
        let (broker, permits, _) = holding(broker, CallConfig::new().concurrent(2));
        held = Some(permits);
        broker.on_call("slow", |call| async move {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(call.payload)
        })
    })
    .await;
    let permits = held.unwrap();
    let mut client = node.client().await;
    client.send(call("hold", "beside")).await.unwrap();
    client.send(call("slow", "first")).await.unwrap();
    permits.add_permits(1);
    assert_eq!(client.read().await, ["1: called beside"]);
    {
        let id = client.next_id();
        let mut next = pin!(client.session().handle(id, call("echo", "then")));
        assert!(waits(&mut next), "its turn comes after the slow one");
        timeout(Duration::from_secs(60), next).await.unwrap().unwrap();
    }
    assert_eq!(client.read().await, ["2: called first", "3: called then"]);
}
