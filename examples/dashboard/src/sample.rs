//! A sample: every figure at one moment.

use std::{collections::BTreeMap, time::Duration};

use fanfare::{Broker, Stats, TopicStats};
use serde::Serialize;
use tokio::time::Instant;

use crate::{
    figures::{self, Key},
    machine::{Machine, Probe},
};

/// How many topics are listed.
const TOPICS: usize = 8;

/// Every figure that is known, by its key.
pub(crate) type Sample = BTreeMap<Key, Reading>;

/// A figure's value.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub(crate) enum Reading {
    Number(f64),
    List(Vec<f64>),
    Topics(Vec<Subscribed>),
    Name(&'static str),
}

/// A topic, and how many subscribe to it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Subscribed {
    topic: String,
    subscribers: usize,
}

/// Takes samples. What is a rate is counted from one sample to the next.
#[derive(Debug, Default)]
pub(crate) struct Sampler {
    probe: Probe,
    before: Option<(Instant, Stats)>,
}

impl Sampler {
    pub(crate) fn take(&mut self, broker: &Broker) -> Sample {
        let (at, stats) = (Instant::now(), broker.stats());
        let mut sample = Sample::new();
        if let Some((since, before)) = &self.before {
            rates(before, &stats, at - *since, &mut sample);
        }
        levels(&stats, &mut sample);
        machine(self.probe.read(), &mut sample);
        sample.insert(figures::TOPICS, Reading::Topics(busiest(broker.topics())));
        self.before = Some((at, stats));
        sample
    }
}

/// What happened a second, of counters that only grow.
fn rates(before: &Stats, now: &Stats, elapsed: Duration, sample: &mut Sample) {
    if elapsed.is_zero() {
        return;
    }
    let mut rate = |key, before: u64, now: u64| {
        let pieces = now.saturating_sub(before) as f64;
        sample.insert(key, number(pieces / elapsed.as_secs_f64()));
    };
    rate(figures::PUBLISHED, before.published, now.published);
    rate(figures::DELIVERED, before.delivered, now.delivered);
    rate(figures::CONFLATED, before.conflated, now.conflated);
    rate(figures::DROPPED, before.dropped, now.dropped);
    rate(figures::GAPS, before.gaps, now.gaps);
}

/// What there is now.
fn levels(stats: &Stats, sample: &mut Sample) {
    let shards = stats.shard_depths.iter().map(|depth| *depth as f64).collect();
    sample.insert(figures::QUEUED, number(stats.queued as f64));
    sample.insert(figures::LAGGING, number(stats.lagging as f64));
    sample.insert(figures::SHARDS, Reading::List(shards));
    sample.insert(figures::CONNECTIONS, number(stats.connections as f64));
    sample.insert(figures::SUBSCRIPTIONS, number(stats.subscriptions as f64));
}

fn machine(machine: Machine, sample: &mut Sample) {
    let mut known = |key, value: Option<f64>| value.map(|value| sample.insert(key, number(value)));
    known(figures::CPU, machine.processors);
    known(figures::CPU_PROCESS, machine.process);
    known(figures::MEMORY, machine.memory_used.map(|bytes| bytes as f64));
    known(figures::MEMORY_TOTAL, machine.memory_total.map(|bytes| bytes as f64));
    known(figures::RESIDENT, machine.resident.map(|bytes| bytes as f64));
    for (index, key) in figures::LOAD.into_iter().enumerate() {
        known(key, machine.load.map(|load| load[index]));
    }
    if !machine.each_processor.is_empty() {
        let each = machine.each_processor.into_iter().map(rounded).collect();
        sample.insert(figures::CPU_CORES, Reading::List(each));
    }
}

fn busiest(mut topics: Vec<TopicStats>) -> Vec<Subscribed> {
    topics.sort_by(|a, b| b.subscribers.cmp(&a.subscribers).then_with(|| a.topic.cmp(&b.topic)));
    topics.truncate(TOPICS);
    let of =
        |stats: TopicStats| Subscribed { topic: stats.topic.to_string(), subscribers: stats.subscribers };
    topics.into_iter().map(of).collect()
}

fn number(value: f64) -> Reading {
    Reading::Number(rounded(value))
}

/// Nobody reads more than two decimals; every digit travels to every page.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}

#[cfg(test)]
mod tests {
    use fanfare::policy::Open;

    use super::*;

    fn stats(change: impl FnOnce(&mut Stats)) -> Stats {
        let mut stats = Stats::default();
        change(&mut stats);
        stats
    }

    #[test]
    fn rates_are_per_second_whatever_the_time_between_samples() {
        let before = stats(|s| (s.published, s.delivered, s.dropped) = (100, 1000, 7));
        let now = stats(|s| (s.published, s.delivered, s.dropped, s.gaps) = (350, 1001, 7, 5));
        let mut sample = Sample::new();
        rates(&before, &now, Duration::from_millis(2500), &mut sample);
        assert_eq!(sample[figures::PUBLISHED], Reading::Number(100.0));
        assert_eq!(sample[figures::DELIVERED], Reading::Number(0.4));
        assert_eq!(sample[figures::DROPPED], Reading::Number(0.0));
        assert_eq!(sample[figures::GAPS], Reading::Number(2.0));
    }

    #[test]
    fn what_is_not_known_is_not_in_the_sample() {
        let mut sample = Sample::new();
        machine(Machine { resident: Some(4096), ..Machine::default() }, &mut sample);
        assert_eq!(sample, Sample::from([(figures::RESIDENT, Reading::Number(4096.0))]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_sample_shows_what_the_broker_does() {
        let broker = Broker::builder().policy(Open).start().await.unwrap();
        let mut sampler = Sampler::default();
        let first = sampler.take(&broker);
        assert!(!first.contains_key(figures::PUBLISHED), "a rate needs two samples");

        let mut readers = Vec::new();
        for _ in 0..3 {
            readers.push(broker.subscribe("busy").await.unwrap());
        }
        let _quiet = broker.subscribe("quiet").await.unwrap();
        for _ in 0..4 {
            broker.publish("busy", "x").report().await.unwrap();
        }
        assert!(readers[0].try_recv().is_some());
        tokio::time::advance(Duration::from_secs(2)).await;

        let sample = sampler.take(&broker);
        assert_eq!(sample[figures::PUBLISHED], Reading::Number(2.0));
        assert_eq!(sample[figures::DELIVERED], Reading::Number(0.5));
        assert_eq!(sample[figures::QUEUED], Reading::Number(11.0));
        assert_eq!(sample[figures::SUBSCRIPTIONS], Reading::Number(4.0));
        let topic = |topic: &str, subscribers| Subscribed { topic: topic.into(), subscribers };
        assert_eq!(sample[figures::TOPICS], Reading::Topics(vec![topic("busy", 3), topic("quiet", 1)]));
        // Each figure of the page is there, but those that this machine may not have.
        let machines = |key: Key| ["cpu", "memory", "load"].iter().any(|prefix| key.starts_with(prefix));
        for line in figures::CHARTS.iter().flat_map(|chart| chart.lines) {
            assert!(sample.contains_key(line.key) || machines(line.key), "{}", line.key);
        }
        assert!(figures::TILES.iter().all(|tile| sample.contains_key(tile.key) || machines(tile.key)));
    }
}
