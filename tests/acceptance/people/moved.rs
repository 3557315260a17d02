//! What an app does to everyone in a topic, whichever node they are on.

use fanfare::{
    clients::Reached,
    session::{CloseKind, CloseReason},
};
use serde_json::json;

use super::harness::{Backend, Client, Site, on_every_backend};

on_every_backend! {
    everyone_in_a_topic_is_moved
    everyone_in_a_topic_is_closed
}

/// Four people in the lobby, on both nodes in turn, and two who are not.
async fn lobby(site: &Site) -> ([Client; 4], [Client; 2]) {
    let mut people = site.people(["ann", "ben", "cem", "dee"]).await;
    for person in &mut people {
        person.subscribe("room.lobby").await;
    }
    let mut others = site.people(["eve", "fay"]).await;
    others[0].subscribe("room.cellar").await;
    // By a pattern one is in no room.
    others[1].subscribe("other.*").await;
    (people, others)
}

/// The order was carried out for all four by every node.
fn check(reached: Reached, site: &Site) {
    let nodes = site.nodes.len();
    let Reached { clients, changed, failed, answered, asked, .. } = reached;
    assert_eq!((clients, changed, failed, answered, asked), (4, 4, 0, nodes, nodes));
}

async fn everyone_in_a_topic_is_moved(backend: Backend) {
    let Some(site) = Site::start(backend, |builder| builder).await else { return };
    let (mut people, mut others) = lobby(&site).await;
    let moved = site.node(1).broker.clients().topic("room.lobby").move_to("room.lobby", "room.garden").await;
    check(moved.unwrap(), &site);
    for person in &mut people {
        assert_eq!(person.next().await, json!({ "subscribed": { "topic": "room.garden" } }));
        let left = json!({ "topic": "room.lobby", "code": "kicked", "retry": false });
        assert_eq!(person.next().await, json!({ "unsubscribed": left }));
    }

    // Somebody on each node still hears the lobby: when they have, nobody of the others will.
    let mut witnesses = site.people(["gus", "hal"]).await;
    for witness in &mut witnesses {
        witness.subscribe("room.lobby").await;
    }
    for node in &site.nodes {
        node.broker.publish("room.lobby", "too late").await.unwrap();
        for witness in &mut witnesses {
            witness.expect("room.lobby", "too late").await;
        }
        node.broker.publish("room.garden", "welcome").await.unwrap();
        for person in &mut people {
            person.nothing_before("room.garden", "welcome").await;
        }
    }
    // Who was moved has left in every other respect, too.
    let away = json!({ "unsubscribe": { "topic": "room.lobby" } });
    assert_eq!(people[3].try_ask(away).await.unwrap_err()["code"], "not_subscribed");
    people[3].unsubscribe("room.garden").await;
    for node in &site.nodes {
        assert_eq!(node.broker.members("room.garden").await.unwrap().total, 3);
        assert_eq!(node.broker.members("room.lobby").await.unwrap().total, witnesses.len());
    }
    unmoved(&site, &mut others).await;
}

async fn everyone_in_a_topic_is_closed(backend: Backend) {
    let Some(site) = Site::start(backend, |builder| builder).await else { return };
    let (people, mut others) = lobby(&site).await;
    let reason = CloseReason::with_message(CloseKind::Kicked, "the lobby closes");
    check(site.broker().clients().topic("room.lobby").disconnect(reason).await.unwrap(), &site);
    for ((turn, mut person), user) in people.into_iter().enumerate().zip(["ann", "ben", "cem", "dee"]) {
        let (code, frames) = person.ended().await;
        let closed = json!({ "code": 4005, "name": "kicked", "message": "the lobby closes" });
        assert_eq!((code, &frames[..]), (Some(4005), &[json!({ "close": closed })][..]));
        // Who was kicked has no session to come back with.
        let again = json!({ "token": user, "session": person.session() });
        let back = Client::entering(&site.node(turn).address, again).await;
        assert_eq!(back.welcome.get("resumed"), None);
        assert_ne!(back.name(), person.name());
    }
    for node in &site.nodes {
        assert_eq!(node.broker.members("room.lobby").await.unwrap().total, 0);
    }
    unmoved(&site, &mut others).await;
}

/// These have been told nothing, and are where they were.
async fn unmoved(site: &Site, others: &mut [Client; 2]) {
    for (topic, other) in ["room.cellar", "other.thing"].into_iter().zip(others) {
        site.broker().publish(topic, "still here").await.unwrap();
        other.nothing_before(topic, "still here").await;
    }
}
