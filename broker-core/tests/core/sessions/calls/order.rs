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
