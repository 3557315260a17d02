//! A server of its own behind a proxy, for each test.
#![allow(dead_code, unreachable_pub)] // Each test takes what it needs.

pub mod cluster;
pub mod law;
pub mod raw;

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
};

/// The password of every server; somebody else's is `fanfare_testkit::backend::SECRET`.
pub const PASSWORD: &str = "open sesame";

/// A server behind a proxy.
pub struct Setup {
    pub server: Server,
    pub proxy: ChaosProxy,
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
        Some(Self { server, proxy })
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
