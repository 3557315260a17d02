//! Who is in a topic, asked from any node.

use std::{collections::BTreeSet, time::Duration};

use fanfare::{Broker, clients::Members};
use serde_json::json;
use tokio::time::Instant;

use super::harness::{Backend, Client, Site, on_every_backend, on_several_nodes};
use crate::support::PATIENCE;

on_every_backend! {
    the_members_of_a_topic_are_the_same_from_either_node
}

mod some_nodes {
    use super::*;

    on_several_nodes! {
        a_node_that_does_not_answer_is_counted_out
    }

    /// A question that cannot be carried to the others is answered by who can: nobody waits for more than was given.
    async fn a_node_that_does_not_answer_is_counted_out(backend: Backend) {
        let Some(site) = Site::start(backend, |builder| builder).await else { return };
        let mut people = site.people(["ann", "ben", "cem"]).await;
        enter(&mut people).await;
        let server = site.carrier.server.as_ref().unwrap();
        server.pause().unwrap();
        for (node, own) in site.nodes.iter().zip([2, 1]) {
            let members = asked_in_vain(&node.broker).await;
            assert_eq!((members.answered, members.asked, members.total), (1, 2, own));
            assert!(members.clients.iter().all(|member| member.node == node.broker.node()));
            assert!(!members.is_complete());
        }
        server.resume().unwrap();
        for node in &site.nodes {
            let members = node.broker.members("room.lobby").await.unwrap();
            assert_eq!((members.answered, members.asked, members.total), (2, 2, 3));
        }
    }

    /// Asks for less time than a node has to be silent to be away. A process stops a moment after it was told to.
    async fn asked_in_vain(broker: &Broker) -> Members {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let asking = broker.clients().topic("room.lobby").within(Duration::from_millis(200));
            let members = asking.list().await.unwrap();
            if !members.is_complete() {
                return members;
            }
            assert!(Instant::now() < deadline, "the server goes on");
        }
    }
}

/// A member: its name, its user, its node.
type Member = (String, String, String);

async fn enter(people: &mut [Client]) {
    for person in people {
        person.subscribe("room.lobby").await;
    }
}

/// What is true of these people, in the order in which they have come.
fn truth(site: &Site, people: &[(usize, &str, &Client)]) -> BTreeSet<Member> {
    let node = |turn| site.node(turn).broker.node().to_string();
    people
        .iter()
        .map(|(turn, user, client)| (client.name().to_owned(), (*user).to_owned(), node(*turn)))
        .collect()
}

/// What a node says, which every node has to have answered to.
fn said(site: &Site, members: &Members) -> BTreeSet<Member> {
    let nodes = site.nodes.len();
    assert_eq!((members.answered, members.asked), (nodes, nodes));
    assert!(members.is_complete());
    let named = members.clients.iter().map(|member| {
        assert_eq!(&*member.transport, "ws");
        let user = member.user.as_deref().unwrap().to_owned();
        (member.client.to_string(), user, member.node.to_string())
    });
    let named: BTreeSet<_> = named.collect();
    assert_eq!(named.len(), members.total, "somebody is named twice");
    named
}

async fn the_members_of_a_topic_are_the_same_from_either_node(backend: Backend) {
    let Some(site) = Site::start(backend, |builder| builder).await else { return };
    // Ann has a tab on each node; who listens by a pattern, or elsewhere, is no member.
    let mut people = site.people(["ann", "ann", "ben", "cem"]).await;
    enter(&mut people).await;
    let [mut by_pattern, mut elsewhere] = site.people(["dee", "eve"]).await;
    by_pattern.subscribe("room.*").await;
    elsewhere.subscribe("room.cellar").await;
    let [ann, also_ann, ben, mut cem] = people;

    let all = [(0, "ann", &ann), (1, "ann", &also_ann), (2, "ben", &ben), (3, "cem", &cem)];
    for node in &site.nodes {
        let members = node.broker.members("room.lobby").await.unwrap();
        assert_eq!(said(&site, &members), truth(&site, &all));
        let anns = node.broker.clients().topic("room.lobby").user("ann").list().await.unwrap();
        assert_eq!(said(&site, &anns), truth(&site, &all[..2]));
        assert_eq!(node.broker.members("room.empty").await.unwrap().total, 0);
    }

    // One leaves the room, one the house, and one is brought in by the app.
    cem.unsubscribe("room.lobby").await;
    ann.leave().await;
    let brought = site.node(1).broker.clients().user("eve").subscribe("room.lobby").await.unwrap();
    assert_eq!(brought.changed, 1);
    assert_eq!(elsewhere.next().await, json!({ "subscribed": { "topic": "room.lobby" } }));
    let gone = || async { site.broker().clients().user("ann").count().await.unwrap().total == 1 };
    while !gone().await {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rest = [(1, "ann", &also_ann), (2, "ben", &ben), (1, "eve", &elsewhere)];
    for node in &site.nodes {
        let members = node.broker.members("room.lobby").await.unwrap();
        assert_eq!(said(&site, &members), truth(&site, &rest));
    }
}
