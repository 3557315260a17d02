//! Who is there, on nodes that have a real server between them.

mod support;

use fanfare_redis::RedisBackend;
use fanfare_testkit::{faults::presence, server::Program};
use support::{PASSWORD, Setup, built};

#[tokio::test]
async fn two_nodes_agree_also_after_they_were_cut_off() {
    for program in [Program::Redis, Program::Valkey] {
        let Some(setup) = Setup::start(program).await else { continue };
        presence::cut_off(&setup, || built(setup.builder())).await;
    }
}

#[tokio::test]
async fn a_process_that_is_killed_takes_its_members_with_it_once() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let url = setup.url(PASSWORD, "");
    presence::killed(|| built(setup.builder()), "a_node_until_it_is_killed", &url).await;
}

#[tokio::test]
async fn a_node_until_it_is_killed() {
    presence::until_killed(|url| built(RedisBackend::builder(url))).await;
}
