//! What is counted adds up.

use fanfare_core::{
    Stats,
    session::{CloseKind, Command, Start},
    topic::{OverflowPolicy, TopicConfig},
};

use crate::support::{Node, idle, received};

fn accounted(stats: &Stats) -> u64 {
    stats.delivered
        + stats.conflated
        + stats.dropped
        + stats.discarded
        + stats.resynced
        + stats.hidden
        + stats.queued
}

#[tokio::test(start_paused = true)]
async fn every_message_that_was_offered_is_accounted_for() {
    let policies = [
        OverflowPolicy::DropOldest,
        OverflowPolicy::DropNewest,
        OverflowPolicy::ConflateByKey,
        OverflowPolicy::Disconnect,
        OverflowPolicy::Resync,
    ];
    for policy in policies {
        for logged in [true, false] {
            let config = TopicConfig::new().overflow(policy).queue_messages(3);
            let config = if logged { config.history(7) } else { config };
            let node = Node::start(|broker| broker.topic("t", config)).await;
            let mut clients = Vec::new();
            for _ in 0..4 {
                let mut client = node.client().await;
                client.subscribe("t").await;
                clients.push(client);
            }
            let mut inside = node.broker.subscribe("t").await.unwrap();
            clients[1].wire.shut();
            clients[2].wire.allow(17);
            for number in 0..30_u64 {
                let publish = node.broker.publish("t", number.to_string()).key((number % 2).to_string());
                // Alone, and in batches; hidden now and then.
                if number % 5 == 0 {
                    publish.except(clients[0].outbox.client()).try_send().unwrap();
                } else {
                    publish.try_send().unwrap();
                }
                if number % 4 == 0 {
                    idle().await;
                }
            }
            idle().await;
            let stats = node.broker.stats();
            assert_eq!(stats.offered, accounted(&stats), "{policy:?} {logged} {stats:?}");
            // Some read again, one unsubscribes, one is closed.
            clients[1].wire.open();
            received(&mut inside).await;
            clients[2].send(Command::Unsubscribe { topic: "t".to_owned() }).await.unwrap();
            clients[3].outbox.close(CloseKind::Kicked.into());
            node.publish_numbers("t", 30..=40).await;
            drop(inside);
            for client in &mut clients {
                client.settle().await;
            }
            idle().await;
            let stats = node.broker.stats();
            assert_eq!(stats.offered, accounted(&stats), "{policy:?} {logged} {stats:?}");
            drop(clients);
            idle().await;
            let stats = node.broker.stats();
            assert_eq!(stats.offered, accounted(&stats), "{policy:?} {logged} {stats:?}");
            assert_eq!((stats.queued, stats.queued_bytes, stats.subscriptions), (0, 0, 0));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_subscriber_got_and_was_told_to_have_missed_is_all_there_was() {
    for policy in [OverflowPolicy::DropOldest, OverflowPolicy::DropNewest] {
        let node = Node::start(|broker| broker).await;
        let mut topic = node.broker.subscribe("t").overflow(policy).queue_messages(5).await.unwrap();
        let (mut got, mut missed) = (0, 0);
        for round in 1..20_u64 {
            for number in 0..round {
                node.broker.publish("t", number.to_string()).await.unwrap();
            }
            for line in received(&mut topic).await {
                match line.strip_prefix("gap missed=") {
                    Some(rest) => missed += rest.split(' ').next().unwrap().parse::<u64>().unwrap(),
                    None => got += 1,
                }
            }
        }
        assert_eq!(got + missed, (1..20).sum::<u64>(), "{policy:?}");
        assert!(missed > 0 && got > 0);
        assert_eq!(node.broker.stats().dropped, missed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_subscription_under_disconnect_ends() {
    let node = Node::start(|broker| broker).await;
    let mut topic =
        node.broker.subscribe("t").overflow(OverflowPolicy::Disconnect).queue_messages(2).await.unwrap();
    node.publish_numbers("t", 1..=5).await;
    idle().await;
    while topic.try_recv().is_some() {}
    assert!(topic.recv().await.is_none(), "it has ended");
}

#[tokio::test(start_paused = true)]
async fn a_log_is_pulled_by_an_in_process_reader_at_its_own_pace() {
    let config = TopicConfig::new().history(1000);
    let node = Node::start(|broker| broker.topic("log", config)).await;
    let mut log = node.broker.subscribe("log").start(Start::Earliest).queue_messages(4).await.unwrap();
    node.publish_numbers("log", 1..=100).await;
    idle().await;
    assert!(log.queued() <= 4);
    let got = received(&mut log).await;
    let messages: Vec<_> = got.iter().filter(|line| line.starts_with("log#")).cloned().collect();
    assert_eq!(messages, (1..=100).map(|n| format!("log#{n} {n}")).collect::<Vec<_>>());
    assert_eq!(node.broker.stats().dropped, 0);
}
