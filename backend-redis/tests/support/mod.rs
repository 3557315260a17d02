//! A server of its own behind a proxy, for each test.
#![allow(dead_code, unreachable_pub)] // Each test takes what it needs.

pub mod cluster;
pub mod law;
pub mod raw;

use std::time::Duration;

use fanfare_core::topic::TopicName;
use fanfare_redis::{RedisBackend, RedisBuilder};
use fanfare_testkit::{
    backend::SECRET,
    proxy::ChaosProxy,
    server::{Program, Server, ServerConfig},
};
use redis::aio::MultiplexedConnection;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    runtime::Handle,
    time::{Instant, sleep, timeout},
};

/// Only catches hangs.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a process of tests may hold at most: with every outage of a suite behind it, a few buffers that were meant to be bounded and are
/// not would be beyond it.
const MEMORY: u64 = 512 << 20;

/// The password of every server; somebody else's is `fanfare_testkit::backend::SECRET`.
pub const PASSWORD: &str = "open sesame";

/// A server behind a proxy.
pub struct Setup {
    pub server: Server,
    pub proxy: ChaosProxy,
    /// The runtime's tasks before any backend has begun.
    tasks: usize,
}

impl Setup {
    /// `None` where the program is missing, which has been said.
    pub async fn start(program: Program) -> Option<Self> {
        Self::with(program, &[]).await
    }

    pub async fn with(program: Program, lines: &[&str]) -> Option<Self> {
        let config = ServerConfig::find(program)?.line(format!("requirepass \"{PASSWORD}\""));
        let server = config.lines(lines.iter().copied()).start().await.expect("a server");
        let proxy = ChaosProxy::start(server.addr()).await.expect("a proxy");
        Some(Self { server, proxy, tasks: tasks() })
    }

    /// What was started against this server has left nothing: no connection, no task, no memory worth mentioning.
    pub async fn is_as_before(&self) {
        let gone = timeout(PATIENCE, self.proxy.until_connections(|count| count == 0)).await;
        assert!(gone.is_ok(), "{} connections are left", self.proxy.connections());
        let began = Instant::now();
        while tasks() > self.tasks {
            assert!(began.elapsed() < PATIENCE, "{} tasks are left of {} before", tasks(), self.tasks);
            sleep(Duration::from_millis(10)).await;
        }
        let resident = resident_bytes();
        assert!(resident < MEMORY, "{resident} bytes are resident, and {MEMORY} are more than enough");
    }

    /// A backend behind the proxy.
    pub fn builder(&self) -> RedisBuilder {
        RedisBackend::builder(self.url(PASSWORD, ""))
    }

    pub fn url(&self, password: &str, rest: &str) -> String {
        let password = password.replace(' ', "%20");
        format!("redis://:{password}@{}{rest}", self.proxy.addr())
    }

    /// A connection past the proxy.
    pub async fn admin(&self) -> MultiplexedConnection {
        let url = format!("redis://:{}@{}", PASSWORD.replace(' ', "%20"), self.server.addr());
        let client = redis::Client::open(url).expect("a client");
        client.get_multiplexed_async_connection().await.expect("a connection")
    }

    /// One command past the proxy.
    pub async fn tell<T: redis::FromRedisValue>(&self, words: &[&str]) -> T {
        let mut command = redis::cmd(words[0]);
        for word in &words[1..] {
            command.arg(*word);
        }
        command.query_async(&mut self.admin().await).await.expect("an answer")
    }

    /// Ends all connections that only receive.
    pub async fn kill_subscribers(&self) -> usize {
        self.tell(&["CLIENT", "KILL", "TYPE", "pubsub"]).await
    }
}

fn tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

/// Of this process, in which tests run side by side.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

pub fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("a name")
}

/// Servers of other kinds, by what they answer to anything.
pub async fn impostor(answers: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let addr = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(answers).await;
                // It stays, as servers do.
                let _ = stream.read(&mut [0; 4096]).await;
            });
        }
    });
    format!("redis://:{SECRET}@{addr}")
}
