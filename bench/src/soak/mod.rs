//! Everything at once for a long time, to find what short tests do not: rare races, leaks, drift.
//!
//! A real server behind proxies that fail, several brokers in this process, publishers and subscribers that come and go, all driven by
//! one seed; and the law, which every subscription checks exactly. See `README.md`.

mod broken;
mod client;
mod control;
mod counts;
mod diary;
mod faults;
mod gate;
mod growth;
mod ledger;
mod nodes;
mod people;
mod publisher;
mod quiet;
mod reader;
mod roster;
mod site;
mod subscriber;
mod topics;
mod track;
mod uid;
mod verdict;
mod world;

use std::{sync::Arc, time::Duration};

pub use broken::Broken;
use clap::Parser;
use counts::Counts;
use fastrand::Rng;
use gate::{Gate, Phase};
use growth::{Growth, Sample};
use ledger::Ledger;
use nodes::Nodes;
use parking_lot::Mutex;
use people::People;
use roster::Roster;
pub use site::Carrier;
use site::Site;
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use verdict::Verdict;
pub use verdict::Violation;
use world::World;

/// How long the end may take.
const END_WITHIN: Duration = Duration::from_secs(60);

/// How many read the history.
const READERS: usize = 2;

/// What is run, and how long.
#[derive(Clone, Debug, Parser)]
#[command(about = "Runs everything at once for a long time, and checks the law")]
pub struct Options {
    /// What carries messages between nodes; a server's program has to be installed.
    pub carrier: Carrier,
    /// How long.
    #[arg(long, default_value_t = 10.0)]
    pub minutes: f64,
    /// How many brokers.
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,
    /// What all choices are drawn from; random unless set.
    #[arg(long)]
    pub seed: Option<u64>,
    /// Publishers.
    #[arg(long, default_value_t = 10)]
    pub publishers: usize,
    /// Subscribers within the process.
    #[arg(long, default_value_t = 40)]
    pub subscribers: usize,
    /// Clients with a session.
    #[arg(long, default_value_t = 12)]
    pub clients: usize,
    /// Seconds between quiet points.
    #[arg(long, default_value_t = 60.0)]
    pub quiet_every: f64,
    /// Seconds that anything may take to settle at a quiet point.
    #[arg(long, default_value_t = 90.0)]
    pub patience: f64,
    /// Without faults: no connection, server or node fails.
    #[arg(long)]
    pub calm: bool,
    /// Breaks the backend on purpose, to see that the checks would notice.
    #[arg(long = "break")]
    pub broken: Option<Broken>,
}

/// How it went.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// What happened, by kind.
    pub counts: std::collections::BTreeMap<String, u64>,
    /// The first thing that was wrong.
    pub violation: Option<Violation>,
}

/// Runs it; `None` where the server's program is missing, which has been said.
///
/// # Errors
///
/// When the server or a broker does not start.
pub fn run(options: &Options) -> anyhow::Result<Option<Outcome>> {
    crate::process::raise_file_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(soak(options))
}

async fn soak(options: &Options) -> anyhow::Result<Option<Outcome>> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!(
        "soak: {:?}, seed {seed}, {} nodes, {} minutes",
        options.carrier, options.nodes, options.minutes
    );
    let before = Sample::take(0.0);
    let Some(site) = Site::start(options.carrier, options.nodes, options.broken).await? else {
        return Ok(None);
    };
    let site = Arc::new(site);
    let world = Arc::new(World {
        nodes: Nodes::new(site.clone(), options.nodes),
        site,
        gate: Arc::new(Gate::new()),
        ledger: Ledger::new(),
        roster: Roster::default(),
        patience: Duration::from_secs_f64(options.patience),
        people: People::default(),
        beliefs: Mutex::default(),
        verdict: Verdict::new(),
        counts: Counts::default(),
    });
    for slot in 0..world.nodes.len() {
        world.nodes.start(slot).await?;
    }
    let mut rng = Rng::with_seed(seed);
    let mut actors = JoinSet::new();
    for n in 0..options.publishers {
        actors.spawn(publisher::run(world.clone(), format!("publisher {n}"), rng.fork()));
    }
    for n in 0..options.subscribers {
        actors.spawn(subscriber::run(world.clone(), format!("subscriber {n}"), rng.fork()));
    }
    for n in 0..READERS {
        actors.spawn(reader::run(world.clone(), format!("reader {n}"), rng.fork()));
    }
    for n in 0..options.clients {
        actors.spawn(client::run(world.clone(), n, rng.fork()));
    }
    actors.spawn(control::run(world.clone(), rng.fork()));
    if !options.calm {
        actors.spawn(faults::run(world.clone(), rng.fork()));
        actors.spawn(faults::restart_nodes(world.clone(), rng.fork()));
    }
    minutes(&world, options).await;
    end(&world, actors, before).await;
    let violation = world.verdict.first();
    Ok(Some(Outcome { seed, counts: world.counts.all(), violation }))
}

/// Works until the end, with a quiet point every minute.
async fn minutes(world: &Arc<World>, options: &Options) {
    let mut growth = Growth::default();
    let mut last = world.counts.all();
    while world.verdict.seconds() < options.minutes * 60.0 && !world.verdict.is_over() {
        world.gate.set(Phase::Busy);
        let left = (options.minutes * 60.0 - world.verdict.seconds()).max(1.0);
        let busy = Duration::from_secs_f64(options.quiet_every.min(left));
        tokio::select! {
            () = sleep(busy) => {}
            () = world.verdict.over() => return,
        }
        let Some(sample) = quiet::settle(world).await else { return };
        growth.push(sample);
        let now = world.counts.all();
        say(world, &last, sample, &growth);
        last = now;
        if let Some(leak) = growth.leak() {
            world.verdict.wrong("growth", leak, String::new);
        }
    }
}

/// A line for each quiet point.
fn say(world: &World, before: &std::collections::BTreeMap<String, u64>, sample: Sample, growth: &Growth) {
    let now = world.counts.all();
    let news: Vec<_> = now
        .iter()
        .filter_map(|(kind, count)| {
            let more = count - before.get(kind).copied().unwrap_or_default();
            (more > 0).then(|| format!("{kind} {more}"))
        })
        .collect();
    let trend = growth.trend().map(|trend| format!(" ({trend})")).unwrap_or_default();
    println!(
        "{:6.0} s: {} | {sample}{trend}, {} subscribed, ledger {}",
        sample.seconds,
        news.join(", "),
        world.roster.len(),
        world.ledger.len()
    );
}

/// Ends everything, after which nothing may be left.
async fn end(world: &Arc<World>, mut actors: JoinSet<()>, before: Sample) {
    world.gate.set(Phase::Over);
    let ended = timeout(END_WITHIN * 2, async {
        while let Some(ended) = actors.join_next().await {
            if let Err(error) = ended {
                world.verdict.wrong("soak", format!("{error}"), String::new);
            }
        }
    });
    if ended.await.is_err() {
        world.verdict.wrong("end", "somebody does not end", String::new);
        return;
    }
    world.site.heal();
    for slot in 0..world.nodes.len() {
        if !world.nodes.stop(slot, END_WITHIN).await {
            world.verdict.wrong("end", format!("node {slot} did not end in good order"), String::new);
        }
    }
    let proxies = world.site.proxies.len();
    let began = std::time::Instant::now();
    let left = || Sample::take(0.0).tasks.saturating_sub(before.tasks + proxies);
    while left() > 0 && began.elapsed() < END_WITHIN && !world.verdict.is_over() {
        sleep(Duration::from_millis(20)).await;
    }
    if left() > 0 {
        world.verdict.wrong("end", format!("{} tasks are left", left()), String::new);
    }
    println!("at the end {}, before {before}", Sample::take(0.0));
}
