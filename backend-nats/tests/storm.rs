//! A thousand clients that come back at once.

mod support;

use fanfare_testkit::{
    faults::{Crowd, LOGGED},
    server::Program,
};
use support::{PATIENCE, Setup, broker, on_both};

on_both! {
    a_crowd_costs_the_server_a_few_reads
}

async fn a_crowd_costs_the_server_a_few_reads(program: Program) {
    let Some(setup) = Setup::start(program).await else { return };
    let admin = setup.admin().await;
    let asked = admin.requests().await;
    let (here, there) = (broker(setup.builder()).await, broker(setup.builder()).await);
    let (crowd, before) = Crowd::comes(&here, &there, asked.so_far()).await;
    let come = asked.so_far().await;
    eprintln!("a crowd: {:?}", come.since(&before));
    assert!(come.since(&before).total() <= 24, "{:?}", come.since(&before));
    let subjects = admin.subjects().await;
    let log = subjects.iter().filter(|subject| subject.ends_with(LOGGED)).count();
    assert_eq!(log, 1, "one subscription for all of them: {subjects:?}");
    // The server is away for a moment: one read for the topic, not one for each client.
    crowd.outlives_an_outage(&setup, &there).await;
    let after = asked.so_far().await;
    eprintln!("after an outage: {:?}", after.since(&come));
    assert!(after.since(&come).total() <= 24, "{:?}", after.since(&come));
    for broker in [here, there] {
        broker.drain(PATIENCE).await;
    }
}
