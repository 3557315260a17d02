//! Watchers: in order, bounded, and with a fresh snapshot in place of what they have missed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use fanfare_core::{
    Broker,
    presence::{Member, PresenceConfig, PresenceEvent, WatchPresence},
    session::ClientId,
};
use futures_util::FutureExt;

use super::{news, node, rooms, told, user, watching};
use crate::support::{Node, idle};

/// The list that a watcher has made of what it was told.
pub(super) fn list_of(watch: &mut WatchPresence) -> BTreeMap<ClientId, Member> {
    let mut list = BTreeMap::new();
    while let Some(Some(event)) = watch.recv().now_or_never() {
        match event {
            PresenceEvent::Snapshot(page) => {
                list = page.members.into_iter().map(|member| (member.client, member)).collect();
            }
            PresenceEvent::Changes(changes) => {
                for member in changes.join {
                    assert_eq!(list.insert(member.client, member), None, "joins twice");
                }
                for client in changes.leave {
                    assert!(list.remove(&client).is_some(), "leaves and was not there");
                }
                for member in changes.update {
                    assert!(list.insert(member.client, member).is_some(), "changes and is not there");
                }
            }
            other => panic!("{other:?}"),
        }
    }
    list
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_misses_something_begins_anew() {
    let node = node().await;
    let mut watcher = user(&node, "watcher").await;
    watcher.call(watching("room.a")).await;
    watcher.wire.shut();
    let mut members = Vec::new();
    for _ in 0..300 {
        let mut member = node.client().await;
        member.subscribe("room.a").await;
        members.push(member);
        // Each is told alone.
        told().await;
    }
    let stats = node.broker.stats();
    assert!(stats.resynced >= 256, "{stats:?}");
    watcher.wire.open();
    told().await;
    let lines = watcher.read().await;
    assert!(lines.iter().all(|line| line.starts_with("room.a presence ")), "no gap is told");
    let told: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("room.a presence ")).collect();
    // What had been sent already, and then not what was missed but what is.
    let anew = told.iter().position(|line| line.starts_with("snapshot")).unwrap();
    assert!(told.len() < 100, "{}", told.len());
    assert!(told[anew].contains(" more ("), "{}", told[anew]);
    assert!(told[anew + 1..].iter().all(|line| line.starts_with('+')), "{told:?}");
    assert!(told.last().unwrap().ends_with("(301, 1)"), "{told:?}");
    members[0].unsubscribe("room.a").await;
    assert!(news(&mut watcher).await[0].ends_with("(300, 1)"));
    let stats = node.broker.stats();
    let law =
        stats.delivered + stats.conflated + stats.dropped + stats.discarded + stats.resynced + stats.hidden;
    assert_eq!(stats.offered, law, "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_not_read_begins_anew() {
    let node = node().await;
    let mut watch = node.broker.presence("room.a").watch().unwrap();
    let mut members = Vec::new();
    for _ in 0..400 {
        let mut member = node.client().await;
        member.subscribe("room.a").await;
        members.push(member);
        told().await;
    }
    for member in &mut members[..380] {
        member.unsubscribe("room.a").await;
        told().await;
    }
    let mut left: Vec<_> = members[380..].iter().map(|member| member.outbox.client()).collect();
    left.sort();
    loop {
        let list = list_of(&mut watch);
        told().await;
        if list.keys().copied().eq(left.iter().copied()) {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowd_is_counted_and_a_room_is_listed() {
    let config = PresenceConfig::new().listed_members(8);
    let node = Node::of(rooms(Broker::builder(), config).start().await.unwrap());
    let mut watcher = user(&node, "watcher").await;
    watcher.call(watching("room.a")).await;
    let mut members = Vec::new();
    for _ in 0..20 {
        let mut member = node.client().await;
        member.subscribe("room.a").await;
        members.push(member);
    }
    assert_eq!(news(&mut watcher).await, ["only (21, 1)"]);
    for member in &mut members[..10] {
        member.unsubscribe("room.a").await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(news(&mut watcher).await, ["only (11, 1)"]);
    for member in &mut members[10..15] {
        member.unsubscribe("room.a").await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let told = news(&mut watcher).await;
    assert_eq!(told.len(), 1);
    assert!(told[0].starts_with("snapshot [") && told[0].ends_with("watcher] (6, 1)"), "{told:?}");
    members[15].unsubscribe("room.a").await;
    assert!(news(&mut watcher).await[0].starts_with('-'), "the list is kept again");
}

#[tokio::test(start_paused = true)]
async fn who_has_left_is_told_nothing_more() {
    let node = node().await;
    let mut ann = user(&node, "ann").await;
    ann.call(watching("room.a")).await;
    ann.unsubscribe("room.a").await;
    let mut bob = user(&node, "bob").await;
    bob.subscribe("room.a").await;
    assert!(news(&mut ann).await.is_empty());
    // Subscribed again without the wish: a member who is told nothing.
    ann.subscribe("room.a").await;
    let mut cat = user(&node, "cat").await;
    cat.subscribe("room.a").await;
    assert!(news(&mut ann).await.is_empty());
    ann.call(watching("room.a")).await;
    cat.unsubscribe("room.a").await;
    assert!(!news(&mut ann).await.is_empty());
    ann.subscribe("room.a").await;
    cat.subscribe("room.a").await;
    assert!(news(&mut ann).await.is_empty(), "it has begun anew without the wish");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_room_that_is_empty() {
    let node = node().await;
    for _ in 0..3 {
        let mut ann = user(&node, "ann").await;
        ann.call(watching("room.a")).await;
        ann.call(watching("room.a")).await;
        let watch = node.broker.presence("room.a").watch().unwrap();
        ann.into_session().close(fanfare_core::session::CloseKind::Kicked.into()).await;
        drop(watch);
        told().await;
    }
    idle().await;
    assert_eq!(node.broker.stats().subscriptions, 0);
    assert!(
        node.broker.topics().iter().all(|topic| !topic.topic.as_str().contains("room")),
        "{:?}",
        node.broker.topics()
    );
    let broker = Arc::new(node.broker.clone());
    drop((node, broker));
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_one_and_the_longest_name_are_enough() {
    let broker = rooms(Broker::builder(), PresenceConfig::new()).limits(|limits| limits.queue_messages = 1);
    let node = Node::of(broker.start().await.unwrap());
    let room = format!("room.{}", "x".repeat(250));
    let mut watcher = user(&node, "watcher").await;
    let lines = watcher.call(watching(&room)).await;
    assert_eq!(lines, ["1: subscribed".to_owned(), format!("{room} presence snapshot [watcher] (1, 1)")]);
    let mut watch = node.broker.presence(room.as_str()).watch().unwrap();
    watcher.wire.shut();
    let mut members = Vec::new();
    for _ in 0..20 {
        let mut member = node.client().await;
        member.subscribe(&room).await;
        members.push(member);
        told().await;
    }
    watcher.wire.open();
    let heard = news(&mut watcher).await;
    assert!(heard.len() < 10 && heard.last().unwrap().ends_with("(21, 1)"), "{heard:?}");
    // An event at a time: what is missed is seen in a snapshot.
    let mut most = 0;
    for _ in 0..5 {
        most = most.max(list_of(&mut watch).len());
        told().await;
    }
    assert_eq!(most, 21);
    members[0].unsubscribe(&room).await;
    assert!(news(&mut watcher).await[0].ends_with("(20, 1)"));
}
