//! Subscribing, unsubscribing and moving clients.

use std::future::IntoFuture;

use fanfare_core::topic::TopicConfig;
use futures_util::FutureExt;

use super::*;

#[tokio::test(start_paused = true)]
async fn clients_are_subscribed_on_all_nodes_and_told_before_the_first_message() {
    let cluster = Cluster::with(2, |builder| builder.topic("log", TopicConfig::new().history(5))).await;
    let mut ann = cluster.client(0, "ann", &[]).await;
    let mut bob = cluster.client(1, "bob", &["news"]).await;
    ann.lines();
    bob.lines();
    let broker = &cluster.node(0).broker;
    let clients = broker.clients();
    // The policy is not asked: it is the app's own wish.
    cluster.policy.refuse("news");
    assert_eq!(counts(clients.clone().subscribe("news").await.unwrap()), (2, 1, 2, 2), "one was already");
    broker.publish("news", "hello").await.unwrap();
    soon().await;
    assert_eq!(ann.read().await, ["news subscribed by the server", "news hello"]);
    assert_eq!(bob.read().await, ["news hello"]);

    assert_eq!(counts(clients.clone().user("bob").subscribe("log").await.unwrap()), (1, 1, 2, 2));
    assert_eq!(counts(clients.clone().user("bob").subscribe("x.*").await.unwrap()), (1, 1, 2, 2));
    broker.publish("log", "1").await.unwrap();
    broker.publish("x.y", "2").await.unwrap();
    soon().await;
    let lines = bob.read().await;
    assert_eq!(
        lines,
        ["log subscribed #0 by the server", "x.* subscribed by the server", "log#1 1", "x.y 2"]
    );
    assert!(ann.read().await.is_empty());
    assert!(clients.subscribe("a..b").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn clients_are_unsubscribed_and_told_after_the_last_message() {
    let cluster = Cluster::of(2).await;
    let mut ann = cluster.client(0, "ann", &["news", "news.*"]).await;
    let mut bob = cluster.client(1, "bob", &["other"]).await;
    ann.lines();
    bob.lines();
    let broker = &cluster.node(1).broker;
    assert_eq!(counts(broker.clients().unsubscribe("news").await.unwrap()), (2, 1, 2, 2));
    broker.publish("news", "unheard").await.unwrap();
    broker.publish("news.x", "heard").await.unwrap();
    soon().await;
    assert_eq!(ann.read().await, ["news unsubscribed kicked", "news.x heard"], "the pattern is another one");
    assert!(bob.read().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_is_moved_misses_nothing_that_is_said_in_both() {
    let cluster = Cluster::of(2).await;
    let mut ann = cluster.client(0, "ann", &["lobby"]).await;
    let mut bob = cluster.client(1, "bob", &["lobby", "garden"]).await;
    let mut eve = cluster.client(1, "eve", &["garden"]).await;
    for client in [&mut ann, &mut bob, &mut eve] {
        client.lines();
    }
    let broker = &cluster.node(0).broker;
    // All the time everybody is addressed in both: whoever is in one of them hears each number once.
    let talk = async {
        for number in 0..200 {
            broker.publish("lobby", number.to_string()).also("garden").await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (moved, ()) = tokio::join!(broker.clients().topic("lobby").move_to("lobby", "garden"), talk);
    assert_eq!(counts(moved.unwrap()), (2, 2, 2, 2), "Eve was not in the lobby");
    soon().await;
    for client in [&mut ann, &mut bob, &mut eve] {
        let lines = client.read().await;
        let heard: Vec<_> =
            lines.iter().filter_map(|line| line.split(' ').next_back()?.parse::<u32>().ok()).collect();
        assert_eq!(heard, (0..200).collect::<Vec<_>>(), "{lines:?}");
    }
    assert_eq!(broker.members("garden").await.unwrap().total, 3);
    assert_eq!(broker.members("lobby").await.unwrap().total, 0);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_be_subscribed_to_the_new_topic_stays() {
    let cluster =
        Cluster::with(1, |builder| builder.limits(|limits| limits.subscriptions_per_connection = 2)).await;
    let mut full = cluster.client(0, "ann", &["lobby", "other"]).await;
    let mut free = cluster.client(0, "bob", &["lobby"]).await;
    full.lines();
    free.lines();
    let broker = &cluster.node(0).broker;
    let moved = broker.clients().move_to("lobby", "garden").await.unwrap();
    assert_eq!((moved.clients, moved.changed, moved.failed), (2, 1, 1));
    assert!(!moved.is_complete());
    assert!(full.read().await.is_empty());
    assert_eq!(free.read().await, ["garden subscribed by the server", "lobby unsubscribed kicked"]);
    assert_eq!(named(&broker.members("lobby").await.unwrap()), [id(&mut full)]);
    // To where one is already nobody moves.
    let stayed = broker.clients().move_to("lobby", "lobby").await.unwrap();
    assert_eq!((stayed.clients, stayed.changed, stayed.failed), (2, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn many_clients_are_moved_at_once() {
    let cluster = Cluster::of(2).await;
    let mut clients = Vec::new();
    for number in 0..700 {
        clients.push(cluster.client(number % 2, "", &["lobby"]).await);
    }
    let broker = &cluster.node(0).broker;
    assert_eq!(counts(broker.clients().move_to("lobby", "garden").await.unwrap()), (700, 700, 2, 2));
    assert_eq!(broker.members("garden").await.unwrap().total, 700);
    assert_eq!(broker.clients().topic("lobby").count().await.unwrap().total, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_published_before_an_end_is_heard_before_it() {
    let cluster = Cluster::with(1, |builder| builder.shards(1)).await;
    let mut clients = Vec::new();
    // More than a shard hands a message out to in one turn; and nothing is handed out meanwhile.
    for _ in 0..600 {
        let mut client = cluster.client(0, "", &["news"]).await;
        client.lines();
        clients.push(client);
    }
    let broker = &cluster.node(0).broker;
    broker.publish("news", "first").into_future().now_or_never().unwrap().unwrap();
    broker.publish("news", "last").into_future().now_or_never().unwrap().unwrap();
    let ended = broker.clients().local().unsubscribe("news").await.unwrap();
    assert_eq!((ended.clients, ended.changed), (600, 600));
    for client in &mut clients {
        assert_eq!(client.read().await, ["news first", "news last", "news unsubscribed kicked"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_crowd_does_not_keep_everything_else_waiting() {
    let cluster = Cluster::of(1).await;
    let broker = &cluster.node(0).broker;
    let mut clients = Vec::new();
    for (count, takes_turns) in [(100, false), (300, true)] {
        while clients.len() < count {
            clients.push(cluster.client(0, "", &[]).await);
        }
        // Nothing of it has to wait for anything.
        let mut reauthorized = Box::pin(broker.clients().local().reauthorize());
        assert_eq!(crate::support::waits(&mut reauthorized), takes_turns, "{count}");
        if takes_turns {
            assert_eq!(reauthorized.await.unwrap().clients, count);
        }
    }
}
