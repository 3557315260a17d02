//! Publishing through a session: the window of what waits for the backend.

use fanfare_core::{
    publish::PublishError,
    session::{Command, PublishCommand},
    topic::TopicConfig,
};

use crate::support::{Handle, Node, Remote, idle};

#[tokio::test(start_paused = true)]
async fn with_64_publishes_in_flight_the_next_command_waits() {
    let remote = Remote::new();
    let node = Node::start(|broker| broker.backend(Handle(remote.clone()))).await;
    remote.acks.shut();
    let mut client = node.client().await;
    for number in 1..=63 {
        client.send(Command::Publish(PublishCommand::new("t", number.to_string()))).await.unwrap();
    }
    assert!(client.session().has_pending() && client.lines().is_empty());
    let id = client.next_id();
    {
        let command = Command::Publish(PublishCommand::new("t", "64"));
        let mut last = std::pin::pin!(client.session().handle(id, command));
        tokio::select! {
            biased;
            _ = &mut last => panic!("64 are in flight: the socket must not be read"),
            () = idle() => {}
        }
        remote.acks.open();
        last.await.unwrap();
    }
    let mut lines = client.read().await;
    lines.sort_by_key(|line| line.split(':').next().unwrap().parse::<u64>().unwrap());
    assert_eq!(lines, (1..=64).map(|id| format!("{id}: published")).collect::<Vec<_>>());
    assert!(!client.session().has_pending());
}

#[tokio::test(start_paused = true)]
async fn acknowledgements_do_not_hold_up_other_commands() {
    let remote = Remote::new();
    let config = TopicConfig::new().history(10);
    let node = Node::start(|broker| broker.backend(Handle(remote.clone())).topic("log", config)).await;
    remote.acks.shut();
    let mut client = node.client().await;
    client.send(Command::Publish(PublishCommand::new("log", "x"))).await.unwrap();
    assert_eq!(client.call(Command::Ping).await, ["2: pong"]);
    assert_eq!(client.subscribe("t").await, ["3: subscribed"]);
    remote.acks.open();
    assert_eq!(client.read().await, ["1: published #1"]);
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_refuses_is_an_error_reply() {
    let remote = Remote::new();
    let node = Node::start(|broker| broker.backend(Handle(remote.clone()))).await;
    remote.go_down();
    let mut client = node.client().await;
    assert_eq!(client.publish("t", "x").await, ["1: error backend_unavailable retry"]);
}

#[tokio::test(start_paused = true)]
async fn a_report_counts_what_became_of_a_message() {
    use fanfare_core::topic::OverflowPolicy;
    let config = TopicConfig::new().queue_messages(1).overflow(OverflowPolicy::DropOldest);
    let closing = TopicConfig::new().queue_messages(1).overflow(OverflowPolicy::Disconnect);
    let conflating = TopicConfig::new().queue_messages(1).overflow(OverflowPolicy::ConflateByKey);
    let node = Node::start(|broker| {
        broker
            .topic("t", config)
            .topic("d", closing)
            .topic("k", conflating)
            .topic("log", TopicConfig::new().history(10))
    })
    .await;
    let (mut reading, mut stalled) = (node.client().await, node.client().await);
    for topic in ["t", "d", "k", "log"] {
        reading.subscribe(topic).await;
        stalled.subscribe(topic).await;
    }
    stalled.wire.shut();
    let report = async |topic| node.broker.publish(topic, "x").key("k").report().await.unwrap();
    let first = report("t").await;
    assert_eq!((first.matched, first.delivered, first.queued, first.dropped), (2, 1, 1, 0));
    let second = report("t").await;
    assert_eq!((second.matched, second.delivered, second.queued, second.dropped), (2, 1, 1, 1));
    report("k").await;
    let conflated = report("k").await;
    assert_eq!((conflated.queued, conflated.conflated, conflated.dropped), (1, 1, 0));
    let logged = report("log").await;
    assert_eq!((logged.position.unwrap().offset, logged.matched, logged.duplicate), (1, 2, false));
    report("d").await;
    let closed = report("d").await;
    assert_eq!((closed.matched, closed.delivered, closed.disconnected), (2, 1, 1));
    assert_eq!(node.broker.stats().slow_consumers, 1);
    let nobody = report("nobody").await;
    assert_eq!((nobody.matched, nobody.position), (0, None));
}

#[tokio::test(start_paused = true)]
async fn a_message_id_that_could_not_be_remembered_is_refused_by_its_name() {
    let history = TopicConfig::new().history(10);
    let node = Node::start(|broker| broker.default_topic(history).topic("now", TopicConfig::new())).await;
    let mut client = node.client().await;
    let me = format!("$client.{}", client.session().client().unwrap());
    let publish = |topics: &[&str]| {
        let topics = topics.iter().map(|topic| topic.to_string()).collect();
        let mut publish = PublishCommand::to_topics(topics, "x");
        publish.message_id = Some("m-1".to_owned());
        Command::Publish(publish)
    };
    for (number, topics) in
        [&["now"][..], &["$user.ann"], &[&me], &["now", "$user.ann"]].into_iter().enumerate()
    {
        let line = format!("{}: error bad_request message_id", number + 1);
        assert_eq!(client.call(publish(topics)).await, [line], "{topics:?}");
    }
    assert_eq!(client.call(publish(&["logged"])).await, ["5: published #1"]);
    for address in ["$all", "$user.ann", &me] {
        let refused = node.broker.publish(address, "x").message_id("m-1").await;
        assert!(
            matches!(refused, Err(PublishError::Unsupported { field: "message_id", .. })),
            "{address}: {refused:?}"
        );
    }
}
