//! Calls of the server: what bounds them.

use std::{future::IntoFuture, sync::Arc, time::Duration};

use fanfare_core::session::Handshake;
use tokio::time::timeout;

use super::asked::{OneWay, answer, answers, asked, calling};
use crate::support::{Node, idle, waits};

#[tokio::test(start_paused = true)]
async fn a_call_that_a_client_was_not_told_takes_no_place() {
    let node = Node::start(|broker| {
        broker.limits(|limits| (limits.control_bytes, limits.calls_to_client) = (1000, 3))
    })
    .await;
    let mut client = node.client().await;
    client.wire.shut();
    let call = |length: usize| calling(node.broker.clients().call("seen", "x".repeat(length)));
    let open: Vec<_> = [400, 400, 400].map(call).into();
    idle().await;
    assert!(open[2].is_finished(), "there is no room to tell it");
    client.wire.open();
    assert_eq!(client.read().await.len(), 2);
    let third = call(1);
    let name = asked(&mut client).await;
    client.send(answer(&name, "yes")).await.unwrap();
    assert!(answers(third).await.is_complete());
}

#[tokio::test(start_paused = true)]
async fn a_crowd_does_not_keep_everything_else_waiting() {
    let node = Node::start(|broker| broker).await;
    let one_way = node.broker.register(Arc::new(OneWay)).unwrap();
    let mut clients = Vec::new();
    for (count, takes_turns) in [(20, false), (100, true)] {
        while clients.len() < count {
            clients.push(node.broker.connect(Handshake::new("sse"), &one_way).await.unwrap());
        }
        // None of them can answer, so nothing is waited for.
        let mut call = node.broker.clients().call("seen", "?").into_future();
        assert_eq!(waits(&mut call), takes_turns, "{count}");
        if takes_turns {
            assert_eq!(call.await.unwrap().asked, count);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_longest_time_there_is_may_be_given() {
    let node = Node::start(|broker| broker).await;
    let mut client = node.client().await;
    let call = tokio::spawn(node.broker.clients().call("seen", "?").timeout(Duration::MAX).into_future());
    let name = asked(&mut client).await;
    client.send(answer(&name, "yes")).await.unwrap();
    let answered = timeout(Duration::from_secs(60), call).await.unwrap().unwrap();
    assert!(answered.unwrap().is_complete());
}
