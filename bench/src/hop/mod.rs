//! What a backend costs beside the bare client of its server.
//!
//! The server runs on the second core, and this program on the first. What is compared takes turns, so that both see the same
//! machine: the way of a message from node to node in an open loop, and logged publishes from many tasks.

mod bare;
mod nats;
mod ours;
mod pace;
mod redis;

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use bare::Bare;
use clap::{Parser, ValueEnum};
use nats::Nats;
use pace::Times;
use redis::Redis;

/// Messages a second.
const RATE: u32 = 1000;

/// Bytes of a message.
const SIZE: usize = 128;

/// How many tasks publish to a log at once.
const TASKS: usize = 64;

/// What is measured, and how long.
#[derive(Clone, Debug, Parser)]
#[command(about = "Measures a backend beside the bare client of its server")]
pub struct Options {
    /// Which backend; its server's program has to be installed.
    backend: Backend,
    /// How often each takes its turn.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of a turn.
    #[arg(long, default_value_t = 4)]
    seconds: u32,
}

/// The backends that have a server.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Backend {
    Redis,
    Nats,
}

/// Starts the server, measures, and prints the figures of each round and the medians of the ratios.
///
/// # Errors
///
/// When the server or a client of it does not do what it is asked.
pub fn run(options: &Options) -> anyhow::Result<()> {
    pin(std::process::id(), 0);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match options.backend {
            Backend::Redis => measure(Redis::start().await?, options).await,
            Backend::Nats => measure(Nats::start().await?, options).await,
        }
    })
}

/// `None` where the server is missing, which has been said.
async fn measure(bare: Option<impl Bare>, options: &Options) -> anyhow::Result<()> {
    let Some(bare) = bare else { return Ok(()) };
    pin(bare.server().pid().unwrap_or_default(), 1);
    hop(&bare, options).await?;
    publishes(&bare, options).await
}

/// Puts a process on one core.
fn pin(process: u32, core: u32) {
    let pinned = Command::new("taskset")
        .args(["-a", "-c", "-p", &core.to_string(), &process.to_string()])
        .stdout(Stdio::null())
        .status();
    if !pinned.is_ok_and(|status| status.success()) {
        eprintln!("process {process} could not be put on core {core}: figures mean less");
    }
}

/// From a publish on one connection to its arrival on another.
async fn hop(bare: &impl Bare, options: &Options) -> anyhow::Result<()> {
    let seconds = options.seconds;
    println!("The way of a message, {RATE}/s open loop, {SIZE} bytes, {seconds} s a turn; microseconds");
    println!(
        "{:>5} {:>12} {:>12} {:>12} {:>12}",
        "round", "bare p50", "bare p99", "fanfare p50", "fanfare p99"
    );
    let (publisher, listener) = (ours::broker(bare).await?, ours::broker(bare).await?);
    let mut ratios = [Vec::new(), Vec::new()];
    for round in 1..=options.rounds {
        let theirs: Times = bare.hop(RATE * seconds).await?;
        let ours = ours::hop(&publisher, &listener, RATE * seconds).await?;
        println!("{round:>5} {:>12} {:>12} {:>12} {:>12}", theirs.p50, theirs.p99, ours.p50, ours.p99);
        ratios[0].push(ours.p50 as f64 / theirs.p50 as f64);
        ratios[1].push(ours.p99 as f64 / theirs.p99 as f64);
    }
    for (name, ratios) in ["p50", "p99"].into_iter().zip(ratios) {
        println!("{name}: {:.2} x bare (median of the rounds)", median(ratios));
    }
    for broker in [publisher, listener] {
        broker.drain(Duration::from_secs(5)).await;
    }
    Ok(())
}

async fn publishes<B: Bare>(bare: &B, options: &Options) -> anyhow::Result<()> {
    let seconds = options.seconds;
    println!("\nLogged publishes from {TASKS} tasks, {SIZE} bytes, {seconds} s a turn; per second");
    println!("{:>5} {:>18} {:>12} {:>8}", "round", B::LOGGED, "fanfare", "ratio");
    let broker = ours::broker(bare).await?;
    let mut ratios = Vec::new();
    for round in 1..=options.rounds {
        let ours = ours::logged(&broker, seconds).await?;
        let theirs = bare.logged(seconds, ours).await?;
        println!("{round:>5} {theirs:>18.0} {ours:>12.0} {:>8.2}", ours / theirs);
        ratios.push(ours / theirs);
    }
    println!("{:.2} x {} (median of the rounds)", median(ratios), B::LOGGED);
    broker.drain(Duration::from_secs(5)).await;
    Ok(())
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios.get(ratios.len() / 2).copied().unwrap_or(f64::NAN)
}
