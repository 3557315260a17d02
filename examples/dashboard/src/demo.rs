//! Something to see: real publishers and real subscribers within the process, some of which are too slow on purpose.
//!
//! Three topics show what becomes of a slow reader. `demo.prices` conflates: it skips to the newest price of each share.
//! `demo.clicks` drops the oldest, and tells the gap. `demo.orders` is logged: it reads again from the log, and misses nothing
//! as long as the log reaches back far enough.

use std::{f64::consts::TAU, time::Duration};

use clap::ValueEnum;
use fanfare::{
    Broker, BrokerBuilder, SubscribeError,
    session::Refusal,
    subscription::{Delivery, Subscription},
    topic::{OverflowPolicy, TopicConfig},
};
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

/// Where pages publish the level that they want.
pub(crate) const WANTED: &str = "demo.level";

/// How much of it there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Nothing but the dashboard itself.
    Off,
    /// About a thousand deliveries a second.
    #[default]
    Light,
    /// About ten times as many.
    Heavy,
}

impl Level {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Light => "light",
            Self::Heavy => "heavy",
        }
    }

    fn publishes_per_second(self) -> f64 {
        match self {
            Self::Off => 0.0,
            Self::Light => 60.0,
            Self::Heavy => 600.0,
        }
    }
}

/// One topic of the demo: its configuration, its share of what is published, and who reads it.
struct Part {
    topic: &'static str,
    share: f64,
    quick: usize,
    slow: usize,
}

const PARTS: [Part; 3] = [
    Part { topic: "demo.prices", share: 0.5, quick: 20, slow: 4 },
    Part { topic: "demo.clicks", share: 0.3, quick: 12, slow: 3 },
    Part { topic: "demo.orders", share: 0.2, quick: 6, slow: 1 },
];

const SHARES: [&str; 5] = ["ACME", "BRASS", "HORN", "TUBA", "VALVE"];

/// How long a slow reader takes for one message.
const SLOW: Duration = Duration::from_millis(400);

/// Gives a broker the demo's topics. Pages may ask for a level, and for nothing else.
pub(crate) fn configure(broker: BrokerBuilder) -> BrokerBuilder {
    let queue = || TopicConfig::new().queue_messages(32);
    broker
        .topic("demo.prices", queue().overflow(OverflowPolicy::ConflateByKey))
        .topic("demo.clicks", queue().overflow(OverflowPolicy::DropOldest))
        .topic("demo.orders", queue().history(2000))
        .on_publish(WANTED, |publish| async move {
            match level_of(&publish.payload) {
                Some(_) => Ok(publish),
                None => Err(Refusal::invalid_payload("a level is \"off\", \"light\" or \"heavy\"")),
            }
        })
}

/// Runs the level that was asked for last, beginning with the one in `level`, and says there which one it is.
pub(crate) async fn run(broker: Broker, level: watch::Sender<Level>) {
    if let Err(error) = follow(&broker, level).await {
        tracing::warn!(%error, "the demo has ended");
    }
}

async fn follow(broker: &Broker, level: watch::Sender<Level>) -> Result<(), SubscribeError> {
    let mut wanted = broker.subscribe(WANTED).await?;
    let first = *level.borrow();
    let mut running = start(broker, first).await?;
    while let Some(delivery) = wanted.recv().await {
        let Delivery::Message(message) = delivery else { continue };
        let Some(next) = level_of(&message.value) else { continue };
        if level.send_if_modified(|level| std::mem::replace(level, next) != next) {
            // Its tasks end here, and with them their subscriptions.
            drop(running);
            running = start(broker, next).await?;
        }
    }
    Ok(())
}

fn level_of(payload: &fanfare::message::Payload) -> Option<Level> {
    let name: String = payload.parse_json().ok()?;
    Level::value_variants().iter().copied().find(|level| level.name() == name)
}

async fn start(broker: &Broker, level: Level) -> Result<JoinSet<()>, SubscribeError> {
    let mut tasks = JoinSet::new();
    if level == Level::Off {
        return Ok(tasks);
    }
    for Part { topic, share, quick, slow } in PARTS {
        for _ in 0..quick {
            tasks.spawn(read(broker.subscribe(topic).await?, Duration::ZERO));
        }
        for _ in 0..slow {
            tasks.spawn(read(broker.subscribe(topic).await?, SLOW));
        }
        tasks.spawn(publish(broker.clone(), topic, level.publishes_per_second() * share));
    }
    Ok(tasks)
}

async fn read(mut subscription: Subscription<str>, rest: Duration) {
    while subscription.recv().await.is_some() {
        if !rest.is_zero() {
            sleep(rest).await;
        }
    }
}

/// Publishes in waves: `per_second` on average, between a fifth and nearly twice of it.
async fn publish(broker: Broker, topic: &'static str, per_second: f64) {
    const EVERY: Duration = Duration::from_millis(50);
    const WAVE_SECONDS: f64 = 45.0;
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (began, mut last) = (Instant::now(), Instant::now());
    let (mut due, mut sent) = (0.0, 0_usize);
    loop {
        let now = ticks.tick().await;
        let wave = 1.0 - 0.8 * ((now - began).as_secs_f64() * TAU / WAVE_SECONDS).cos();
        // A busy machine misses ticks: what is due counts by the clock, but a machine that slept does not make up for it.
        due += per_second * (now - last).as_secs_f64().min(1.0) * wave;
        last = now;
        while due >= 1.0 {
            due -= 1.0;
            sent += 1;
            let message = broker.publish(topic, format!("message {sent}"));
            if let Err(error) = message.key(SHARES[sent % SHARES.len()]).await {
                tracing::debug!(%error, topic, "a message of the demo was not published");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use fanfare::policy::Open;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_load_is_real_and_a_page_switches_it() {
        let broker = configure(Broker::builder().policy(Open)).shards(1).start().await.unwrap();
        let (level, levels) = watch::channel(Level::Light);
        tokio::spawn(run(broker.clone(), level));
        sleep(Duration::from_secs(90)).await;
        let stats = broker.stats();
        assert!((4000..7000).contains(&stats.published), "{stats:?}");
        assert!(stats.delivered > 10 * stats.published, "{stats:?}");
        assert!(stats.conflated > 0 && stats.dropped > 0 && stats.gaps > 0 && stats.resyncs > 0, "{stats:?}");

        broker.publish_json(WANTED, "off").await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(*levels.borrow(), Level::Off);
        let stats = broker.stats();
        assert_eq!((stats.subscriptions, stats.queued), (1, 0), "only who listens for the level is left");
        sleep(Duration::from_secs(60)).await;
        assert_eq!(broker.stats().published, stats.published);

        broker.publish_json(WANTED, "louder").await.unwrap();
        broker.publish_json(WANTED, "heavy").await.unwrap();
        sleep(Duration::from_secs(1)).await;
        assert_eq!(*levels.borrow(), Level::Heavy);
        assert_eq!(broker.stats().subscriptions, 47);
    }
}
