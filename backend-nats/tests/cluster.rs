//! A cluster of three real servers: leaders that change, and servers that say goodbye.

mod support;

use std::time::Duration;

use fanfare_core::{Broker, backend::BackendState, message::MessageParts, topic::TopicConfig};
use fanfare_testkit::{
    faults::{LOGGED, Losses, retention},
    server::Program,
};
use futures_util::future::join_all;
use support::{cluster::NatsCluster, lone, on_both, topic, world};
use tokio::{sync::watch, time::sleep};

on_both! {
    a_leader_steps_down_and_nothing_logged_is_lost
    a_leader_is_killed_and_nothing_logged_is_lost
    nodes_leave_a_server_that_says_goodbye
    one_of_many_with_the_same_id_is_stored
}

/// Between two faults everything works.
const CALM: Duration = Duration::from_millis(300);

/// For so long a node that moves is on two servers, at the most.
const BY_BOTH: Duration = Duration::from_secs(2);

/// Three servers have each message.
async fn a_leader_steps_down_and_nothing_logged_is_lost(program: Program) {
    let Some(cluster) = NatsCluster::start(program).await else { return };
    let world = world(cluster.builder(&[0, 1, 2]), cluster.builder(&[0, 1, 2])).await;
    world.check().await;
    for _ in 0..3 {
        sleep(CALM).await;
        cluster.until_current().await;
        cluster.step_down().await;
        world.check().await;
    }
    let losses = world.end("a leader steps down").await;
    assert_eq!(losses.logged, 0, "three servers have each message");
}

/// The nodes stay connected to other servers, or go to them.
async fn a_leader_is_killed_and_nothing_logged_is_lost(program: Program) {
    let Some(mut cluster) = NatsCluster::start(program).await else { return };
    let world = world(cluster.builder(&[0, 1, 2]), cluster.builder(&[1, 2, 0])).await;
    world.check().await;
    for _ in 0..3 {
        sleep(CALM).await;
        cluster.until_current().await;
        let leader = cluster.leader(0).await;
        cluster.servers[leader].kill();
        world.check().await;
        cluster.servers[leader].restart().await.expect("a server");
        cluster.until_formed(&[0, 1, 2]).await;
        world.until_both(BackendState::Up).await;
        world.check().await;
    }
    let losses = world.end("a leader is killed").await;
    assert_eq!(losses.logged, 0, "three servers have each message");
}

/// A server is going to end, and says so: the nodes move to another one before it does. Nothing is lost, and nobody notices: neither
/// subscribers, who are told of no gap, nor who asks whether the backend is up.
async fn nodes_leave_a_server_that_says_goodbye(program: Program) {
    let lines = ["lame_duck_grace_period: \"20s\"", "lame_duck_duration: \"30s\""];
    let Some(mut cluster) = NatsCluster::with(program, &lines).await else { return };
    let world = world(cluster.builder(&[0, 1, 2]), cluster.builder(&[0, 1, 2])).await;
    world.check().await;
    let mut states = [&world.publisher, &world.listener].map(Broker::backend_state);
    states.iter_mut().for_each(watch::Receiver::mark_unchanged);
    for _ in 0..2 {
        sleep(CALM).await;
        cluster.until_current().await;
        let duck = cluster.busiest().await;
        cluster.servers[duck].lame_duck().expect("a signal");
        // It does not answer any more who is there: the others do.
        let moved = async {
            while cluster.nodes_beside(duck).await < 2 {
                sleep(Duration::from_millis(20)).await;
            }
            sleep(BY_BOTH).await;
        };
        let moved = tokio::time::timeout(Duration::from_secs(14), moved).await;
        assert!(moved.is_ok(), "they stay until it throws them out");
        world.check().await;
        cluster.servers[duck].kill();
        world.check().await;
        cluster.servers[duck].restart().await.expect("a server");
        cluster.until_formed(&[0, 1, 2]).await;
    }
    let is_undisturbed = states.iter().all(|state| !state.has_changed().expect("a broker"));
    let losses = world.end("lame duck").await;
    assert_eq!(losses, Losses::default(), "nothing is lost, and no gap is told");
    assert!(is_undisturbed, "they are up all the time");
}

/// Servers that have to agree on a message first cannot tell its place when the same one comes again.
async fn one_of_many_with_the_same_id_is_stored(program: Program) {
    let Some(cluster) = NatsCluster::start(program).await else { return };
    let nodes = join_all([0, 1, 2].map(async |server| lone(cluster.builder(&[server])).await)).await;
    let kept = retention(&TopicConfig::new().history(1000));
    for round in 0..30 {
        let hand_over = |index: usize| {
            let mut parts = MessageParts::new(topic(LOGGED), round.to_string());
            parts.message_id = Some(format!("round {round}").into());
            nodes[index % nodes.len()].hand_over_parts(parts, Some(kept))
        };
        let answers = join_all((0..12).map(hand_over)).await;
        let accepted: Vec<_> = answers
            .into_iter()
            .map(|answer| answer.unwrap_or_else(|error| panic!("{round}: {error}")))
            .collect();
        assert_eq!(accepted.iter().filter(|accepted| !accepted.duplicate).count(), 1, "round {round}");
        assert!(accepted.iter().all(|other| other.position == accepted[0].position), "{accepted:?}");
    }
    for node in nodes {
        node.end().await;
    }
}
