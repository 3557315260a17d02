//! A cluster of three real servers: leaders that change, and servers that say goodbye.

mod support;

use std::time::Duration;

use fanfare_core::backend::BackendState;
use fanfare_testkit::server::Program;
use support::{cluster::NatsCluster, on_both, world};
use tokio::time::sleep;

on_both! {
    a_leader_steps_down_and_nothing_logged_is_lost
    a_leader_is_killed_and_nothing_logged_is_lost
    nodes_leave_a_server_that_says_goodbye
}

/// Between two faults everything works.
const CALM: Duration = Duration::from_millis(300);

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

/// A server is going to end, and says so: the nodes move to another one before it does, and miss nothing meanwhile.
async fn nodes_leave_a_server_that_says_goodbye(program: Program) {
    let lines = ["lame_duck_grace_period: \"5s\"", "lame_duck_duration: \"30s\""];
    let Some(cluster) = NatsCluster::with(program, &lines).await else { return };
    let world = world(cluster.builder(&[0, 1]), cluster.builder(&[1, 0])).await;
    world.check().await;
    sleep(CALM).await;
    let count = async |server: usize| cluster.admin(server).await.nodes().await.0.len();
    let duck = if count(0).await > 0 { 0 } else { 1 };
    let admin = cluster.admin(duck).await;
    assert!(!admin.nodes().await.0.is_empty());
    cluster.servers[duck].lame_duck().expect("a signal");
    // It takes nobody new, and answers who is there.
    let moved = async {
        while !admin.nodes().await.0.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let moved = tokio::time::timeout(Duration::from_secs(4), moved).await;
    assert!(moved.is_ok(), "they stay until it throws them out");
    world.until_both(BackendState::Up).await;
    world.check().await;
    let losses = world.end("lame duck").await;
    assert_eq!(losses.logged, 0);
}
