//! What came of a run: one line of JSON for programs, a table for people.

use std::fmt;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use super::client::Client;
use super::clock::own_cpu_ns;
use super::ledger::Lane;
use super::options::Options;
use crate::process::Memory;

/// What the measured part of a run took.
#[derive(Debug, Default)]
pub(super) struct Window {
    pub(super) wall_ns: u64,
    pub(super) server_cpu_ns: u64,
    pub(super) client_cpu_ns: u64,
    pub(super) deliveries: u64,
    pub(super) reads: u64,
    pub(super) timed_out: bool,
}

/// The result of one run. Ratios of something by nothing are 0.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// `--label`.
    pub label: String,
    /// Subscriber connections of the load.
    pub conns: usize,
    /// Topics of the load.
    pub topics: usize,
    /// Payload size in bytes.
    pub payload: usize,
    /// Messages published, all of them.
    pub published: u64,
    /// Deliveries that were due, over the whole run.
    pub expected: u64,
    /// Deliveries that came, each counted once.
    pub received: u64,
    /// Due and never came.
    pub lost: u64,
    /// Came to the same subscription again.
    pub doubled: u64,
    /// Came after a later message of their topic.
    pub reordered: u64,
    /// Came where they were not subscribed to.
    pub misrouted: u64,
    /// Gaps that subscribers were told of (v1).
    pub gaps_told: u64,
    /// Messages that those gaps say are missing, as far as they say.
    pub missed_told: u64,
    /// Subscribers that stopped reading (`--stall`).
    pub stalled: usize,
    /// Deliveries that they read when the run was over: what was kept for them.
    pub stalled_received: u64,
    /// Messages that they were told are missing (v1).
    pub stalled_missed: u64,
    /// Those among them whose connection was closed or lost.
    pub stalled_dead: u64,
    /// Publishes that the server refused (v1).
    pub refused: u64,
    /// Messages that were given up after `--patience-ms`.
    pub abandoned: u64,
    /// Subscribers whose connection was closed or lost.
    pub dead: u64,
    /// The first trouble, in words.
    pub trouble: Option<String>,
    /// Whether `--max-seconds` ended the run.
    pub timed_out: bool,
    /// Connecting and subscribing, all of them, in seconds.
    pub connect_s: f64,
    /// The measured part, in seconds.
    pub wall_s: f64,
    /// Deliveries in the measured part, the probe's included.
    pub deliveries: u64,
    /// Deliveries per second of the measured part.
    pub deliveries_per_s: f64,
    /// From when a message was due to be published until it was read, in the measured part.
    pub latency: Latency,
    /// The same of the probe topic (`--saturate`).
    pub probe: Option<Latency>,
    /// CPU time of all server threads per delivery, in microseconds. Here and in the next three figures the CPU
    /// time of a run that lost messages includes the wait for them.
    pub server_us_per_delivery: f64,
    /// CPU time of all server threads by wall time: 1 is one core.
    pub server_util: f64,
    /// This program's CPU time per delivery, in microseconds.
    pub client_us_per_delivery: f64,
    /// This program's CPU time by wall time: 1 is one core.
    pub client_util: f64,
    /// This program's CPU time over its whole life, in seconds.
    pub client_cpu_s: f64,
    /// Deliveries that one read returned, on average.
    pub deliveries_per_read: f64,
    /// The server's resident memory before the first connection, in bytes.
    pub resident_before: u64,
    /// The same with all connected and subscribed, before the first publish.
    pub resident_idle: u64,
    /// The same after the run.
    pub resident_end: u64,
    /// The most that was resident at any time.
    pub resident_peak: u64,
    /// Resident memory per idle connection, in bytes: user memory only.
    pub bytes_per_conn: f64,
}

/// How long deliveries took, in microseconds.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[non_exhaustive]
pub struct Latency {
    /// Number of deliveries.
    pub count: u64,
    /// Median.
    pub p50_us: f64,
    /// 99th percentile.
    pub p99_us: f64,
    /// 99.9th percentile.
    pub p999_us: f64,
    /// The slowest.
    pub max_us: f64,
}

impl Report {
    pub(super) fn new(
        options: &Options,
        client: &Client,
        connect_ns: u64,
        window: Window,
        [before, idle, end]: [Memory; 3],
    ) -> Self {
        let (counts, notes) = (client.ledger.counts, &client.notes);
        let connections = options.conns + if options.saturate { options.probe_conns } else { 0 };
        Self {
            label: options.label.clone(),
            conns: options.conns,
            topics: options.topics,
            payload: options.payload,
            published: client.ledger.published(Lane::Load) + client.ledger.published(Lane::Probe),
            expected: counts.expected,
            received: counts.received,
            lost: counts.expected.saturating_sub(counts.received),
            doubled: counts.doubled,
            reordered: counts.reordered,
            misrouted: counts.misrouted,
            gaps_told: notes.gaps,
            missed_told: notes.missed,
            stalled: options.stall,
            stalled_received: notes.stalled_received,
            stalled_missed: notes.stalled_missed,
            stalled_dead: notes.stalled_dead,
            refused: notes.refused,
            abandoned: counts.abandoned,
            dead: notes.dead,
            trouble: notes.first.clone(),
            timed_out: window.timed_out,
            connect_s: round(connect_ns as f64 / 1e9),
            wall_s: round(window.wall_ns as f64 / 1e9),
            deliveries: window.deliveries,
            deliveries_per_s: ratio(window.deliveries as f64 * 1e9, window.wall_ns as f64).round(),
            latency: Latency::of(client.ledger.latency(Lane::Load)),
            probe: options.saturate.then(|| Latency::of(client.ledger.latency(Lane::Probe))),
            server_us_per_delivery: ratio(window.server_cpu_ns as f64 / 1e3, window.deliveries as f64),
            server_util: ratio(window.server_cpu_ns as f64, window.wall_ns as f64),
            client_us_per_delivery: ratio(window.client_cpu_ns as f64 / 1e3, window.deliveries as f64),
            client_util: ratio(window.client_cpu_ns as f64, window.wall_ns as f64),
            client_cpu_s: round(own_cpu_ns() as f64 / 1e9),
            deliveries_per_read: ratio(window.deliveries as f64, window.reads as f64),
            resident_before: before.resident,
            resident_idle: idle.resident,
            resident_end: end.resident,
            resident_peak: end.peak,
            bytes_per_conn: ratio(idle.resident as f64 - before.resident as f64, connections as f64).round(),
        }
    }

    /// Whether each subscriber got every message once, in order, and stayed connected.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let wrong = self.lost + self.doubled + self.reordered + self.misrouted + self.dead + self.refused;
        wrong == 0 && !self.timed_out
    }

    /// One line of JSON, without a line break.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| round(histogram.value_at_quantile(quantile) as f64 / 1e3);
        Self {
            count: histogram.len(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: round(histogram.max() as f64 / 1e3),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, value: String| writeln!(f, "{name:<22}{value}");
        if !self.label.is_empty() {
            line("label", self.label.clone())?;
        }
        line("connections", format!("{} on {} topics, in {} s", self.conns, self.topics, self.connect_s))?;
        line("bytes/connection", format!("{}", self.bytes_per_conn))?;
        line("resident MiB", {
            let [before, idle, end, peak] =
                [self.resident_before, self.resident_idle, self.resident_end, self.resident_peak]
                    .map(|bytes| bytes as f64 / f64::from(1 << 20));
            format!("{before:.1} before, {idle:.1} idle, {end:.1} end, {peak:.1} peak")
        })?;
        line("published", format!("{} x {} bytes", self.published, self.payload))?;
        line("deliveries", format!("{} of {}", self.received, self.expected))?;
        line(
            "lost",
            format!("{} ({} gaps told, of {} messages)", self.lost, self.gaps_told, self.missed_told),
        )?;
        line("doubled", self.doubled.to_string())?;
        line("reordered", self.reordered.to_string())?;
        line("misrouted", self.misrouted.to_string())?;
        line("deliveries/s", format!("{:.0} over {} s", self.deliveries_per_s, self.wall_s))?;
        let latency = |latency: &Latency| {
            let [p50, p99, p999, max] =
                [latency.p50_us, latency.p99_us, latency.p999_us, latency.max_us].map(|us| us / 1000.0);
            format!("p50 {p50:.3}  p99 {p99:.3}  p99.9 {p999:.3}  max {max:.3}")
        };
        line("latency ms", latency(&self.latency))?;
        if let Some(probe) = &self.probe {
            line("probe latency ms", latency(probe))?;
        }
        line(
            "server CPU",
            format!("{:.3} us/delivery, {:.2} cores", self.server_us_per_delivery, self.server_util),
        )?;
        line(
            "client CPU",
            format!("{:.3} us/delivery, {:.2} cores", self.client_us_per_delivery, self.client_util),
        )?;
        line("deliveries/read", format!("{:.2}", self.deliveries_per_read))?;
        if self.stalled > 0 {
            line(
                "stalled",
                format!(
                    "{} subscribers, which then read {} messages and were told of {} missing; {} disconnected",
                    self.stalled, self.stalled_received, self.stalled_missed, self.stalled_dead
                ),
            )?;
        }
        if self.dead + self.refused + self.abandoned > 0 || self.timed_out {
            line(
                "trouble",
                format!(
                    "{} connections dead, {} publishes refused, {} messages given up{}: {}",
                    self.dead,
                    self.refused,
                    self.abandoned,
                    if self.timed_out { ", out of time" } else { "" },
                    self.trouble.as_deref().unwrap_or("-")
                ),
            )?;
        }
        Ok(())
    }
}

fn ratio(of: f64, by: f64) -> f64 {
    if by > 0.0 { round(of / by) } else { 0.0 }
}

/// Three digits after the point: more is noise.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
