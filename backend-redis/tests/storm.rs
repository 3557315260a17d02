//! A thousand clients that come back at once.

mod support;

use std::collections::BTreeMap;

use fanfare_core::{
    message::Position,
    session::Start,
    subscription::{Delivery, Subscription},
};
use fanfare_testkit::{faults::World, server::Program};
use futures_util::future::join_all;
use support::{PATIENCE, Setup, broker};
use tokio::time::timeout;

const CLIENTS: usize = 1000;

/// How often each command was called.
async fn calls(setup: &Setup) -> BTreeMap<String, u64> {
    let info: String = setup.tell(&["INFO", "commandstats"]).await;
    let lines = info.lines().filter_map(|line| line.strip_prefix("cmdstat_")?.split_once(":calls="));
    lines
        .map(|(name, rest)| (name.to_owned(), rest.split(',').next().unwrap_or("").parse().unwrap_or(0)))
        .collect()
}

async fn first_of(mut subscription: Subscription<str>) -> (Subscription<str>, Option<Position>) {
    loop {
        match timeout(PATIENCE, subscription.recv()).await.expect("a message").expect("a subscription") {
            Delivery::Message(message) => {
                let position = message.message().position();
                return (subscription, position);
            }
            Delivery::Gap(gap) => panic!("{gap:?}"),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_clients_costs_the_server_a_few_reads() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let (here, there) = (broker(setup.builder()).await, broker(setup.builder()).await);
    let mut positions = Vec::new();
    for n in 0..100 {
        let published = here.publish("logged.t", n.to_string()).await.expect("it is stored");
        positions.push(published.position.expect("a position"));
    }
    // They all were on a node that is gone, and come to one that has never heard of the topic.
    let before = calls(&setup).await;
    let clients = (0..CLIENTS).map(|n| {
        let after = positions[n % 90];
        let subscribe = there.subscribe("logged.t").start(Start::After(after)).into_future();
        async move {
            let (subscription, first) = first_of(subscribe.await.expect("a subscription")).await;
            assert_eq!(
                first.map(|first| first.offset),
                Some(after.offset + 1),
                "it goes on where it stopped"
            );
            subscription
        }
    });
    let clients = join_all(clients).await;
    let after = calls(&setup).await;
    let mut more: BTreeMap<_, _> =
        after.iter().map(|(name, n)| (name.as_str(), n - before.get(name).unwrap_or(&0))).collect();
    more.retain(|name, n| {
        *n > 0 && !["info", "ping", "auth", "hello", "client|setinfo", "select"].contains(name)
    });
    eprintln!("{CLIENTS} clients: {more:?}");
    assert!(more.get("evalsha").copied().unwrap_or(0) <= 5, "{more:?}");
    assert!(more.get("subscribe").copied().unwrap_or(0) <= 1, "{more:?}");
    // The server is away for a moment: one read for the topic, not one for each client.
    let before = calls(&setup).await;
    setup.proxy.reset();
    World::until_state(&there, fanfare_core::backend::BackendState::Down).await;
    World::until_state(&there, fanfare_core::backend::BackendState::Up).await;
    here.publish("logged.t", "after the outage").await.ok();
    let _ = there.publish("logged.t", "the last one").await.expect("it is stored");
    for mut subscription in clients {
        loop {
            match timeout(PATIENCE, subscription.recv()).await.expect("a message").expect("a subscription") {
                Delivery::Message(message)
                    if message.message().payload().as_str() == Some("the last one") =>
                {
                    break;
                }
                Delivery::Gap(gap) => panic!("{gap:?}"),
                _ => {}
            }
        }
    }
    let after = calls(&setup).await;
    let reads = after.get("evalsha").unwrap_or(&0) - before.get("evalsha").unwrap_or(&0);
    eprintln!("after an outage: {reads} script calls");
    assert!(reads <= 10, "{reads}");
    for broker in [here, there] {
        broker.drain(PATIENCE).await;
    }
}
