//! The `redis` crate, and `redis-benchmark`.

use std::time::Instant;

use anyhow::Context;
use fanfare_testkit::server::{Program, Server, ServerConfig};
use futures_util::StreamExt;
use redis::AsyncCommands;
use tokio::process::Command;

use super::{
    SIZE, TASKS,
    bare::Bare,
    pace::{Arrivals, Pace, Times, stamped},
};

/// The script that stores a message.
const SCRIPT: &str = include_str!("../../../backend-redis/src/log/publish.lua");

/// About what an envelope takes without its payload: bytes.
const ENVELOPE: usize = 50;

pub(super) struct Redis(Server);

impl Redis {
    pub(super) async fn start() -> anyhow::Result<Option<Self>> {
        let Some(config) = ServerConfig::find(Program::Redis) else { return Ok(None) };
        Ok(Some(Self(config.start().await?)))
    }

    fn client(&self) -> anyhow::Result<redis::Client> {
        Ok(redis::Client::open(self.url())?)
    }
}

impl Bare for Redis {
    const LOGGED: &str = "redis-benchmark";

    fn server(&self) -> &Server {
        &self.0
    }

    fn url(&self) -> String {
        format!("redis://{}", self.0.addr())
    }

    async fn hop(&self, count: u32) -> anyhow::Result<Times> {
        let mut publisher = self.client()?.get_multiplexed_async_connection().await?;
        let mut pubsub = self.client()?.get_async_pubsub().await?;
        pubsub.subscribe("bare").await?;
        let start = Instant::now();
        let receiving = tokio::spawn(async move {
            let mut messages = pubsub.on_message();
            let mut arrivals = Arrivals::new(start, count);
            while !arrivals.are_complete()
                && let Some(message) = messages.next().await
            {
                arrivals.take(std::str::from_utf8(message.get_payload_bytes()).unwrap_or_default());
            }
            arrivals.times()
        });
        let mut pace = Pace::new();
        for _ in 0..count {
            pace.next().await;
            let mut publisher = publisher.clone();
            let text = stamped(start);
            tokio::spawn(async move { publisher.publish::<_, _, i64>("bare", text).await });
        }
        let times = receiving.await?;
        let _: i64 = publisher.publish("bare", "").await?;
        Ok(times)
    }

    /// The same script, with arguments of the same size, from a program in C.
    async fn logged(&self, seconds: u32, ours: f64) -> anyhow::Result<f64> {
        let mut connection = self.client()?.get_multiplexed_async_connection().await?;
        let hash: String = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).query_async(&mut connection).await?;
        let mut keys: Vec<_> =
            ["meta", "log", "values", "order"].map(|kind| format!("fanfare:{kind}:{{logged.peer}}")).into();
        keys.push("fanfare:life".to_owned());
        let (message, channel) = ("x".repeat(SIZE + ENVELOPE), "fanfare:db0:topic:{logged.peer}");
        let count = ((ours * f64::from(seconds)) as u64).max(10_000).to_string();
        let mut command = Command::new("taskset");
        command.args(["-c", "0", "redis-benchmark", "-p", &self.0.port().to_string(), "-c", "1"]);
        command.args(["-P", &TASKS.to_string(), "-n", &count, "--csv", "EVALSHA", &hash, "5"]).args(&keys);
        command.args([&message, channel, "PUBLISH", "281474976710655", "128", "1000", "4194304", "3600000"]);
        command.args(["86400000", "120000", "0", "", "", "", ""]);
        let output = command.output().await?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().last().unwrap_or_default();
        let rate = line.split("\",\"").nth(1).and_then(|rate| rate.parse::<f64>().ok());
        rate.with_context(|| {
            format!("redis-benchmark says `{text}` `{}`", String::from_utf8_lossy(&output.stderr))
        })
    }
}
