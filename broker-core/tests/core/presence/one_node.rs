//! Members: who is one, how long, and what is said of them.

use std::time::Duration;

use fanfare_core::{
    Broker,
    presence::{PresenceConfig, PresenceError},
    session::{CloseKind, Command, PresenceCommand, SubscribeCommand},
    topic::TopicConfig,
};
use tokio::time::sleep;

use super::{json, news, node, rooms, told, user, watching, who_is_in};
use crate::support::Node;

#[tokio::test(start_paused = true)]
async fn a_watcher_begins_with_who_is_there_and_hears_who_comes_and_goes() {
    let node = node().await;
    let mut ann = user(&node, "ann").await;
    ann.subscribe("room.a").await;
    let mut bob = user(&node, "bob").await;
    let lines = bob.call(watching("room.a")).await;
    // Bob himself is told with the next change: his snapshot is what the others know.
    assert_eq!(lines, ["1: subscribed", "room.a presence snapshot [ann bob] (2, 2)"]);
    let mut king = user(&node, "king").await;
    king.subscribe("room.a").await;
    assert_eq!(news(&mut bob).await, [r#"+king={"crown":true} (3, 3)"#]);
    let id = ann.outbox.client();
    ann.unsubscribe("room.a").await;
    assert_eq!(news(&mut bob).await, [format!("-{id} (2, 2)")]);
    assert_eq!(ann.call(who_is_in("room.a")).await, [r#"3: presence [bob king={"crown":true}] (2, 2)"#]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_and_goes_at_once_is_told_at_once_or_not_at_all() {
    let node = node().await;
    let mut ann = user(&node, "ann").await;
    ann.call(watching("room.a")).await;
    let (mut bob, mut cat, mut dan) =
        (user(&node, "bob").await, user(&node, "cat").await, user(&node, "dan").await);
    bob.subscribe("room.a").await;
    dan.subscribe("room.a").await;
    cat.subscribe("room.a").await;
    dan.unsubscribe("room.a").await;
    let told = news(&mut ann).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("+bob") && told[0].contains("+cat") && !told[0].contains("dan"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_user_with_another_tab_has_not_left() {
    let node = node().await;
    let mut watcher = user(&node, "watcher").await;
    watcher.call(watching("room.a")).await;
    let (mut one, mut two) = (user(&node, "ann").await, user(&node, "ann").await);
    one.subscribe("room.a").await;
    two.subscribe("room.a").await;
    assert_eq!(news(&mut watcher).await.last().unwrap(), "+ann +ann (3, 2)");
    one.unsubscribe("room.a").await;
    assert!(news(&mut watcher).await[0].ends_with("(2, 2)"));
    two.unsubscribe("room.a").await;
    assert!(news(&mut watcher).await[0].ends_with("(1, 1)"));
}

#[tokio::test(start_paused = true)]
async fn who_is_lost_has_the_grace_and_who_is_kicked_has_not() {
    let node = node().await;
    let mut watcher = user(&node, "watcher").await;
    watcher.call(watching("room.a")).await;
    let (mut lost, mut away, mut kicked) =
        (user(&node, "lost").await, user(&node, "away").await, user(&node, "kicked").await);
    for client in [&mut lost, &mut away, &mut kicked] {
        client.subscribe("room.a").await;
    }
    news(&mut watcher).await;
    lost.into_session().close(CloseKind::Lost.into()).await;
    away.into_session().close(CloseKind::Away.into()).await;
    let id = kicked.outbox.client();
    kicked.into_session().close(CloseKind::Kicked.into()).await;
    assert_eq!(news(&mut watcher).await, [format!("-{id} (3, 3)")]);
    sleep(Duration::from_secs(4)).await;
    assert!(news(&mut watcher).await.is_empty(), "too early");
    sleep(Duration::from_secs(1)).await;
    let told = news(&mut watcher).await;
    assert_eq!(told.len(), 1);
    assert!(told[0].ends_with("(1, 1)"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn who_reloads_is_still_the_same_user() {
    let node = node().await;
    let mut watcher = user(&node, "watcher").await;
    watcher.call(watching("room.a")).await;
    let mut before = user(&node, "ann").await;
    before.subscribe("room.a").await;
    news(&mut watcher).await;
    let id = before.outbox.client();
    before.into_session().close(CloseKind::Away.into()).await;
    sleep(Duration::from_secs(1)).await;
    let mut after = user(&node, "ann").await;
    after.subscribe("room.a").await;
    assert_eq!(news(&mut watcher).await, ["+ann (3, 2)"]);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(news(&mut watcher).await, [format!("-{id} (2, 2)")]);
}

#[tokio::test(start_paused = true)]
async fn a_hidden_client_sees_and_is_not_seen() {
    let node = node().await;
    let mut ann = user(&node, "ann").await;
    ann.call(watching("room.a")).await;
    let mut ghost = user(&node, "ghost").await;
    let lines = ghost.call(watching("room.a")).await;
    assert_eq!(lines[1], "room.a presence snapshot [ann] (1, 1)");
    assert!(news(&mut ann).await.is_empty());
    assert_eq!(node.broker.presence("room.a").counts().await.unwrap().clients, 1);
}

#[tokio::test(start_paused = true)]
async fn the_app_says_something_else_of_a_member() {
    let node = node().await;
    let mut watcher = user(&node, "watcher").await;
    watcher.call(watching("room.a")).await;
    let mut ann = user(&node, "ann").await;
    ann.subscribe("room.a").await;
    news(&mut watcher).await;
    let room = node.broker.presence("room.a");
    let id = ann.outbox.client();
    assert!(room.update(id, json("[1]")).await.unwrap());
    assert_eq!(news(&mut watcher).await, ["~ann=[1] (2, 2)"]);
    assert!(room.update(id, json("[1]")).await.unwrap());
    assert!(news(&mut watcher).await.is_empty(), "nothing has changed");
    // It begins anew, and what was said of it stays.
    ann.subscribe("room.a").await;
    assert!(news(&mut watcher).await.is_empty());
    assert!(room.update(id, None).await.unwrap());
    assert_eq!(news(&mut watcher).await, ["~ann (2, 2)"]);
    ann.unsubscribe("room.a").await;
    assert!(!room.update(id, json("[2]")).await.unwrap());
    let long = format!("\"{}\"", "x".repeat(2000));
    assert!(matches!(room.update(id, json(&long)).await, Err(PresenceError::InvalidMeta { limit: 1024 })));
    assert!(matches!(room.update(id, Some("text".into())).await, Err(PresenceError::InvalidMeta { .. })));
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_is_refused() {
    let node = node().await;
    let mut ann = user(&node, "ann").await;
    assert_eq!(ann.call(watching("news")).await, ["1: error bad_request presence"]);
    assert_eq!(ann.call(watching("room.*")).await, ["2: error bad_request presence"]);
    assert_eq!(ann.call(watching("room.secret")).await, ["3: error forbidden topic"]);
    assert_eq!(ann.call(who_is_in("room.secret")).await, ["4: error forbidden topic"]);
    assert_eq!(ann.call(who_is_in("news")).await, ["5: error bad_request presence"]);
    assert_eq!(ann.call(who_is_in("$presence.room.a")).await, ["6: error forbidden topic"]);
    assert_eq!(ann.call(who_is_in("a b")).await, ["7: error invalid_topic topic"]);
    // Nothing of it is left.
    assert_eq!(ann.publish("news", "x").await, ["8: published"]);
    assert!(matches!(node.broker.presence("news").counts().await, Err(PresenceError::NotKept)));
}

#[tokio::test(start_paused = true)]
async fn pages_show_everybody_once() {
    let node = node().await;
    let mut clients = Vec::new();
    for _ in 0..25 {
        let mut client = node.client().await;
        client.subscribe("room.a").await;
        clients.push(client);
    }
    let room = node.broker.presence("room.a");
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = room.page(after, 10).await.unwrap();
        assert_eq!((page.counts.clients, page.counts.users), (25, 0));
        seen.extend(page.members.iter().map(|member| member.client));
        after = page.next;
        if after.is_none() {
            break;
        }
        assert_eq!(page.members.len(), 10);
    }
    let mut all: Vec<_> = clients.iter().map(|client| client.outbox.client()).collect();
    all.sort();
    assert_eq!(seen, all);
    let mut first = PresenceCommand::first("room.a");
    first.limit = Some(0);
    let lines = clients[0].call(Command::Presence(first)).await;
    assert_eq!(lines, ["2: presence [] (25, 0)"]);
}

#[tokio::test(start_paused = true)]
async fn the_list_is_the_truth_after_a_thousand_comings_and_goings() {
    let node = node().await;
    let mut watch = node.broker.presence("room.a").watch().unwrap();
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push((node.client().await, false));
    }
    for _ in 0..1000 {
        let (client, is_in) = &mut clients[fastrand::usize(..20)];
        if *is_in {
            client.unsubscribe("room.a").await;
        } else {
            client.subscribe("room.a").await;
        }
        *is_in = !*is_in;
        // Budgets are another test's.
        sleep(Duration::from_millis(20)).await;
    }
    told().await;
    let mut truth: Vec<_> =
        clients.iter().filter(|(_, is_in)| *is_in).map(|(c, _)| c.outbox.client()).collect();
    truth.sort();
    let page = node.broker.presence("room.a").page(None, 100).await.unwrap();
    assert_eq!(page.members.iter().map(|member| member.client).collect::<Vec<_>>(), truth);
    let list = super::watching::list_of(&mut watch);
    assert_eq!(list.into_keys().collect::<Vec<_>>(), truth);
}

#[tokio::test(start_paused = true)]
async fn subscribing_by_a_pattern_makes_no_member() {
    let node = node().await;
    let mut ann = user(&node, "ann").await;
    ann.subscribe("room.*").await;
    assert_eq!(node.broker.presence("room.a").counts().await.unwrap().clients, 0);
    ann.call(Command::Subscribe(SubscribeCommand::live("room.a"))).await;
    assert_eq!(node.broker.presence("room.a").counts().await.unwrap().clients, 1);
}

#[tokio::test(start_paused = true)]
async fn no_page_is_longer_than_it_may_be() {
    let broker = rooms(Broker::builder(), PresenceConfig::new());
    let node = Node::of(broker.limits(|limits| limits.presence_page_members = 2).start().await.unwrap());
    let mut members = Vec::new();
    for _ in 0..3 {
        let mut member = node.client().await;
        member.subscribe("room.a").await;
        members.push(member);
    }
    let page = node.broker.presence("room.a").page(None, usize::MAX).await.unwrap();
    assert_eq!((page.members.len(), page.counts.clients), (2, 3));
    assert_eq!(page.next, page.members.last().map(|member| member.client));
}

#[tokio::test(start_paused = true)]
async fn whose_name_is_too_long_to_be_told_is_no_member() {
    let node = node().await;
    let mut long = user(&node, &"x".repeat(16 << 10)).await;
    long.subscribe("room.a").await;
    assert_eq!(node.broker.presence("room.a").counts().await.unwrap().clients, 0);
}

#[tokio::test(start_paused = true)]
async fn the_brokers_own_topics_keep_none() {
    let keeps = TopicConfig::new().presence(PresenceConfig::new());
    let node = Node::start(|broker| broker.topic(">", keeps.clone()).topic("$any.*", keeps)).await;
    assert!(node.broker.presence("any").counts().await.is_ok());
    assert!(node.broker.presence("$any.one").counts().await.is_err());
}
