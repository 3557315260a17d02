//! Two brokers of which one publishes all the time and both listen.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use fanfare_core::{
    Broker,
    backend::{Backend, BackendState},
    policy::Open,
    topic::TopicConfig,
};
use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::{task::JoinHandle, time::timeout};

use super::{BACK, EPHEMERAL, LOGGED, NOTICED, PATIENCE, books::Listener};

/// [`BACK`] on a machine that does much else.
const BACK_WHEN_BUSY: Duration = Duration::from_secs(4);

/// How often is published.
const PACE: Duration = Duration::from_millis(4);

/// A broker of one shard, whose topics `logged.>` are logged.
///
/// # Panics
///
/// When it does not start.
pub async fn broker(backend: impl Backend) -> Broker {
    let started = Broker::builder()
        .policy(Open)
        .shards(1)
        .limits(|limits| limits.queue_messages = 1 << 20)
        .topic("logged.>", TopicConfig::new().history(100_000).history_bytes(64 << 20))
        .backend(backend)
        .start()
        .await;
    started.unwrap_or_else(|error| panic!("a broker does not start: {error:?}"))
}

/// Two brokers: the first one publishes numbers to [`LOGGED`] and [`EPHEMERAL`] all the time, both listen. The law is checked with each
/// [`check`](Self::check).
///
/// All its functions panic where something is wrong.
pub struct World {
    /// The broker that publishes.
    pub publisher: Broker,
    /// The other one.
    pub listener: Broker,
    listeners: [(&'static str, Listener); 3],
    accepted: [Arc<Mutex<BTreeSet<u64>>>; 2],
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    publishing: JoinHandle<()>,
}

impl World {
    /// Starts both, and publishing.
    pub async fn start(publisher: impl Backend, listener: impl Backend) -> Self {
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
        let publishing =
            tokio::spawn(publish(publisher.clone(), accepted.clone(), next.clone(), stop.clone()));
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
        let took = self.until_both(BackendState::Down).await;
        eprintln!("{fault}: noticed after {took:?}");
        assert!(took < NOTICED, "{fault}: noticed after {took:?}");
    }

    /// Both brokers are back, in time.
    pub async fn back(&self, fault: &str) {
        let took = self.until_both(BackendState::Up).await;
        let word = if took < BACK { "" } else { ", LATE" };
        eprintln!("{fault}: back after {took:?}{word}");
        assert!(took < BACK_WHEN_BUSY, "{fault}: back after {took:?}");
    }

    /// Waits until both brokers say so; how long it took.
    pub async fn until_both(&self, wanted: BackendState) -> Duration {
        let (a, b) = tokio::join!(
            Self::until_state(&self.publisher, wanted),
            Self::until_state(&self.listener, wanted),
        );
        a.max(b)
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
            listener.until(number).await;
            let accepted = accepted.lock().clone();
            listener.check(&accepted, number);
        }
    }

    /// Checks the books for the last time and ends everything. Says how many messages were lost and told.
    pub async fn end(self, fault: &str) -> Losses {
        self.check().await;
        self.stop.store(true, Ordering::SeqCst);
        self.publishing.await.expect("publishing");
        let last = self.next.load(Ordering::SeqCst).saturating_sub(100);
        let mut losses = Losses::default();
        for (topic, listener) in &self.listeners {
            let accepted = self.accepted[usize::from(*topic == EPHEMERAL)].lock().clone();
            let lost = listener.check(&accepted, last);
            let gaps = listener.gaps();
            *(if *topic == LOGGED { &mut losses.logged } else { &mut losses.ephemeral }) += lost;
            losses.gaps += gaps;
            eprintln!(
                "{fault}: {}: {} accepted, {lost} lost and told, {gaps} gaps",
                listener.name,
                accepted.len(),
            );
        }
        for broker in [&self.publisher, &self.listener] {
            broker.drain(Duration::from_secs(5)).await;
        }
        losses
    }
}

/// What was lost and told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Losses {
    /// Messages of [`LOGGED`] that one of its two listeners missed.
    pub logged: usize,
    /// Messages of [`EPHEMERAL`] that its listener missed.
    pub ephemeral: usize,
    /// How often something was told to be lost.
    pub gaps: usize,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("next", &self.next).finish_non_exhaustive()
    }
}

/// Hands each number over to both topics, in order; it is acknowledged whenever.
async fn publish(
    broker: Broker,
    accepted: [Arc<Mutex<BTreeSet<u64>>>; 2],
    next: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) {
    while !stop.load(Ordering::SeqCst) {
        let number = next.fetch_add(1, Ordering::SeqCst);
        for (topic, accepted) in [LOGGED, EPHEMERAL].into_iter().zip(&accepted) {
            let mut publish = Box::pin(broker.publish(topic, number.to_string()).into_future());
            if let Some(result) = (&mut publish).now_or_never() {
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
        tokio::time::sleep(PACE).await;
    }
}
