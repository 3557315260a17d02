//! A core that takes its time.

use fanfare_core::{
    backend::{Arrivals, BackendState, NodeId, Origin},
    message::MessageParts,
};
use tokio::sync::Semaphore;

use super::*;

/// Writes down what it is given; messages wait for a permit each.
struct Slow {
    log: Mutex<Vec<String>>,
    busy: Mutex<Vec<TopicName>>,
    permits: Semaphore,
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
        self.permits.acquire().await.unwrap().forget();
        self.busy.lock().retain(|topic| !topics.contains(topic));
        let text = incoming.message.payload.as_str().unwrap().to_owned();
        self.log.lock().push(text);
    }

    fn lost(&self, topic: Option<&TopicName>) {
        self.log.lock().push(format!("lost {}", topic.unwrap()));
    }

    fn control(&self, _: NodeId, _: bytes::Bytes) {}

    fn state(&self, _: BackendState) {}
}

struct World {
    core: Arc<Slow>,
    lanes: Lanes,
    tasks: TaskTracker,
}

impl World {
    fn new(permits: usize) -> Self {
        let (log, busy) = (Mutex::default(), Mutex::default());
        let core = Arc::new(Slow { log, busy, permits: Semaphore::new(permits) });
        let tasks = TaskTracker::new();
        let ingress = Ingress::to(NodeId::new(1), core.clone());
        let lanes = Lanes::new(ingress, tasks.clone(), CancellationToken::new());
        Self { core, lanes, tasks }
    }

    fn deliver(&self, topics: &[&str], text: &str) {
        let name = |name: &str| TopicName::new(name).unwrap();
        let origin = Origin { node: NodeId::new(2), stream: 1, seq: 1 };
        let also = topics[1..].iter().map(|topic| (name(topic), origin)).collect();
        let parts = MessageParts::new(name(topics[0]), text);
        self.lanes.deliver(Incoming::ephemeral(parts, origin).with_also(also));
    }

    /// Everything is taken; what was, in order.
    async fn end(self) -> Vec<String> {
        self.core.permits.add_permits(1 << 20);
        self.tasks.close();
        self.tasks.wait().await;
        let state = self.lanes.shared.state.lock();
        assert!(state.by_topic.is_empty() && state.lanes.is_empty() && state.joined.is_empty());
        assert_eq!((state.messages, state.bytes), (0, 0));
        self.core.log.lock().clone()
    }
}

#[tokio::test]
async fn what_is_taken_at_once_needs_no_task() {
    let world = World::new(10);
    for text in ["1", "2", "3"] {
        world.deliver(&["t"], text);
    }
    assert_eq!(*world.core.log.lock(), ["1", "2", "3"]);
    assert_eq!(world.tasks.len(), 0);
    world.end().await;
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
    assert_eq!(*world.core.log.lock(), ["1"]);
    assert_eq!(world.end().await, ["1", "2", "3"]);
}

#[tokio::test]
async fn what_is_too_much_is_lost_at_its_place() {
    let world = World::new(0);
    // One is under way, the others wait.
    for n in 0..=LANE_MESSAGES + 10 {
        world.deliver(&["t"], &n.to_string());
    }
    world.core.permits.add_permits(100);
    while world.core.log.lock().len() < 100 {
        tokio::task::yield_now().await;
    }
    world.deliver(&["t"], "after");
    world.lanes.lost(&TopicName::new("t").unwrap());
    world.lanes.lost(&TopicName::new("t").unwrap());
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
