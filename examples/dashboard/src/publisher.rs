//! The task that publishes the figures, each sample twice: for who wants to know how it is, and for who draws how it was.

use std::time::Duration;

use fanfare::{
    Broker,
    publish::PublishError,
    topic::{OverflowPolicy, TopicConfig},
};
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval},
};

use crate::{
    demo::Level,
    figures::{self, CHARTS},
    sample::{Reading, Sample, Sampler},
};

/// How it is: one message per figure, with the figure as its key.
pub(crate) const NOW: &str = "figures.now";

/// How it was: one message per sample, with all that is drawn.
pub(crate) const PAST: &str = "figures.past";

/// The time between two samples.
pub(crate) const EVERY: Duration = Duration::from_secs(1);

/// How many samples of the past are kept: ten minutes.
pub(crate) const KEPT: usize = 600;

/// Of a figure only the newest value counts: to a slow reader older ones give way, and who joins begins with
/// the last value of each.
pub(crate) fn now() -> TopicConfig {
    TopicConfig::new().history(64).latest(64).overflow(OverflowPolicy::ConflateByKey)
}

/// Of the past every sample counts: a slow reader reads again from the log what its queue did not hold, which is
/// what logged topics do unless told otherwise. A sample's key is its place in a ring, so that the latest of each are all
/// that are kept, and one request can begin with the latest of both topics.
pub(crate) fn past() -> TopicConfig {
    TopicConfig::new().history(KEPT).latest(KEPT)
}

/// Publishes a sample every second, for ever.
pub(crate) async fn run(broker: Broker, demo: watch::Receiver<Level>) {
    let mut sampler = Sampler::default();
    let mut ticks = interval(EVERY);
    // What was missed while the machine slept cannot be sampled afterwards.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for place in (0..KEPT).cycle() {
        ticks.tick().await;
        let mut sample = sampler.take(&broker);
        sample.insert(figures::DEMO, Reading::Name(demo.borrow().name()));
        if let Err(error) = publish(&broker, &sample, place).await {
            tracing::warn!(%error, "a sample was not published");
        }
    }
}

async fn publish(broker: &Broker, sample: &Sample, place: usize) -> Result<(), PublishError> {
    for (key, reading) in sample {
        broker.publish_json(NOW, reading).key(*key).await?;
    }
    let is_drawn = |key: &str| CHARTS.iter().flat_map(|chart| chart.lines).any(|line| line.key == key);
    let drawn: Sample = sample.clone().into_iter().filter(|(key, _)| is_drawn(key)).collect();
    broker.publish_json(PAST, &drawn).key(place.to_string()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use fanfare::{policy::Open, session::Start, subscription::Delivery};
    use serde_json::Value;

    use super::*;

    async fn started() -> Broker {
        Broker::builder().policy(Open).topic(NOW, now()).topic(PAST, past()).start().await.unwrap()
    }

    #[tokio::test]
    async fn who_joins_late_gets_the_last_value_of_each_figure_and_the_past() {
        let broker = started().await;
        for (value, place) in [(1.0, KEPT - 2), (2.0, KEPT - 1), (3.0, 0)] {
            let topics = Reading::Topics(Vec::new());
            let sample = Sample::from([(figures::CPU, Reading::Number(value)), (figures::TOPICS, topics)]);
            publish(&broker, &sample, place).await.unwrap();
        }

        let mut now = broker.subscribe(NOW).start(Start::Latest).await.unwrap();
        let mut values = Vec::new();
        while let Some(Delivery::Message(message)) = now.recv().await {
            values.push((message.key().unwrap().to_owned(), message.value.parse_json::<Value>().unwrap()));
        }
        assert_eq!(values, [("cpu".into(), 3.0.into()), ("topics".into(), Value::Array(Vec::new()))]);

        let mut past = broker.subscribe(PAST).start(Start::Latest).await.unwrap();
        let mut samples = Vec::new();
        while let Some(Delivery::Message(message)) = past.recv().await {
            samples.push(message.value.parse_json::<Value>().unwrap());
        }
        let drawn = |cpu: f64| serde_json::json!({ "cpu": cpu });
        assert_eq!(samples, [drawn(1.0), drawn(2.0), drawn(3.0)], "without what no chart shows");
    }

    #[tokio::test]
    async fn who_reads_slowly_gets_the_newest_of_each_figure_and_all_of_the_past() {
        let broker = started().await;
        let mut now = broker.subscribe(NOW).queue_messages(2).await.unwrap();
        let mut past = broker.subscribe(PAST).queue_messages(2).await.unwrap();
        for place in 1..=9 {
            let value = Reading::Number(place as f64);
            let sample = Sample::from([(figures::CPU, value.clone()), (figures::MEMORY, value)]);
            publish(&broker, &sample, place).await.unwrap();
        }
        let reading = |message: &fanfare::subscription::Received<fanfare::message::Payload>| {
            message.value.parse_json::<Value>().unwrap()
        };
        for key in ["cpu", "memory"] {
            let Some(Delivery::Message(message)) = now.recv().await else { panic!("a message") };
            assert_eq!((message.key(), reading(&message)), (Some(key), 9.0.into()));
        }
        for value in 1..=9 {
            let Some(Delivery::Message(message)) = past.recv().await else { panic!("a message") };
            assert_eq!(reading(&message)["cpu"], f64::from(value));
        }
    }
}
