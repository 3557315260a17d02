//! A cluster of two brokers in which one publishes all the time and both listen, and the law's books.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fanfare_core::{
    Broker,
    backend::BackendState,
    message::{GapReason, Payload},
    policy::Open,
    subscription::{Delivery, Subscription},
    topic::TopicConfig,
};
use fanfare_redis::RedisBuilder;
use parking_lot::Mutex;
use tokio::{task::JoinHandle, time::timeout};

use super::PATIENCE;

/// What a fault must be noticed within, and what a node must be back within after its end. The second one is told as measured, and
/// held with room for a busy machine.
pub const NOTICED: Duration = Duration::from_secs(10);
pub const BACK: Duration = Duration::from_secs(1);
const BACK_WHEN_BUSY: Duration = Duration::from_secs(4);

pub const LOGGED: &str = "logged.t";
pub const EPHEMERAL: &str = "ephemeral.t";

pub async fn broker(builder: RedisBuilder) -> Broker {
    let started = Broker::builder()
        .policy(Open)
        .shards(1)
        .limits(|limits| limits.queue_messages = 1 << 20)
        .topic("logged.>", TopicConfig::new().history(100_000).history_bytes(64 << 20))
        .backend(builder.build().expect("settings"))
        .start()
        .await;
    started.expect("a broker")
}

/// What one subscriber got: numbers, and where something may be missing.
#[derive(Default)]
struct Heard {
    last: u64,
    numbers: BTreeSet<u64>,
    /// (last number before, first number after).
    gaps: Vec<(u64, Option<u64>)>,
    wrong: Option<String>,
}

struct Listener {
    name: String,
    heard: Arc<Mutex<Heard>>,
    task: JoinHandle<()>,
}

impl Listener {
    fn start(name: String, mut subscription: Subscription<str>) -> Self {
        let heard = Arc::new(Mutex::new(Heard::default()));
        let task = tokio::spawn({
            let heard = heard.clone();
            async move {
                while let Some(delivery) = subscription.recv().await {
                    heard.lock().take(delivery);
                }
            }
        });
        Self { name, heard, task }
    }

    async fn until(&self, number: u64) {
        let deadline = Instant::now() + PATIENCE;
        while !self.heard.lock().numbers.contains(&number) {
            assert!(Instant::now() < deadline, "{}: {number} never came", self.name);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Each accepted message was delivered, or is covered by a gap; none came twice or out of order.
    fn check(&self, accepted: &BTreeSet<u64>, last: u64) -> usize {
        let heard = self.heard.lock();
        assert_eq!(heard.wrong, None, "{}", self.name);
        let missing: Vec<_> =
            accepted.iter().filter(|n| **n <= last && !heard.numbers.contains(n)).copied().collect();
        for number in &missing {
            let is_covered = heard
                .gaps
                .iter()
                .any(|(before, after)| before < number && after.is_none_or(|after| *number < after));
            assert!(is_covered, "{}: {number} is lost, and no gap covers it: {:?}", self.name, heard.gaps);
        }
        missing.len()
    }
}

impl Heard {
    fn take(&mut self, delivery: Delivery<Payload>) {
        match delivery {
            Delivery::Message(received) => {
                let text = received.message().payload().as_str().unwrap_or_default();
                let number: u64 = text.parse().expect("a number");
                if number <= self.last {
                    self.wrong.get_or_insert(format!("{number} came after {}", self.last));
                }
                self.last = number;
                self.numbers.insert(number);
                for (_, after) in &mut self.gaps {
                    after.get_or_insert(number);
                }
            }
            Delivery::Gap(gap) => {
                if gap.reason == GapReason::Slow {
                    self.wrong.get_or_insert("the reader was too slow for the test".into());
                }
                // What nobody can know has no number.
                if gap.missed.is_some_and(|missed| missed > 1 << 30) {
                    self.wrong.get_or_insert(format!("{gap:?}"));
                }
                self.gaps.push((self.last, None));
            }
            _ => {}
        }
    }
}

/// Two brokers: the first publishes all the time, both listen.
pub struct World {
    pub publisher: Broker,
    pub listener: Broker,
    listeners: [(&'static str, Listener); 3],
    accepted: [Arc<Mutex<BTreeSet<u64>>>; 2],
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    publishing: JoinHandle<()>,
}

impl World {
    pub async fn start(publisher: RedisBuilder, listener: RedisBuilder) -> Self {
        Self::paced(publisher, listener, Duration::from_millis(4)).await
    }

    pub async fn paced(publisher: RedisBuilder, listener: RedisBuilder, every: Duration) -> Self {
        let (publisher, listener) = (broker(publisher).await, broker(listener).await);
        let listen = async |broker: &Broker, topic: &'static str, who: &str| {
            let subscription = broker.subscribe(topic).await.expect("a subscription");
            (topic, Listener::start(format!("{topic} on the {who}"), subscription))
        };
        let listeners = [
            listen(&listener, LOGGED, "listener").await,
            listen(&listener, EPHEMERAL, "listener").await,
            listen(&publisher, LOGGED, "publisher").await,
        ];
        let accepted = [Arc::<Mutex<BTreeSet<u64>>>::default(), Arc::default()];
        let (next, stop) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
        let publishing = tokio::spawn({
            let (broker, accepted, next, stop) =
                (publisher.clone(), accepted.clone(), next.clone(), stop.clone());
            async move {
                while !stop.load(Ordering::SeqCst) {
                    let number = next.fetch_add(1, Ordering::SeqCst);
                    for (topic, accepted) in [LOGGED, EPHEMERAL].into_iter().zip(&accepted) {
                        // Handed over in order, acknowledged whenever.
                        let mut publish = Box::pin(broker.publish(topic, number.to_string()).into_future());
                        if let std::task::Poll::Ready(result) = futures_util::poll!(&mut publish) {
                            if result.is_ok() {
                                accepted.lock().insert(number);
                            }
                            continue;
                        }
                        let accepted = accepted.clone();
                        tokio::spawn(async move {
                            if publish.await.is_ok() {
                                accepted.lock().insert(number);
                            }
                        });
                    }
                    tokio::time::sleep(every).await;
                }
            }
        });
        Self { publisher, listener, listeners, accepted, next, stop, publishing }
    }

    /// Waits until a broker says so; how long it took.
    pub async fn until_state(broker: &Broker, wanted: BackendState) -> Duration {
        let since = Instant::now();
        let mut state = broker.backend_state();
        let reached = timeout(PATIENCE, state.wait_for(|state| *state == wanted)).await;
        reached.unwrap_or_else(|_| panic!("the backend was never {wanted:?}")).expect("a broker");
        since.elapsed()
    }

    /// Both brokers see an outage, in time.
    pub async fn noticed(&self, fault: &str) {
        let (a, b) = tokio::join!(
            Self::until_state(&self.publisher, BackendState::Down),
            Self::until_state(&self.listener, BackendState::Down),
        );
        eprintln!("{fault}: noticed after {:?}", a.max(b));
        assert!(a.max(b) < NOTICED, "{fault}: noticed after {:?}", a.max(b));
    }

    /// Both brokers are back, in time.
    pub async fn back(&self, fault: &str) {
        let (a, b) = tokio::join!(
            Self::until_state(&self.publisher, BackendState::Up),
            Self::until_state(&self.listener, BackendState::Up),
        );
        let took = a.max(b);
        let word = if took < BACK { "" } else { ", LATE" };
        eprintln!("{fault}: back after {took:?}{word}");
        assert!(took < BACK_WHEN_BUSY, "{fault}: back after {took:?}");
    }

    /// Waits until what is published now has come everywhere, and checks the books.
    pub async fn check(&self) {
        let wanted = self.next.load(Ordering::SeqCst);
        for (topic, listener) in &self.listeners {
            let accepted = &self.accepted[usize::from(*topic == EPHEMERAL)];
            let deadline = Instant::now() + PATIENCE;
            // The first one that was accepted from here on.
            let number = loop {
                if let Some(number) = accepted.lock().range(wanted..).next() {
                    break *number;
                }
                assert!(Instant::now() < deadline, "{topic}: nothing is accepted any more");
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            // An ephemeral one may be lost with the last throes of a fault.
            let mut number = number;
            if *topic == EPHEMERAL {
                while timeout(Duration::from_secs(2), listener.until(number)).await.is_err() {
                    assert!(Instant::now() < deadline, "{topic}: nothing arrives any more");
                    number = self.next.load(Ordering::SeqCst);
                }
            } else {
                listener.until(number).await;
            }
            let accepted = accepted.lock().clone();
            listener.check(&accepted, number);
        }
    }

    /// Ends everything. Says how many messages were lost and told.
    pub async fn end(self, fault: &str) {
        self.check().await;
        self.stop.store(true, Ordering::SeqCst);
        self.publishing.await.expect("publishing");
        let last = self.next.load(Ordering::SeqCst).saturating_sub(100);
        for (topic, listener) in &self.listeners {
            let accepted = self.accepted[usize::from(*topic == EPHEMERAL)].lock().clone();
            let lost = listener.check(&accepted, last);
            let gaps = listener.heard.lock().gaps.len();
            eprintln!(
                "{fault}: {}: {} accepted, {lost} lost and told, {gaps} gaps",
                listener.name,
                accepted.len()
            );
        }
        for broker in [&self.publisher, &self.listener] {
            broker.drain(Duration::from_secs(5)).await;
        }
        for (_, listener) in self.listeners {
            listener.task.abort();
        }
    }
}
