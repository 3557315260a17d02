//! Joined bytes live for one write: what a socket interrupts is finished, and only that is kept.

use std::task::{Context, Poll, Waker};

use fanfare_core::{
    session::{Command, SubscribeCommand},
    subscription::Delivery,
    topic::{OverflowPolicy, TopicConfig},
};

use crate::support::{Node, deliveries, idle};

const QUEUE: usize = 3;

async fn with_policy(policy: OverflowPolicy) -> Node {
    let config = TopicConfig::new().overflow(policy).queue_messages(QUEUE);
    let config = if policy == OverflowPolicy::Resync { config.history(100) } else { config };
    Node::start(|broker| broker.topic("t", config)).await
}

/// Subscribes, lets the socket take all of the first message and a part of the second, and
/// publishes up to the tenth.
async fn interrupted(node: &Node, policy: OverflowPolicy) -> crate::support::TestClient {
    let mut client = node.client().await;
    client.subscribe("t").await;
    client.wire.shut();
    let first = if policy == OverflowPolicy::Resync { "t#1 1\n" } else { "t 1\n" };
    client.wire.allow(first.len() + 2);
    node.publish_numbers("t", 1..=10).await;
    client.settle().await;
    assert_eq!(client.lines(), [first.trim_end()]);
    client
}

#[tokio::test(start_paused = true)]
async fn rule_5_an_interrupted_frame_is_finished_under_every_policy() {
    let cases: [(OverflowPolicy, &[&str]); 5] = [
        (OverflowPolicy::DropOldest, &["t 2", "t gap missed=5 ?..? slow", "t 8", "t 9", "t 10"]),
        (OverflowPolicy::DropNewest, &["t 2", "t 3", "t 4", "t 5", "t gap missed=5 ?..? slow"]),
        (OverflowPolicy::ConflateByKey, &["t 2", "t gap missed=5 ?..? slow", "t 8", "t 9", "t 10"]),
        (OverflowPolicy::Disconnect, &["t 2", "close 4100 slow_consumer"]),
        (
            OverflowPolicy::Resync,
            &[
                "t#2 2",
                "t#3 3",
                "t#4 4",
                "t#5 5",
                "t#6 6",
                "t#7 7",
                "t#8 8",
                "t#9 9",
                "t#10 10",
                "t live #10",
            ],
        ),
    ];
    for (policy, expected) in cases {
        let node = with_policy(policy).await;
        let mut client = interrupted(&node, policy).await;
        client.wire.open();
        assert_eq!(client.read().await, expected, "{policy:?}");
        let over = client.over().await.map(|reason| reason.code());
        assert_eq!(over, (policy == OverflowPolicy::Disconnect).then_some(4100), "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn rule_5_an_interrupted_frame_is_finished_when_the_subscription_or_the_connection_ends() {
    let node = with_policy(OverflowPolicy::DropOldest).await;
    let mut client = interrupted(&node, OverflowPolicy::DropOldest).await;
    client.send(Command::Unsubscribe { topic: "t".to_owned() }).await.unwrap();
    client.wire.open();
    assert_eq!(client.read().await, ["t 2", "2: unsubscribed"]);

    let mut client = interrupted(&node, OverflowPolicy::DropOldest).await;
    client.outbox.close(fanfare_core::session::CloseKind::Kicked.into());
    client.wire.open();
    assert_eq!(client.read().await, ["t 2", "close 4005 kicked"]);
}

#[tokio::test(start_paused = true)]
async fn rule_5_what_is_kept_is_the_interrupted_frames_own_bytes() {
    let node = Node::start(|broker| broker).await;
    let mut witness = node.broker.subscribe("t").await.unwrap();
    let mut client = node.client().await;
    client.subscribe("t").await;
    client.wire.shut();
    client.wire.allow(2);
    // One turn joins both.
    node.broker.try_publish("t", "x".repeat(100)).unwrap();
    node.broker.try_publish("t", "y".repeat(100)).unwrap();
    idle().await;
    let Some(Delivery::Message(message)) = witness.recv().await else { panic!("no message") };
    let own = message.message().encoded(&node.format).as_ptr_range();
    let mut frames = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    assert!(matches!(client.outbox.poll_pull(&mut cx, 1, &mut frames), Poll::Ready(None)));
    assert_eq!(frames[0].len(), message.message().encoded(&node.format).len() - 2);
    let kept = frames[0].as_ptr_range();
    assert!(
        own.start <= kept.start && kept.end <= own.end,
        "a slice of the frame itself, not of what was joined"
    );
}

#[tokio::test(start_paused = true)]
async fn rule_5_the_rest_then_control_then_queues() {
    let node = with_policy(OverflowPolicy::DropOldest).await;
    let mut client = node.client().await;
    client.subscribe("t").await;
    client.wire.shut();
    client.wire.allow(2);
    node.publish_numbers("t", 1..=3).await;
    client.settle().await;
    client.send(Command::Ping).await.unwrap();
    assert!(client.outbox.ping());
    client.wire.open();
    assert_eq!(client.read().await, ["t 1", "2: pong", "ping", "t 2", "t 3"]);
}

#[tokio::test(start_paused = true)]
async fn rule_5_data_never_fills_the_control_lane() {
    let node = Node::start(|broker| broker.limits(|l| l.control_bytes = 600)).await;
    let mut client = node.client().await;
    client.subscribe("t").await;
    client.wire.shut();
    for _ in 0..100 {
        node.broker.publish("t", "x".repeat(2000)).await.unwrap();
    }
    client.settle().await;
    // There is room for a reply, although the queue is full.
    client.send(Command::Ping).await.unwrap();
    client.wire.open();
    assert_eq!(client.read().await[0], "2: pong");
}

#[tokio::test(start_paused = true)]
async fn rule_5_the_control_lane_is_bounded_and_one_reply_always_fits() {
    let node = Node::start(|broker| broker.limits(|l| l.control_bytes = 520)).await;
    let mut client = node.client().await;
    client.wire.shut();
    client.send(Command::Ping).await.unwrap();
    client.send(Command::Ping).await.unwrap();
    // The lane holds less than a usual reply: the client's next command waits.
    let id = client.next_id();
    let wire = client.wire.clone();
    {
        let mut third = std::pin::pin!(client.session().handle(id, Command::Ping));
        tokio::select! {
            biased;
            _ = &mut third => panic!("there is no room"),
            () = idle() => {}
        }
        wire.open();
        third.await.unwrap();
    }
    assert_eq!(client.read().await, ["1: pong", "2: pong", "3: pong"]);

    // A reply that is larger than the lane.
    let node = Node::start(|broker| {
        broker.limits(|l| l.control_bytes = 10).topic("log", TopicConfig::new().history(10))
    })
    .await;
    node.broker.publish("log", "x".repeat(1000)).await.unwrap();
    let mut client = node.client().await;
    let history = Command::History(fanfare_core::session::HistoryCommand::newest("log"));
    assert_eq!(client.call(history).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn rule_5_queues_are_bounded_in_bytes_and_one_message_always_fits() {
    let node = Node::start(|broker| broker.limits(|l| l.queue_bytes = 1000)).await;
    let mut client = node.client().await;
    client.subscribe("t").await;
    client.wire.shut();
    for number in 0..50 {
        node.broker.publish("t", format!("{number:0100}")).await.unwrap();
    }
    client.settle().await;
    let stats = node.broker.stats();
    assert!(stats.queued_bytes <= 1000 && stats.queued > 3, "{stats:?}");
    node.broker.publish("t", "x".repeat(5000)).await.unwrap();
    client.settle().await;
    assert_eq!(node.broker.stats().queued, 1, "the largest takes the place of all others");
    client.wire.open();
    assert_eq!(client.read().await[1], format!("t {}", "x".repeat(5000)));
}

#[tokio::test(start_paused = true)]
async fn rule_5_all_queues_of_the_process_share_a_budget() {
    let node = Node::start(|broker| broker.limits(|l| l.total_queue_bytes = 2000)).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = node.client().await;
        client.subscribe("t").await;
        client.wire.shut();
        clients.push(client);
    }
    for number in 0..50 {
        node.broker.publish("t", format!("{number:0100}")).await.unwrap();
    }
    idle().await;
    let stats = node.broker.stats();
    // One message for each connection whatever happens.
    assert!(stats.queued_bytes <= 2000 + 5 * 200, "{stats:?}");
    for client in &mut clients {
        client.wire.open();
        let lines = client.read().await;
        assert_eq!(lines.last().unwrap(), &format!("t {:0100}", 49), "the newest is never what goes");
    }
    assert_eq!(node.broker.stats().queued_bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn rule_5_conflation_keeps_the_newest_of_each_key_at_the_back() {
    let node = with_policy(OverflowPolicy::ConflateByKey).await;
    let mut client = node.client().await;
    client.subscribe("t").await;
    client.wire.shut();
    for (key, value) in [("a", "1"), ("b", "1"), ("c", "1"), ("a", "2"), ("b", "2"), ("b", "3")] {
        node.broker.publish("t", value).key(key).await.unwrap();
    }
    client.settle().await;
    client.wire.open();
    assert_eq!(client.read().await, ["t 1 key=c", "t 2 key=a", "t 3 key=b"]);
    let stats = node.broker.stats();
    assert_eq!((stats.conflated, stats.dropped), (3, 0));
}

#[tokio::test(start_paused = true)]
async fn rule_5_a_turns_messages_go_out_in_one_write() {
    let node = Node::start(|broker| broker).await;
    let mut client = node.client().await;
    client.subscribe("t").await;
    let before = client.wire.writes();
    for number in 0..10 {
        node.broker.try_publish("t", number.to_string()).unwrap();
    }
    assert_eq!(client.read().await.len(), 10);
    assert_eq!(client.wire.writes() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn rule_5_several_topics_of_a_turn_go_out_in_one_write() {
    let node = Node::start(|broker| broker).await;
    let mut client = node.client().await;
    for topic in ["a", "b", "c", "d"] {
        client.subscribe(topic).await;
    }
    let before = client.wire.writes();
    for topic in ["a", "b", "c", "d"] {
        node.broker.try_publish(topic, "1").unwrap();
        node.broker.try_publish(topic, "2").unwrap();
    }
    let lines = client.read().await;
    assert_eq!(lines.len(), 8);
    for topic in ["a", "b", "c", "d"] {
        let own: Vec<_> = lines.iter().filter(|line| line.starts_with(topic)).collect();
        assert_eq!(own, [&format!("{topic} 1"), &format!("{topic} 2")]);
    }
    assert!(client.wire.writes() - before <= 2, "{} writes", client.wire.writes() - before);
}

#[tokio::test(start_paused = true)]
async fn rule_5_without_a_socket_the_same_frames_are_pulled_in_the_same_order() {
    let node = Node::start(|broker| broker).await;
    let handshake = fanfare_core::session::Handshake::new("pulled");
    let (mut session, outbox) = node.broker.connect(handshake, &node.format).await.unwrap();
    session.handle(None, Command::Subscribe(SubscribeCommand::live("t"))).await.unwrap();
    node.publish_numbers("t", 1..=3).await;
    let id = fanfare_core::session::RequestId::new(1);
    session.handle(id, Command::Ping).await.unwrap();
    idle().await;
    let mut frames = Vec::new();
    let pulled = std::future::poll_fn(|cx| outbox.poll_pull(cx, 1 << 16, &mut frames)).await;
    assert_eq!(pulled, None);
    assert_eq!(frames.concat(), b"1: pong\nt 1\nt 2\nt 3\n");
    // A waiting pull is woken by the next message.
    let waiting = tokio::spawn({
        let outbox = outbox.clone();
        async move {
            let mut frames = Vec::new();
            std::future::poll_fn(|cx| outbox.poll_pull(cx, 1 << 16, &mut frames)).await;
            frames.concat()
        }
    });
    idle().await;
    node.publish_numbers("t", 4..=4).await;
    assert_eq!(waiting.await.unwrap(), b"t 4\n");
    outbox.finish(fanfare_core::session::CloseKind::Normal.into());
    frames.clear();
    let last = std::future::poll_fn(|cx| outbox.poll_pull(cx, 1 << 16, &mut frames)).await;
    assert_eq!(
        (last.map(|reason| reason.code()), frames.concat()),
        (Some(1000), b"close 1000 normal\n".to_vec())
    );
}

/// What a transport may hand back after each frame: never ahead of what was lost and not told yet.
#[tokio::test(start_paused = true)]
async fn rule_5_what_is_pulled_says_where_it_stands() {
    let logged = || TopicConfig::new().history(100).overflow(OverflowPolicy::DropOldest).queue_messages(2);
    let node = Node::start(|broker| broker.topic("log.*", logged())).await;
    let handshake = fanfare_core::session::Handshake::new("pulled");
    let (mut session, outbox) = node.broker.connect(handshake, &node.format).await.unwrap();
    for topic in ["log.a", "eph", "log.>", "log.b"] {
        session.subscribe(SubscribeCommand::live(topic)).await.unwrap();
    }
    let (a, b) = (session.subscription("log.a").unwrap(), session.subscription("log.b").unwrap());
    assert!(a != b && session.subscription("log.c").is_none());
    for (topic, numbers) in [("log.a", 1..=3), ("eph", 1..=1), ("log.b", 1..=1), ("log.x", 1..=1)] {
        node.publish_numbers(topic, numbers).await;
    }
    node.broker.publish("log.b", "hidden").except(outbox.client()).await.unwrap();
    idle().await;
    let mut pulled = Vec::new();
    std::future::poll_fn(|cx| {
        outbox.poll_pull_frames(cx, 1 << 16, |frame| {
            let line = String::from_utf8(frame.bytes.to_vec()).unwrap();
            pulled.push((line.trim_end().to_owned(), frame.cursor.map(|(id, at)| (id, at.offset))));
        })
    })
    .await;
    pulled.sort();
    let line = |text: &str, cursor| (text.to_owned(), cursor);
    let expected = [
        line("eph 1", None),
        line("log.a gap missed=1 0..2 slow", None),
        line("log.a#2 2", Some((a, 2))),
        line("log.a#3 3", Some((a, 3))),
        line("log.b#1 1", Some((b, 1))),
        line("log.b#2 hidden", Some((b, 2))),
        line("log.x#1 1", None),
    ];
    assert_eq!(pulled, expected);
}

#[tokio::test(start_paused = true)]
async fn rule_9_who_does_not_pull_is_stalled() {
    use std::time::Duration;

    let node = Node::start(|broker| broker).await;
    let handshake = fanfare_core::session::Handshake::new("pulled");
    let (mut session, outbox) = node.broker.connect(handshake, &node.format).await.unwrap();
    session.subscribe(SubscribeCommand::live("t")).await.unwrap();
    let pull = async |max| {
        let mut frames = Vec::new();
        std::future::poll_fn(|cx| outbox.poll_pull(cx, max, &mut frames)).await
    };
    tokio::time::advance(Duration::from_secs(60)).await;
    assert_eq!(outbox.stalled_for(), None, "nothing waits");
    node.publish_numbers("t", 1..=2).await;
    idle().await;
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(outbox.stalled_for().unwrap() >= Duration::from_secs(5));
    assert_eq!(node.broker.stats().lagging, 1);
    pull(1).await;
    assert!(outbox.stalled_for().unwrap() < Duration::from_secs(1), "what is left waits anew");
    pull(1).await;
    assert_eq!((outbox.stalled_for(), node.broker.stats().lagging), (None, 0));
    // The last word waits as well, until it is pulled.
    assert_eq!(outbox.over(), None);
    outbox.close(fanfare_core::session::CloseKind::Kicked.into());
    assert!(outbox.stalled_for().is_some() && outbox.over().is_none());
    assert_eq!(pull(1).await.map(|reason| reason.code()), Some(4005));
    assert_eq!(outbox.over().map(|reason| reason.code()), Some(4005));
    assert_eq!(outbox.stalled_for(), None);
}

#[tokio::test(start_paused = true)]
async fn rule_5_a_stalled_reader_holds_up_nobody_else() {
    let node = with_policy(OverflowPolicy::DropOldest).await;
    let mut stalled = node.client().await;
    let mut other = node.client().await;
    stalled.subscribe("t").await;
    other.subscribe("t").await;
    stalled.wire.shut();
    for number in 0..100 {
        node.broker.publish("t", number.to_string()).await.unwrap();
    }
    let got = deliveries(other.read().await);
    assert_eq!(got.len(), 100);
    assert!(stalled.outbox.stalled_for().is_some() && other.outbox.stalled_for().is_none());
    assert_eq!(node.broker.stats().lagging, 1);
}
