//! A server of its own behind a proxy, for each test.
#![allow(dead_code, unreachable_pub, unused_imports)] // Each test takes what it needs.

pub mod cluster;

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
};

use fanfare_core::{Broker, topic::TopicName};
use fanfare_redis::{RedisBackend, RedisBuilder};
pub use fanfare_testkit::faults::{PATIENCE, chain};
use fanfare_testkit::{
    backend::SECRET,
    faults::{self, Lone, Site, World},
    server::{Program, ServerConfig},
};
use redis::aio::MultiplexedConnection;

/// The password of every server; somebody else's is `fanfare_testkit::backend::SECRET`.
pub const PASSWORD: &str = "open sesame";

/// Which server.
pub trait Kind: Send + Sync + 'static {
    const PROGRAM: Program;

    /// Rounds of faults that are quick, and of slow ones: what differs from server to server needs no hundred to show.
    const ROUNDS: (usize, usize);
}

pub struct Redis;
pub struct Valkey;

impl Kind for Redis {
    const PROGRAM: Program = Program::Redis;
    const ROUNDS: (usize, usize) = (100, 3);
}

impl Kind for Valkey {
    const PROGRAM: Program = Program::Valkey;
    const ROUNDS: (usize, usize) = (10, 1);
}

/// A server behind a proxy.
pub struct Setup {
    site: Site,
}

impl Deref for Setup {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.site
    }
}

impl DerefMut for Setup {
    fn deref_mut(&mut self) -> &mut Site {
        &mut self.site
    }
}

impl Setup {
    /// `None` where the program is missing, which has been said.
    pub async fn start(program: Program) -> Option<Self> {
        Self::with(program, &[]).await
    }

    pub async fn with(program: Program, lines: &[&str]) -> Option<Self> {
        let config = ServerConfig::find(program)?.line(format!("requirepass \"{PASSWORD}\""));
        Some(Self { site: Site::start(config.lines(lines.iter().copied())).await })
    }

    /// A backend behind the proxy.
    pub fn builder(&self) -> RedisBuilder {
        RedisBackend::builder(self.url(PASSWORD, ""))
    }

    pub fn url(&self, password: &str, rest: &str) -> String {
        url_of(self.proxy.addr(), password, rest)
    }

    /// A connection past the proxy.
    pub async fn admin(&self) -> MultiplexedConnection {
        let client = redis::Client::open(url_of(self.server.addr(), PASSWORD, "")).expect("a client");
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

pub fn built(builder: RedisBuilder) -> RedisBackend {
    builder.build().expect("settings")
}

/// Two brokers, of which the first publishes.
pub async fn world(publisher: RedisBuilder, listener: RedisBuilder) -> World {
    World::start(built(publisher), built(listener)).await
}

pub async fn broker(builder: RedisBuilder) -> Broker {
    faults::broker(built(builder)).await
}

pub async fn lone(builder: RedisBuilder) -> Lone<RedisBackend> {
    Lone::start(built(builder)).await
}

/// A password, and what else a URL has behind the address.
pub fn url_of(server: SocketAddr, password: &str, rest: &str) -> String {
    format!("redis://:{}@{server}{rest}", password.replace(' ', "%20"))
}

pub fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("a name")
}

/// Servers of other kinds, by what they answer to anything.
pub async fn impostor(answers: &'static [u8]) -> String {
    format!("redis://:{SECRET}@{}", faults::impostor(b"", answers).await)
}
