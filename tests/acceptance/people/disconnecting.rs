//! What an app hears of a client that goes.

use std::{collections::BTreeMap, time::Duration};

use fanfare::{BrokerBuilder, session::CloseKind};
use serde_json::json;
use tokio::{
    sync::mpsc::{self, UnboundedReceiver, UnboundedSender},
    time::timeout,
};

use super::harness::{Backend, Client, Site, until};
use crate::support::PATIENCE;

/// One run of a hook.
#[derive(Debug, PartialEq)]
enum Heard {
    Disconnecting { topics: Vec<String>, code: u16 },
    Disconnected { code: u16 },
}

type Tell = UnboundedSender<(String, Heard)>;

/// An app that tells of each run of its hooks, with the client's name.
fn telling(builder: BrokerBuilder, tell: Tell) -> BrokerBuilder {
    let also = tell.clone();
    let builder = builder.on_disconnecting(move |client, topics, reason| {
        let heard = Heard::Disconnecting { topics, code: reason.code() };
        drop(tell.send((client.id.to_string(), heard)));
        // Whoever runs it twice has time to.
        tokio::time::sleep(Duration::from_millis(20))
    });
    builder.on_disconnected(move |client, reason| {
        drop(also.send((client.id.to_string(), Heard::Disconnected { code: reason.code() })));
        std::future::ready(())
    })
}

/// Subscribes a client, by its own wish and by the server's.
async fn settle(site: &Site, client: &mut Client, user: &str) {
    client.subscribe("room.lobby").await;
    client.subscribe("left").await;
    client.subscribe("typing.*").await;
    client.unsubscribe("left").await;
    let reached = site.broker().clients().user(user).subscribe("orders").await.unwrap();
    assert_eq!(reached.changed, 1);
}

/// Whatever ends a connection, and whoever: the app is told once of each, with all that the client was subscribed to and why it goes, before it
/// is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_disconnecting_hook_still_sees_the_topics_runs_once_and_has_the_reason() {
    let (tell, heard) = mpsc::unbounded_channel();
    let site = Site::start(Backend::Memory, |builder| telling(builder, tell.clone())).await.unwrap();
    drop(tell);
    let users = ["ann", "ben", "cem", "dee", "eve", "fay"];
    let mut people = site.people(users).await;
    for (person, user) in people.iter_mut().zip(users) {
        settle(&site, person, user).await;
    }
    let names = people.each_ref().map(|person| person.name().to_owned());
    let [leaves, vanishes, mut is_kicked, mut says_too_much, mut stays, mut stays_too] = people;

    leaves.leave().await;
    vanishes.vanish();
    let kicked = site.broker().clients().user("cem").disconnect(CloseKind::Kicked).await.unwrap();
    assert_eq!(kicked.clients, 1);
    assert_eq!(is_kicked.ended().await.0, Some(4005));
    says_too_much.send(json!({ "publish": { "topic": "room.lobby", "data": "x".repeat(100_000) } })).await;
    assert_eq!(says_too_much.ended().await.0, Some(1009));
    until("only two are left", || site.broker().stats().connections == 2).await;
    assert!(site.broker().drain(PATIENCE).await);
    for stays in [&mut stays, &mut stays_too] {
        assert_eq!(stays.ended().await.0, Some(4200));
    }
    drop(site);

    let mut by_client = all(heard).await;
    for (name, code) in names.into_iter().zip([1000, 1006, 4005, 1009, 4200, 4200]) {
        let heard = by_client.remove(&name).unwrap_or_default();
        let [Heard::Disconnecting { topics, code: first }, Heard::Disconnected { code: second }] = &heard[..]
        else {
            panic!("{code}: {heard:?}");
        };
        let mut topics = topics.clone();
        topics.sort();
        assert_eq!(topics, ["orders", "room.lobby", "typing.*"], "{code}");
        assert_eq!((*first, *second), (code, code));
    }
    assert!(by_client.is_empty(), "{by_client:?}");
}

/// All that was told until nobody is left who could tell.
async fn all(mut heard: UnboundedReceiver<(String, Heard)>) -> BTreeMap<String, Vec<Heard>> {
    let mut by_client: BTreeMap<_, Vec<_>> = BTreeMap::new();
    while let Some((name, heard)) = timeout(PATIENCE, heard.recv()).await.expect("the app is still there") {
        by_client.entry(name).or_default().push(heard);
    }
    by_client
}

/// While the hook runs the client is still in its topics, as others see them; afterwards it is in none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_disconnecting_is_still_a_member() {
    let (tell, mut heard) = mpsc::unbounded_channel();
    let (go_on, may_go_on) = tokio::sync::watch::channel(false);
    let site = Site::start(Backend::Memory, |builder| {
        let (tell, may_go_on) = (tell.clone(), may_go_on.clone());
        builder.on_disconnecting(move |_, topics, _| {
            drop(tell.send(topics));
            let mut may_go_on = may_go_on.clone();
            async move { drop(may_go_on.wait_for(|may| *may).await) }
        })
    })
    .await
    .unwrap();
    let [mut ann, mut ben] = site.people(["ann", "ben"]).await;
    ann.subscribe("room.lobby").await;
    ben.subscribe("room.lobby").await;
    let name = ann.name().to_owned();
    ann.vanish();

    let topics = timeout(PATIENCE, heard.recv()).await.expect("the hook does not run").unwrap();
    assert_eq!(topics, ["room.lobby"]);
    let members = || async {
        let members = site.broker().members("room.lobby").await.unwrap();
        members.clients.iter().map(|member| member.client.to_string()).collect::<Vec<_>>()
    };
    assert!(members().await.contains(&name), "it has left before the hook has run");
    go_on.send_replace(true);
    until("she has gone", || site.broker().stats().connections == 1).await;
    assert_eq!(members().await, [ben.name()]);
}
