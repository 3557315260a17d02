//! Logs that are trimmed: while they are read, and by nodes of which others know more.

mod support;

use std::time::Duration;

use fanfare_core::topic::TopicConfig;
use fanfare_testkit::{
    faults::{LOGGED, logs, retention},
    server::Program,
};
use futures_util::future::join_all;
use support::{PATIENCE, Setup, lone, on_both};
use tokio::time::Instant;

on_both! {
    a_page_claims_nothing_of_what_is_trimmed_while_it_is_read
    a_node_hears_that_another_one_has_the_stream_hold_more
}

async fn a_page_claims_nothing_of_what_is_trimmed_while_it_is_read(program: Program) {
    // By the server at each message, and by nodes, in large pieces.
    let by_server = TopicConfig::new().history(60);
    let by_nodes = TopicConfig::new().history(10_000).history_bytes(200_000);
    for bounds in [by_server, by_nodes] {
        let Some(setup) = Setup::start(program).await else { return };
        let node = async || lone(setup.builder().publish_within(PATIENCE).answer_within(PATIENCE)).await;
        logs::trimmed_while_read(node().await, node().await, bounds, 150).await;
    }
}

/// A node that knows the stream by what it held before another node needed more trims its small topic none the less.
async fn a_node_hears_that_another_one_has_the_stream_hold_more(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    // It looks again the sooner the more often it asks whether the server is there.
    let often = Duration::from_millis(20);
    let node = async || lone(setup.builder().ping_every(often).answer_within(PATIENCE)).await;
    let (one, other) = (node().await, node().await);
    let small = retention(&TopicConfig::new().history(50));
    let large = retention(&TopicConfig::new().history(1_000_000));
    one.hand_over(LOGGED, "x", Some(small)).await.expect("it is stored");
    other.hand_over("logged.large", "x", Some(large)).await.expect("it is stored");
    let admin = setup.admin().await;
    let (stream, deadline) = (admin.log().await.config.name, Instant::now() + PATIENCE);
    let mut published = 0;
    loop {
        for _ in 0..10 {
            let some = (0..50).map(|_| one.hand_over(LOGGED, "x", Some(small)));
            for accepted in join_all(some).await {
                accepted.expect("it is stored");
            }
        }
        published += 500;
        let held = admin.count(&stream, &format!("fanfare.l.t.{LOGGED}")).await;
        if held < published / 2 {
            break;
        }
        assert!(Instant::now() < deadline, "{held} of {published} are held of a topic that retains 50");
    }
    for node in [one, other] {
        node.end().await;
    }
}
