//! The command line of `fan`.

use anyhow::{Result, ensure};
use clap::{Parser, ValueEnum};

use super::stamp;

/// A fan-out load generator for pub/sub servers over WebSocket and Server-Sent Events.
#[derive(Clone, Debug, Parser)]
#[command(name = "fan", version, args_override_self = true)]
pub struct Options {
    /// The server: ws://HOST:PORT or http://HOST:PORT, with a path only where the wire's own is not meant (of an sse
    /// wire: the subscribers' path)
    #[arg(long, default_value = "ws://127.0.0.1:9120")]
    pub url: String,
    /// What the server speaks
    #[arg(long, value_enum, default_value_t = WireMode::V1)]
    pub wire: WireMode,
    /// Number of subscriber connections
    #[arg(long, default_value_t = 1000)]
    pub conns: usize,
    /// Number of topics: connection i subscribes to topic i modulo this
    #[arg(long, default_value_t = 1)]
    pub topics: usize,
    /// Subscriptions per connection: topics i, i+1, ... (v1 and sse-v1 only, beyond one)
    #[arg(long, default_value_t = 1)]
    pub topics_per_conn: usize,
    /// Publisher connections: topic t is published by connection t modulo this
    #[arg(long, default_value_t = 1)]
    pub publishers: usize,
    /// Publish by HTTP, POST /publish?topic=NAME, in place of a WebSocket: one keep-alive connection per publisher,
    /// whose requests do not wait for each other's answers
    #[arg(long)]
    pub post: bool,
    /// Messages to publish, the warm-up included
    #[arg(long, default_value_t = 1000)]
    pub messages: u64,
    /// The first messages, which are checked but not measured
    #[arg(long, default_value_t = 0)]
    pub warmup: u64,
    /// Publish for this many seconds, in place of --messages
    #[arg(long)]
    pub seconds: Option<f64>,
    /// With --seconds: the first of them, which are checked but not measured
    #[arg(long, default_value_t = 0.0)]
    pub warmup_seconds: f64,
    /// Closed loop: messages in flight
    #[arg(long, default_value_t = 8)]
    pub window: u64,
    /// Open loop: messages per second, in place of --window
    #[arg(long)]
    pub rate: Option<f64>,
    /// Payload size in bytes
    #[arg(long, default_value_t = 128)]
    pub payload: usize,
    /// Process whose CPU time and memory are read
    #[arg(long)]
    pub server_pid: Option<u32>,
    /// Subscribers (the first ones) that stop reading once subscribed; the others are measured. In the end they read on
    #[arg(long, default_value_t = 0)]
    pub stall: usize,
    /// Connect and subscribe only: bytes per idle connection
    #[arg(long)]
    pub idle: bool,
    /// Beside the load, measure a probe topic of its own: is a quiet topic served while another is saturated?
    #[arg(long)]
    pub saturate: bool,
    /// Subscribers of the probe topic
    #[arg(long, default_value_t = 4)]
    pub probe_conns: usize,
    /// Messages per second to the probe topic
    #[arg(long, default_value_t = 50.0)]
    pub probe_rate: f64,
    /// Handshakes in progress at once
    #[arg(long, default_value_t = 64)]
    pub connecting: usize,
    /// Rest between connecting and publishing, in milliseconds
    #[arg(long, default_value_t = 500)]
    pub settle_ms: u64,
    /// How long to listen for stragglers and doubles after the last delivery, in milliseconds
    #[arg(long, default_value_t = 200)]
    pub linger_ms: u64,
    /// Without any delivery for this long, messages in flight are given up, in milliseconds
    #[arg(long, default_value_t = 3000)]
    pub patience_ms: u64,
    /// End of everything, in seconds after the first publish
    #[arg(long, default_value_t = 120)]
    pub max_seconds: u64,
    /// Sleep while waiting in a closed loop too (an open loop always does)
    #[arg(long)]
    pub sleep: bool,
    /// Copied to the report
    #[arg(long, default_value = "")]
    pub label: String,
    /// One line of JSON instead of a table
    #[arg(long)]
    pub json: bool,
    /// Exit with 1 when anything was lost, doubled, reordered or misrouted, or a connection died
    #[arg(long)]
    pub strict: bool,
}

/// What the server under test speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum WireMode {
    /// `fanfare.v1` on /ws, for subscribers and publishers
    V1,
    /// Subscribers on /ws?topic=NAME, whose frames are bare payloads; publishers as in v1
    Plain,
    /// Subscribers on /sub/NAME, publishers send `NAME|PAYLOAD` to /pub
    Raw,
    /// Server-Sent Events on /events?topic=NAME, whose data is the bare payload; publishers as in v1
    Sse,
    /// The same with &format=v1: the data is the v1 message
    SseV1,
    /// Server-Sent Events on /sse/NAME, publishers as in raw
    SseRaw,
}

impl Options {
    /// Refuses what cannot be run.
    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.conns > 0, "--conns must be at least 1");
        ensure!(self.topics > 0, "--topics must be at least 1");
        ensure!(self.publishers > 0, "--publishers must be at least 1");
        ensure!(self.window > 0, "--window must be at least 1");
        ensure!(self.connecting > 0, "--connecting must be at least 1");
        ensure!(
            (1..=self.topics).contains(&self.topics_per_conn),
            "--topics-per-conn must be between 1 and --topics"
        );
        ensure!(
            self.topics_per_conn == 1 || matches!(self.wire, WireMode::V1 | WireMode::SseV1),
            "several topics on one connection need --wire v1 or sse-v1"
        );
        ensure!(
            !self.post || !matches!(self.wire, WireMode::Raw | WireMode::SseRaw),
            "--post needs a server that has /publish: --wire v1, plain, sse or sse-v1"
        );
        ensure!(self.stall < self.conns, "--stall must leave a subscriber that reads");
        ensure!(self.payload >= stamp::SIZE, "--payload must be at least {}", stamp::SIZE);
        for (name, rate) in
            [("--rate", self.rate), ("--probe-rate", Some(self.probe_rate)), ("--seconds", self.seconds)]
        {
            ensure!(rate.is_none_or(|rate| rate.is_finite() && rate > 0.0), "{name} must be above 0");
        }
        ensure!(
            self.warmup_seconds == 0.0 || self.seconds.is_some_and(|seconds| self.warmup_seconds < seconds),
            "--warmup-seconds must be less than --seconds"
        );
        ensure!(!self.saturate || self.probe_conns > 0, "--probe-conns must be at least 1");
        Ok(())
    }
}
