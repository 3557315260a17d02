//! Logs where something goes on beside them: writers while they are read, outages, odd positions and sizes.

mod support;

use std::time::Duration;

use fanfare_core::{
    backend::{BackendState, HistoryQuery},
    session::Start,
    subscription::Delivery,
    topic::TopicConfig,
};
use fanfare_testkit::{
    faults::{World, logs, retention},
    server::Program,
};
use support::{PATIENCE, Setup, broker, lone};
use tokio::time::{Instant, sleep, sleep_until, timeout};

const TOPIC: &str = "logged.t";

/// What is published while the server is away belongs to the log that was there before: nothing was lost of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_held_back_goes_on_in_the_same_log() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let kept = retention(&TopicConfig::new().history(100));
    let patient = setup.builder().publish_buffer(100, 1 << 20).publish_within(PATIENCE);
    let node = lone(patient).await;
    let first = node.hand_over(TOPIC, "1", Some(kept)).await.expect("it is stored");
    setup.proxy.refuse();
    node.until_state(BackendState::Down).await;
    // The connection that publishes may find itself broken later than the one that listens, which has said so.
    let held = loop {
        let mut held = node.hand_over(TOPIC, "2", Some(kept));
        match timeout(Duration::from_millis(100), &mut held).await {
            Ok(answer) => assert!(answer.is_err(), "nothing reaches the server: {answer:?}"),
            Err(_) => break held,
        }
    };
    setup.proxy.heal();
    let second = held.await.expect("it is stored").position.expect("a position");
    let first = first.position.expect("a position");
    assert_eq!((second.epoch, second.offset), (first.epoch, first.offset + 1), "no hole");
    let page = node.history(TOPIC, HistoryQuery::After { offset: 0, limit: 10 }).await;
    assert_eq!(page.messages.len(), 2, "what was retained before is still there");
    node.end().await;
}

/// A server comes back with an older log: what was held back must not be given positions that other messages had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_held_back_takes_no_place_that_was_lost() {
    let Some(mut setup) = Setup::with(Program::Redis, &["save 3600 1"]).await else { return };
    let kept = retention(&TopicConfig::new().history(100));
    let patient = setup.builder().publish_buffer(10_000, 1 << 30).publish_within(PATIENCE);
    let node = lone(patient).await;
    node.hand_over(TOPIC, "1", Some(kept)).await.expect("it is stored");
    let _: String = setup.tell(&["SAVE"]).await;
    let lost = node.hand_over(TOPIC, "lost", Some(kept)).await.expect("it is stored");
    let lost = lost.position.expect("a position");
    // The server takes nothing any more, and is more than a connection's buffers behind.
    setup.server.pause().expect("a signal");
    let filler = "x".repeat(60_000);
    let held: Vec<_> = (0..600).map(|_| node.hand_over(TOPIC, &filler, Some(kept))).collect();
    sleep(Duration::from_millis(300)).await;
    setup.server.kill();
    node.until_state(BackendState::Down).await;
    setup.server.restart().await.expect("a server");
    let mut stored = 0;
    for publish in held {
        if let Ok(accepted) = publish.await {
            stored += 1;
            let position = accepted.position.expect("a position");
            assert!(
                position.epoch != lost.epoch || position.offset > lost.offset + (1 << 32),
                "{position:?} may have named another message: {lost:?} did"
            );
        }
    }
    assert!(stored > 0, "the test is about messages that were held back");
    node.end().await;
}

/// A server that restarts may have lost the end of a log, and nobody knows how much: what it has kept is read as before, and who
/// recovers across that place is told of it there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_restart_has_left_is_recovered_with_a_gap_at_its_place() {
    let Some(mut setup) = Setup::with(Program::Redis, &["appendonly yes", "appendfsync always"]).await else {
        return;
    };
    let first = broker(setup.builder()).await;
    let mut positions = Vec::new();
    for n in 1..=3 {
        positions.push(first.publish(TOPIC, n.to_string()).await.expect("it is stored").position);
    }
    setup.server.stop().await.expect("a signal");
    World::until_state(&first, BackendState::Down).await;
    setup.server.restart().await.expect("a server");
    World::until_state(&first, BackendState::Up).await;
    for n in 4..=5 {
        let position = first.publish(TOPIC, n.to_string()).await.expect("it is stored").position;
        assert_eq!(position.map(|p| p.epoch), positions[0].map(|p| p.epoch), "the log goes on");
    }
    let other = broker(setup.builder()).await;
    for reader in [&first, &other] {
        let after = positions[0].expect("a position");
        let mut subscription =
            reader.subscribe(TOPIC).start(Start::After(after)).await.expect("a subscription");
        assert_eq!(subscription.outcome().recovered, Some(false));
        let mut heard = Vec::new();
        while heard.last().is_none_or(|last| last != "live") {
            heard.push(match timeout(PATIENCE, subscription.recv()).await.expect("a delivery") {
                Some(Delivery::Message(message)) => {
                    message.message().payload().as_str().expect("text").to_owned()
                }
                Some(Delivery::Gap(gap)) => format!("a gap of {:?}", gap.missed),
                Some(Delivery::Live(_)) => "live".to_owned(),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(heard, ["2", "3", "a gap of None", "4", "5", "live"]);
    }
    for broker in [first, other] {
        broker.drain(Duration::from_secs(5)).await;
    }
}

/// Where messages expire a log is searched for the first that has not: also across what was lost, where offsets leap.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_expired_is_found_across_a_leap() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let lifetime = Duration::from_secs(5);
    let kept = retention(&TopicConfig::new().history(100).history_ttl(lifetime));
    let node = lone(setup.builder()).await;
    let hand_over =
        async |n: u32| node.hand_over(TOPIC, &n.to_string(), Some(kept)).await.expect("it is stored");
    let texts = async || {
        let page = node.history(TOPIC, HistoryQuery::After { offset: 0, limit: 100 }).await;
        let texts = page.messages.iter().filter_map(|m| m.payload().as_str().map(ToOwned::to_owned));
        (page.floor, texts.collect::<Vec<_>>())
    };
    for n in 1..=3 {
        hand_over(n).await;
    }
    let expire = Instant::now() + lifetime;
    sleep(lifetime - Duration::from_secs(1)).await;
    let later = Instant::now();
    for n in 4..=6 {
        hand_over(n).await;
    }
    // As if another server had written last.
    let _: i64 = setup.tell(&["HSET", &format!("fanfare:meta:{{{TOPIC}}}"), "run", "another"]).await;
    for n in 7..=8 {
        hand_over(n).await;
    }
    sleep_until(expire + Duration::from_millis(100)).await;
    let found = texts().await;
    // Where the machine stood still for seconds nothing can be said.
    if later.elapsed() < lifetime {
        assert_eq!(found, (3, (4..=8).map(|n| n.to_string()).collect()));
    }
    node.end().await;
}

/// Much may expire between two messages: it goes in few steps, for a server does nothing else meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_expired_goes_in_few_steps() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let lifetime = Duration::from_secs(1);
    let kept = retention(&TopicConfig::new().history(10_000).history_ttl(lifetime));
    let node = lone(setup.builder()).await;
    let stored: Vec<_> = (0..3000).map(|n| node.hand_over(TOPIC, &n.to_string(), Some(kept))).collect();
    for stored in stored {
        stored.await.expect("it is stored");
    }
    // As if the middle of it were a leap.
    let _: i64 = setup.tell(&["HSET", &format!("fanfare:meta:{{{TOPIC}}}"), "run", "another"]).await;
    node.hand_over(TOPIC, "behind a leap", Some(kept)).await.expect("it is stored");
    sleep(lifetime + Duration::from_millis(100)).await;
    let _: String = setup.tell(&["CONFIG", "RESETSTAT"]).await;
    node.hand_over(TOPIC, "last", Some(kept)).await.expect("it is stored");
    let stats: String = setup.tell(&["INFO", "commandstats"]).await;
    let calls = |command: &str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
        line.and_then(|line| line.split(',').next()?.parse::<u32>().ok()).unwrap_or(0)
    };
    assert_eq!(calls("xtrim"), 1, "{stats}");
    assert!(calls("xrange") < 100, "{stats}");
    let left: u64 = setup.tell(&["XLEN", &format!("fanfare:log:{{{TOPIC}}}")]).await;
    assert_eq!(left, 1, "all that has expired is gone");
    node.end().await;
}

/// What is trimmed while the end of a log is read in several parts is not said to be there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_trimmed_while_a_log_is_read_is_not_claimed() {
    const KEPT: usize = 60;
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let kept = retention(&TopicConfig::new().history(KEPT).history_bytes(1 << 30));
    let (writer, reader) = (lone(setup.builder()).await, lone(setup.builder()).await);
    let filler = "x".repeat(100_000);
    let write = async || writer.hand_over(TOPIC, &filler, Some(kept)).await.expect("it is stored");
    for _ in 0..KEPT {
        write().await;
    }
    let writing = async {
        loop {
            write().await;
        }
    };
    let reading = async {
        for _ in 0..30 {
            let page = reader.history(TOPIC, HistoryQuery::Before { offset: None, limit: KEPT }).await;
            let offsets: Vec<_> =
                page.messages.iter().filter_map(|message| Some(message.position()?.offset)).collect();
            assert!(offsets.windows(2).all(|pair| pair[1] == pair[0] + 1), "{offsets:?}");
            let first = offsets.first().expect("a message");
            assert!(page.more || page.floor + 1 == *first, "all is there after {}: {offsets:?}", page.floor);
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
    for node in [writer, reader] {
        node.end().await;
    }
}

/// Keys that are written while the last values are read are not passed over, and none comes twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn last_values_are_complete_while_they_are_written() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    logs::last_values_while_written(lone(setup.builder()).await, 1200, 50).await;
}

/// Last values of any size are read, in answers of bounded size.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_last_values_are_read() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let node = lone(setup.builder().publish_within(PATIENCE).answer_within(PATIENCE)).await;
    logs::large_last_values(node, 150, 2 << 20).await;
}

/// Clients name positions as they like.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn positions_that_never_were_are_answered() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    logs::positions_that_never_were(lone(setup.builder()).await).await;
}

/// Configurations at their ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_without_bounds_is_a_log() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    logs::without_bounds(lone(setup.builder()).await).await;
}

/// What came before an outage is given before its end is told, or not at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_from_before_an_outage_comes_after_it() {
    let Some(setup) = Setup::start(Program::Redis).await else { return };
    let (publisher, listener) = (lone(setup.builder()).await, lone(setup.builder()).await);
    let kick = async || {
        setup.kill_subscribers().await;
    };
    logs::nothing_from_before(publisher, listener, kick).await;
}
