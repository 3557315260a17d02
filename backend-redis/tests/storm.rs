//! A thousand clients that come back at once.

mod support;

use std::collections::BTreeMap;

use fanfare_testkit::{faults::Crowd, server::Program};
use support::{PATIENCE, Setup, broker};

/// How often each command was called.
async fn calls(setup: &Setup) -> BTreeMap<String, u64> {
    let info: String = setup.tell(&["INFO", "commandstats"]).await;
    let lines = info.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
    lines
        .map(|(name, rest)| (name.to_owned(), rest.split(',').next().unwrap_or("").parse().unwrap_or(0)))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_clients_costs_the_server_a_few_reads() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let (here, there) = (broker(setup.builder()).await, broker(setup.builder()).await);
    let (crowd, before) = Crowd::comes(&here, &there, calls(&setup)).await;
    let after = calls(&setup).await;
    let mut more: BTreeMap<_, _> =
        after.iter().map(|(name, n)| (name.as_str(), n - before.get(name).unwrap_or(&0))).collect();
    more.retain(|name, n| {
        *n > 0 && !["info", "ping", "auth", "hello", "client|setinfo", "select"].contains(name)
    });
    eprintln!("a crowd: {more:?}");
    assert!(more.get("evalsha").copied().unwrap_or(0) <= 5, "{more:?}");
    assert!(more.get("subscribe").copied().unwrap_or(0) <= 1, "{more:?}");
    // The server is away for a moment: one read for the topic, not one for each client.
    let before = calls(&setup).await;
    crowd.outlives_an_outage(&setup, &there).await;
    let after = calls(&setup).await;
    let reads = after.get("evalsha").unwrap_or(&0) - before.get("evalsha").unwrap_or(&0);
    eprintln!("after an outage: {reads} script calls");
    assert!(reads <= 10, "{reads}");
    for broker in [here, there] {
        broker.drain(PATIENCE).await;
    }
}
