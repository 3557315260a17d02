//! Who is there, on nodes that have a real server between them.

mod support;

use fanfare_nats::NatsBackend;
use fanfare_testkit::{faults::presence, server::Program};
use support::{PASSWORD, Setup, built, on_both};

on_both! {
    two_nodes_agree_also_after_they_were_cut_off
    a_process_that_is_killed_takes_its_members_with_it_once
}

async fn two_nodes_agree_also_after_they_were_cut_off(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    presence::cut_off(&setup, || built(setup.builder())).await;
}

async fn a_process_that_is_killed_takes_its_members_with_it_once(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let url = setup.url(PASSWORD);
    presence::killed(|| built(setup.builder()), "a_node_until_it_is_killed", &url).await;
}

#[tokio::test]
async fn a_node_until_it_is_killed() {
    presence::until_killed(|url| built(NatsBackend::builder(url))).await;
}
