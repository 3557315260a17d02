//! What a health probe and a dashboard are told.

use std::time::Duration;

use fanfare_core::{
    backend::BackendState,
    session::{Command, PublishCommand},
};

use super::Two;
use crate::support::idle;

#[tokio::test(start_paused = true)]
async fn a_node_is_ready_while_its_backend_can_be_reached_and_it_does_not_drain() {
    let two = Two::start().await;
    let state = two.here.broker.backend_state();
    assert!(two.here.broker.is_ready());
    two.faulty.hub.set_connected(false);
    assert!(!two.here.broker.is_ready());
    assert_eq!((*state.borrow(), two.here.broker.stats().backend), (BackendState::Down, BackendState::Down));
    two.faulty.hub.set_connected(true);
    assert!(two.here.broker.is_ready());
    two.here.broker.drain(Duration::from_secs(1)).await;
    assert!(!two.here.broker.is_ready());
}

#[tokio::test(start_paused = true)]
async fn publishes_in_flight_are_counted() {
    let two = Two::start().await;
    two.faulty.hang("publish");
    let mut client = two.here.client().await;
    for topic in ["t", "log.a"] {
        client.send(Command::Publish(PublishCommand::new(topic, "1"))).await.unwrap();
    }
    assert_eq!(two.here.broker.stats().publishes_in_flight, 2);
    tokio::time::sleep(2 * two.here.broker.limits().backend_timeout).await;
    client.read().await;
    idle().await;
    assert_eq!(two.here.broker.stats().publishes_in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn the_longest_lag_is_told() {
    let two = Two::start().await;
    let mut client = two.here.client().await;
    client.subscribe("t").await;
    assert_eq!(two.here.broker.stats().oldest_lag, Duration::ZERO);
    client.wire.shut();
    two.here.broker.publish("t", "1").await.unwrap();
    idle().await;
    tokio::time::sleep(Duration::from_secs(7)).await;
    let stats = two.here.broker.stats();
    assert_eq!((stats.lagging, stats.oldest_lag.as_secs()), (1, 7));
    client.wire.open();
    client.read().await;
    assert_eq!(two.here.broker.stats().oldest_lag, Duration::ZERO);
}
