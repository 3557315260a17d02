//! What the backend costs beside the bare `redis` crate and `redis-benchmark`: run it on a machine of at least two cores.
//!
//! ```text
//! cargo run --release -p fanfare-redis --example hop -- --rounds 5
//! ```
//!
//! It starts a redis-server on the second core and stays on the first. What is compared takes turns, so that both see the same
//! machine: the way of a message from node to node at 1,000 messages a second, and logged publishes from 64 tasks.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use fanfare_core::{Broker, policy::Open, subscription::Delivery, topic::TopicConfig};
use fanfare_redis::RedisBackend;
use fanfare_testkit::server::{Program, Server, ServerConfig};
use futures_util::StreamExt;
use redis::AsyncCommands;

/// Messages a second, and bytes of each.
const RATE: u32 = 1000;
const SIZE: usize = 128;

/// How many tasks publish, and what `redis-benchmark` sends at once.
const TASKS: usize = 64;

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    let number = |name: &str, default: u32| {
        let at = arguments.iter().position(|argument| argument == name);
        at.and_then(|at| arguments.get(at + 1)?.parse().ok()).unwrap_or(default)
    };
    let (rounds, seconds) = (number("--rounds", 5), number("--seconds", 4));
    pin(std::process::id(), 0)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let Some(config) = ServerConfig::find(Program::Redis) else { return Ok(()) };
        let server = config.start().await?;
        pin(server.pid().unwrap_or_default(), 1)?;
        hop(&server, rounds, seconds).await?;
        publishes(&server, rounds, seconds).await
    })
}

/// Puts a process on one core.
fn pin(process: u32, core: u32) -> Result<(), Failure> {
    let pinned = Command::new("taskset")
        .args(["-a", "-c", "-p", &core.to_string(), &process.to_string()])
        .stdout(Stdio::null())
        .status();
    if !pinned.is_ok_and(|status| status.success()) {
        eprintln!("process {process} could not be put on core {core}: figures mean less");
    }
    Ok(())
}

async fn broker(server: &Server) -> Result<Broker, Failure> {
    Ok(Broker::builder()
        .policy(Open)
        .shards(1)
        .topic("logged.>", TopicConfig::new().history(1000))
        .backend(RedisBackend::builder(format!("redis://{}", server.addr())).build()?)
        .start()
        .await?)
}

/// From a publish on one connection to its arrival on another: microseconds.
async fn hop(server: &Server, rounds: u32, seconds: u32) -> Result<(), Failure> {
    println!("The way of a message, {RATE}/s open loop, {SIZE} bytes, {seconds} s a turn; microseconds");
    println!(
        "{:>5} {:>12} {:>12} {:>12} {:>12}",
        "round", "bare p50", "bare p99", "fanfare p50", "fanfare p99"
    );
    let (publisher, listener) = (broker(server).await?, broker(server).await?);
    let mut all = [Vec::new(), Vec::new()];
    for round in 1..=rounds {
        let bare = bare(server, RATE * seconds).await?;
        let ours = ours(&publisher, &listener, RATE * seconds).await?;
        println!("{round:>5} {:>12} {:>12} {:>12} {:>12}", bare.0, bare.1, ours.0, ours.1);
        all[0].push((ours.0 as f64 / bare.0 as f64, bare.0));
        all[1].push((ours.1 as f64 / bare.1 as f64, bare.1));
    }
    for (name, mut ratios) in ["p50", "p99"].into_iter().zip(all) {
        ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
        println!("{name}: {:.2} x bare (median of the rounds)", ratios[ratios.len() / 2].0);
    }
    Ok(())
}

/// The `redis` crate's own PUBLISH to SUBSCRIBE.
async fn bare(server: &Server, count: u32) -> Result<(u64, u64), Failure> {
    let client = redis::Client::open(format!("redis://{}", server.addr()))?;
    let mut publisher = client.get_multiplexed_async_connection().await?;
    let mut pubsub = client.get_async_pubsub().await?;
    pubsub.subscribe("bare").await?;
    let start = Instant::now();
    let receiving = tokio::spawn(async move {
        let mut messages = pubsub.on_message();
        let mut times = Vec::with_capacity(count as usize);
        while times.len() < count as usize
            && let Some(message) = messages.next().await
        {
            times.push(since(start, std::str::from_utf8(message.get_payload_bytes()).unwrap_or_default()));
        }
        times
    });
    let mut pace = Pace::new();
    for _ in 0..count {
        pace.next().await;
        let mut publisher = publisher.clone();
        let text = stamped(start);
        tokio::spawn(async move { publisher.publish::<_, _, i64>("bare", text).await });
    }
    let figures = figures(receiving.await?);
    let _: i64 = publisher.publish("bare", "").await?;
    Ok(figures)
}

async fn ours(publisher: &Broker, listener: &Broker, count: u32) -> Result<(u64, u64), Failure> {
    // Room for what comes in one go after the machine was busy with something else.
    let mut subscription = listener.subscribe("hop").queue_messages(1 << 16).await?;
    let start = Instant::now();
    let receiving = tokio::spawn(async move {
        let mut times = Vec::with_capacity(count as usize);
        while times.len() < count as usize
            && let Some(delivery) = subscription.recv().await
        {
            match delivery {
                Delivery::Message(received) => {
                    times.push(since(start, received.message().payload().as_str().unwrap_or_default()));
                }
                other => panic!("nothing may be lost: {other:?}"),
            }
        }
        times
    });
    let mut pace = Pace::new();
    for _ in 0..count {
        pace.next().await;
        tokio::spawn(publisher.publish("hop", stamped(start)).into_future());
    }
    Ok(figures(receiving.await?))
}

/// Moments at an even pace, whatever happens between them.
struct Pace(tokio::time::Interval);

impl Pace {
    fn new() -> Self {
        Self(tokio::time::interval(Duration::from_secs(1) / RATE))
    }

    async fn next(&mut self) {
        self.0.tick().await;
    }
}

/// The time since the start as text of a fixed size.
fn stamped(start: Instant) -> String {
    format!("{:<SIZE$}", start.elapsed().as_nanos())
}

fn since(start: Instant, text: &str) -> u64 {
    let sent = text.trim().parse().unwrap_or(0);
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX).saturating_sub(sent)
}

/// p50 and p99 in microseconds.
fn figures(mut times: Vec<u64>) -> (u64, u64) {
    times.sort_unstable();
    let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or(0) / 1000;
    (at(50), at(99))
}

async fn publishes(server: &Server, rounds: u32, seconds: u32) -> Result<(), Failure> {
    println!("\nLogged publishes from {TASKS} tasks, {SIZE} bytes, {seconds} s a turn; per second");
    println!("{:>5} {:>16} {:>12} {:>8}", "round", "redis-benchmark", "fanfare", "ratio");
    let broker = broker(server).await?;
    let mut ratios = Vec::new();
    for round in 1..=rounds {
        let ours = logged(&broker, seconds).await?;
        let theirs = benchmark(server, seconds, ours).await?;
        println!("{round:>5} {theirs:>16.0} {ours:>12.0} {:>8.2}", ours / theirs);
        ratios.push(ours / theirs);
    }
    ratios.sort_by(f64::total_cmp);
    println!("{:.2} x redis-benchmark (median of the rounds)", ratios[ratios.len() / 2]);
    Ok(())
}

async fn logged(broker: &Broker, seconds: u32) -> Result<f64, Failure> {
    let start = Instant::now();
    let until = start + Duration::from_secs(seconds.into());
    let tasks: Vec<_> = (0..TASKS)
        .map(|_| {
            let broker = broker.clone();
            tokio::spawn(async move {
                let mut count = 0_u64;
                while Instant::now() < until {
                    broker.publish("logged.bench", "x".repeat(SIZE)).await?;
                    count += 1;
                }
                Ok::<_, Failure>(count)
            })
        })
        .collect();
    let mut count = 0;
    for task in tasks {
        count += task.await??;
    }
    Ok(count as f64 / start.elapsed().as_secs_f64())
}

/// The same script, with arguments of the same size, from a program in C.
async fn benchmark(server: &Server, seconds: u32, expected: f64) -> Result<f64, Failure> {
    let text = include_str!("../src/log/publish.lua");
    let client = redis::Client::open(format!("redis://{}", server.addr()))?;
    let mut connection = client.get_multiplexed_async_connection().await?;
    let hash: String = redis::cmd("SCRIPT").arg("LOAD").arg(text).query_async(&mut connection).await?;
    let info: String = redis::cmd("INFO").arg("server").query_async(&mut connection).await?;
    let run =
        info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap_or_default().trim().to_owned();
    let tag = "{logged.peer}";
    let keys = ["meta", "log", "values", "order"].map(|kind| format!("fanfare:{kind}:{tag}"));
    // An envelope without its payload takes about 50 bytes.
    let (message, channel) = ("x".repeat(SIZE + 50), format!("fanfare:db0:topic:{tag}"));
    let all = format!("{run},");
    let count = ((expected * f64::from(seconds)) as u64).max(10_000).to_string();
    let arguments = [
        &message,
        &channel,
        "PUBLISH",
        "281474976710655",
        "128",
        "1000",
        "4194304",
        "3600000",
        "86400000",
        "120000",
        "0",
        "",
        "",
        &run,
        &all,
    ];
    let port = server.port().to_string();
    let mut command = Command::new("taskset");
    command.args([
        "-c",
        "0",
        "redis-benchmark",
        "-p",
        &port,
        "-c",
        "1",
        "-P",
        &TASKS.to_string(),
        "-n",
        &count,
    ]);
    command.args(["--csv", "EVALSHA", &hash, "4"]).args(&keys).args(arguments);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().last().unwrap_or_default();
    let rate = line.split("\",\"").nth(1).and_then(|rate| rate.parse::<f64>().ok());
    rate.ok_or_else(|| {
        format!("redis-benchmark says `{text}` `{}`", String::from_utf8_lossy(&output.stderr)).into()
    })
}
