//! A core that takes its time.

use std::time::Duration;

use tokio::sync::Semaphore;

use super::{lanes::LANE_MESSAGES, *};
use crate::{
    backend::{Arrivals, Origin},
    message::MessageParts,
};

/// Writes down what it is given; messages wait for a permit each.
struct Slow {
    log: Mutex<Vec<String>>,
    busy: Mutex<Vec<TopicName>>,
    permits: Semaphore,
}

/// These topics have a delivery under way, until it is done or dropped.
struct Busy<'a>(&'a Slow, Vec<TopicName>);

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.lock().retain(|topic| !self.1.contains(topic));
    }
}

#[async_trait::async_trait]
impl Arrivals for Slow {
    async fn deliver(&self, incoming: Incoming) {
        let mut topics = vec![incoming.message.topic.clone()];
        topics.extend(incoming.also.into_iter().map(|(name, _)| name));
        {
            let mut busy = self.busy.lock();
            assert!(topics.iter().all(|topic| !busy.contains(topic)), "two at once for one topic");
            busy.extend(topics.iter().cloned());
        }
        let _busy = Busy(self, topics);
        self.permits.acquire().await.unwrap().forget();
        let text = incoming.message.payload.as_str().unwrap().to_owned();
        self.log.lock().push(text);
    }

    fn lost(&self, topic: Option<&TopicName>) {
        self.log.lock().push(format!("lost {}", topic.map_or("all", TopicName::as_str)));
    }

    fn control(&self, from: NodeId, frame: Bytes) {
        self.log.lock().push(format!("{} says {}", from.value(), String::from_utf8_lossy(&frame)));
    }

    fn state(&self, state: BackendState) {
        self.log.lock().push(format!("{state:?}"));
    }
}

struct World {
    core: Arc<Slow>,
    inbox: Inbox,
    /// Whether messages are given at once where that is possible.
    now: bool,
}

impl World {
    fn new(permits: usize) -> Self {
        let (log, busy) = (Mutex::default(), Mutex::default());
        let core = Arc::new(Slow { log, busy, permits: Semaphore::new(permits) });
        let inbox = Inbox::new(Ingress::to(NodeId::new(1), core.clone()));
        inbox.begin();
        Self { core, inbox, now: fastrand::bool() }
    }

    fn deliver(&self, topics: &[&str], text: &str) {
        let name = |name: &str| TopicName::new(name).unwrap();
        let origin = Origin { node: NodeId::new(2), stream: 1, seq: 1 };
        let also = topics[1..].iter().map(|topic| (name(topic), origin)).collect();
        let parts = MessageParts::new(name(topics[0]), text);
        let incoming = Incoming::ephemeral(parts, origin).with_also(also);
        if self.now { self.inbox.deliver_now(incoming) } else { self.inbox.deliver(incoming) }
    }

    fn log(&self) -> Vec<String> {
        self.core.log.lock().clone()
    }

    /// Everything is taken; what was, in order.
    async fn end(self) -> Vec<String> {
        self.core.permits.add_permits(1 << 20);
        while !self.inbox.shared.lanes.lock().is_empty() {
            tokio::task::yield_now().await;
        }
        self.log()
    }
}

#[tokio::test]
async fn what_is_taken_at_once_needs_no_task() {
    let world = World { now: true, ..World::new(10) };
    for text in ["1", "2", "3"] {
        world.deliver(&["t"], text);
    }
    assert_eq!(world.log(), ["1", "2", "3"]);
    assert!(world.inbox.tasks.lock().is_empty());
    world.end().await;
}

/// The core may hold the lock that it needs to take it.
#[tokio::test]
async fn nothing_is_given_within_the_call() {
    let world = World { now: false, ..World::new(10) };
    world.deliver(&["t"], "1");
    world.inbox.lost(Some(&TopicName::new("u").unwrap()));
    world.inbox.control(NodeId::new(7), Bytes::from_static(b"hello"));
    assert!(world.log().is_empty());
    let mut log = world.end().await;
    log.sort_unstable();
    assert_eq!(log, ["1", "7 says hello", "lost u"]);
}

#[tokio::test]
async fn a_slow_topic_keeps_its_order_and_holds_up_no_other() {
    let world = World::new(0);
    for text in ["1", "2", "3"] {
        world.deliver(&["slow"], text);
    }
    world.core.permits.add_permits(1);
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert_eq!(world.log(), ["1"]);
    assert_eq!(world.end().await, ["1", "2", "3"]);
}

#[tokio::test]
async fn what_is_too_much_is_lost_at_its_place() {
    let world = World::new(0);
    world.deliver(&["t"], "0");
    while world.core.busy.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    // One is under way, the others wait.
    for n in 1..=LANE_MESSAGES + 10 {
        world.deliver(&["t"], &n.to_string());
    }
    world.core.permits.add_permits(100);
    while world.core.log.lock().len() < 100 {
        tokio::task::yield_now().await;
    }
    world.deliver(&["t"], "after");
    world.inbox.lost(Some(&TopicName::new("t").unwrap()));
    world.inbox.lost(Some(&TopicName::new("t").unwrap()));
    let log = world.end().await;
    let expected = (0..=LANE_MESSAGES).map(|n| n.to_string());
    let expected = expected.chain(["lost t", "after", "lost t"].map(Into::into));
    assert_eq!(log, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_message_to_several_topics_waits_for_all_of_them() {
    for _ in 0..20 {
        let world = World::new(0);
        world.deliver(&["a"], "a1");
        world.deliver(&["b"], "b1");
        world.deliver(&["b"], "b2");
        world.deliver(&["a", "b", "c"], "abc");
        world.deliver(&["c"], "c1");
        world.deliver(&["b"], "b3");
        let log = world.end().await;
        let at = |text: &str| log.iter().position(|other| other == text).unwrap();
        assert_eq!(log.len(), 6);
        for (before, after) in [("a1", "abc"), ("b1", "b2"), ("b2", "abc"), ("abc", "c1"), ("abc", "b3")] {
            assert!(at(before) < at(after), "{before} before {after}: {log:?}");
        }
    }
}

#[tokio::test]
async fn a_loss_of_everything_is_told_behind_what_waits() {
    let world = World::new(0);
    world.deliver(&["a"], "a1");
    world.deliver(&["b"], "b1");
    world.inbox.lost(None);
    let log = world.end().await;
    let at = |text: &str| log.iter().position(|other| other == text);
    assert!(at("a1") < at("lost a") && at("b1") < at("lost b"), "{log:?}");
    assert!(at("a1").is_some() && at("b1").is_some() && at("lost all").is_some(), "{log:?}");
}

/// Clause *state*: what waits is dropped, and so is a delivery that has begun.
#[tokio::test(start_paused = true)]
async fn nothing_from_before_an_outage_comes_after_it() {
    let world = World::new(0);
    for text in ["1", "2"] {
        world.deliver(&["t"], text);
    }
    world.deliver(&["t", "u"], "3");
    // The first one is under way.
    tokio::time::sleep(Duration::from_millis(1)).await;
    world.inbox.control(NodeId::new(7), Bytes::from_static(b"hello"));
    world.inbox.state(BackendState::Up);
    assert!(world.log().is_empty(), "it is up already");
    for state in [BackendState::Down, BackendState::Down, BackendState::Up] {
        world.inbox.state(state);
    }
    world.deliver(&["t"], "4");
    assert_eq!(world.end().await, ["Down", "Up", "4"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_given_after_the_end() {
    let world = World::new(0);
    for text in ["1", "2"] {
        world.deliver(&["t"], text);
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    world.inbox.end().await;
    world.deliver(&["t"], "3");
    world.inbox.lost(None);
    world.inbox.control(NodeId::new(7), Bytes::new());
    assert!(world.end().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_before_the_beginning() {
    let world = World::new(10);
    let begun = World { inbox: Inbox::new(Ingress::to(NodeId::new(1), world.core.clone())), ..world };
    begun.deliver(&["t"], "before");
    begun.inbox.lost(None);
    begun.inbox.control(NodeId::new(7), Bytes::new());
    begun.inbox.state(BackendState::Down);
    begun.inbox.begin();
    begun.inbox.state(BackendState::Up);
    begun.deliver(&["t"], "after");
    assert_eq!(begun.end().await, ["after"]);
}
