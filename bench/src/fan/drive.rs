//! Pacing: connects, publishes as fast as the options say, and stops.

use anyhow::Result;

use super::client::Client;
use super::clock::{now_ns, own_cpu_ns};
use super::conn::{Role, Subscriptions};
use super::ledger::{Lane, Ledger};
use super::options::Options;
use super::report::{Report, Window};
use crate::process::{self, Memory};

/// The longest wait of the loop, in nanoseconds: how soon a stall or the end is noticed.
const MAX_WAIT_NS: u64 = 20_000_000;

pub(super) fn run(options: &Options) -> Result<Report> {
    let probe_topic = options.topics as u32;
    let mut ledger = Ledger::new(options.topics + usize::from(options.saturate))?;
    let roles = subscribers(options, probe_topic, &mut ledger);
    let mut client = Client::new(options, ledger)?;

    let before = memory(options);
    let started = now_ns();
    client.open_all(&roles, options.connecting)?;
    let connect_ns = now_ns() - started;
    if !options.idle {
        let mut publishers = vec![(Role::Publisher, Lane::Load); options.publishers];
        publishers.extend(options.saturate.then_some((Role::Publisher, Lane::Probe)));
        client.open_all(&publishers, options.connecting)?;
    }
    listen(&mut client, options.settle_ms)?;
    let idle = memory(options);

    let window =
        if options.idle { Window::default() } else { Run::new(options, probe_topic).drive(&mut client)? };
    listen(&mut client, options.linger_ms)?;
    let end = memory(options);
    if options.stall > 0 {
        client.resume_stalled()?;
        listen(&mut client, options.settle_ms)?;
    }
    Ok(Report::new(options, &client, connect_ns, window, [before, idle, end]))
}

/// The subscribers of the load, then those of the probe, entered in the ledger in this order.
fn subscribers(options: &Options, probe_topic: u32, ledger: &mut Ledger) -> Vec<(Role, Lane)> {
    let (ring, count) = (options.topics as u32, options.topics_per_conn as u32);
    let load = (0..options.conns).map(|at| {
        let first = (at % options.topics) as u32;
        (Subscriptions { base: 0, ring, first, count, reader: 0, stalls: at < options.stall }, Lane::Load)
    });
    let probes = if options.saturate { options.probe_conns } else { 0 };
    let probe = Subscriptions { base: probe_topic, ring: 1, first: 0, count: 1, reader: 0, stalls: false };
    load.chain(std::iter::repeat_n((probe, Lane::Probe), probes))
        .map(|(mut subscriptions, lane)| {
            let readers: Vec<usize> =
                subscriptions.topics().map(|topic| ledger.add_reader(topic, !subscriptions.stalls)).collect();
            subscriptions.reader = readers[0];
            (Role::Subscriber(subscriptions), lane)
        })
        .collect()
}

fn listen(client: &mut Client, milliseconds: u64) -> Result<()> {
    let until = now_ns() + milliseconds * 1_000_000;
    while let Some(left) = until.checked_sub(now_ns()).filter(|left| *left > 0) {
        client.turn(left.min(MAX_WAIT_NS))?;
    }
    Ok(())
}

fn memory(options: &Options) -> Memory {
    options.server_pid.map(process::memory).unwrap_or_default()
}

/// The state of the publishing loop.
struct Run<'a> {
    options: &'a Options,
    probe_topic: u32,
    started: u64,
    /// Messages of the load to publish; all that fit, with `--seconds`.
    total: u64,
    load_period: Option<u64>,
    probe_period: u64,
    measured_from: Option<Mark>,
}

/// The counters at one moment.
struct Mark {
    at: u64,
    server_cpu_ns: u64,
    own_cpu_ns: u64,
    received: u64,
    reads: u64,
}

impl<'a> Run<'a> {
    fn new(options: &'a Options, probe_topic: u32) -> Self {
        let period = |rate: f64| ((1e9 / rate) as u64).max(1);
        Self {
            options,
            probe_topic,
            started: 0,
            total: if options.seconds.is_some() { u64::MAX } else { options.messages },
            load_period: options.rate.map(period),
            probe_period: period(options.probe_rate),
            measured_from: None,
        }
    }

    fn drive(mut self, client: &mut Client) -> Result<Window> {
        self.started = now_ns();
        let mut quiet_since = self.started;
        let patience = self.options.patience_ms * 1_000_000;
        let deadline = self.started + self.options.max_seconds * 1_000_000_000;
        let spins = self.load_period.is_none() && !self.options.sleep;
        let mut timed_out = false;
        loop {
            let now = now_ns();
            if self.measured_from.is_none() && self.is_warm(client, now) {
                self.measured_from = Some(self.mark(client, now));
                client.ledger.start_recording();
            }
            let publishing = self.publishing(client, now);
            let wait = if publishing { self.publish(client, now) } else { MAX_WAIT_NS };
            client.flush_publishers()?;
            if !publishing && client.ledger.in_flight() == 0 {
                break;
            }
            if !client.turn(if spins { 0 } else { wait })? && spins {
                rest();
            }
            let now = now_ns();
            if now > deadline {
                timed_out = true;
                break;
            }
            let quiet = client.ledger.in_flight() == 0;
            quiet_since = if quiet { now } else { quiet_since.max(client.last_delivery_ns) };
            if now.saturating_sub(quiet_since) > patience {
                client.ledger.abandon();
                quiet_since = now;
            }
        }
        Ok(self.window(client, timed_out))
    }

    fn is_warm(&self, client: &Client, now: u64) -> bool {
        let warm_at = self.started + (self.options.warmup_seconds * 1e9) as u64;
        now >= warm_at && client.ledger.completed(Lane::Load) >= self.options.warmup
    }

    /// Whether there is more to publish. The probe lasts as long as the load.
    fn publishing(&self, client: &Client, now: u64) -> bool {
        match self.options.seconds {
            Some(seconds) => now < self.started + (seconds * 1e9) as u64,
            None => client.ledger.published(Lane::Load) < self.total,
        }
    }

    /// Publishes what is due; nanoseconds until more is.
    fn publish(&self, client: &mut Client, now: u64) -> u64 {
        let mut wait = MAX_WAIT_NS;
        if self.options.saturate {
            wait = wait.min(self.publish_due(client, now, Lane::Probe, self.probe_period));
        }
        match self.load_period {
            Some(period) => wait.min(self.publish_due(client, now, Lane::Load, period)),
            None => {
                let in_flight = |client: &Client| {
                    client.ledger.published(Lane::Load) - client.ledger.completed(Lane::Load)
                };
                while client.ledger.published(Lane::Load) < self.total
                    && in_flight(client) < self.options.window
                {
                    self.publish_one(client, Lane::Load, now_ns());
                    if in_flight(client) == 0 {
                        break; // Nobody is left to receive.
                    }
                }
                wait
            }
        }
    }

    /// Publishes the messages of a lane that is on a clock. Each counts from when it was due, so that a late
    /// publish is seen as latency and not hidden.
    fn publish_due(&self, client: &mut Client, now: u64, lane: Lane, period: u64) -> u64 {
        let total = if lane == Lane::Load { self.total } else { u64::MAX };
        while client.ledger.published(lane) < total {
            let due = self.started + period * client.ledger.published(lane);
            if due > now {
                return due - now;
            }
            self.publish_one(client, lane, due);
        }
        MAX_WAIT_NS
    }

    fn publish_one(&self, client: &mut Client, lane: Lane, due: u64) {
        match lane {
            Lane::Load => {
                let topic = client.ledger.published(lane) % self.options.topics as u64;
                client.publish(topic as usize % self.options.publishers, topic as u32, lane, due);
            }
            // The probe's publisher was opened last.
            Lane::Probe => client.publish(self.options.publishers, self.probe_topic, lane, due),
        }
    }

    fn mark(&self, client: &Client, at: u64) -> Mark {
        Mark {
            at,
            server_cpu_ns: self.options.server_pid.map_or(0, process::cpu_ns),
            own_cpu_ns: own_cpu_ns(),
            received: client.ledger.counts.received,
            reads: client.reads,
        }
    }

    fn window(&self, client: &Client, timed_out: bool) -> Window {
        let Some(start) = &self.measured_from else { return Window { timed_out, ..Window::default() } };
        // The wait for what was lost is no part of the rate.
        let end = self.mark(client, client.last_delivery_ns.max(start.at));
        Window {
            wall_ns: end.at - start.at,
            server_cpu_ns: end.server_cpu_ns.saturating_sub(start.server_cpu_ns),
            client_cpu_ns: end.own_cpu_ns - start.own_cpu_ns,
            deliveries: end.received - start.received,
            reads: end.reads - start.reads,
            timed_out,
        }
    }
}

/// Two microseconds off the kernel's locks, awake.
fn rest() {
    let until = now_ns() + 2_000;
    while now_ns() < until {
        std::hint::spin_loop();
    }
}
