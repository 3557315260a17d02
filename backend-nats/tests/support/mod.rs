//! A server of its own behind a proxy, for each test.
#![allow(dead_code, unreachable_pub, unused_imports, unused_macros)] // Each test takes what it needs.

pub mod admin;
pub mod cluster;
pub mod operator;
pub mod requests;
pub mod wrong;

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
};

use admin::Admin;
use fanfare_core::{Broker, topic::TopicName};
use fanfare_nats::{NatsBackend, NatsBuilder};
pub use fanfare_testkit::faults::{PATIENCE, chain};
use fanfare_testkit::{
    faults::{self, Lone, Site, World},
    server::{Program, ServerConfig},
};

/// The password of every server; somebody else's is `fanfare_testkit::backend::SECRET`.
pub const PASSWORD: &str = "open sesame";

/// The nodes' user; the server's own account has the user `admin` with the same password.
pub const USER: &str = "app";

/// A version of the server.
pub trait Kind: Send + Sync + 'static {
    const PROGRAM: Program;
}

/// That of Debian's stable release: 2.9.
pub struct Debians;

/// What is current.
pub struct Current;

impl Kind for Debians {
    const PROGRAM: Program = Program::Nats;
}

impl Kind for Current {
    const PROGRAM: Program = Program::NatsCurrent;
}

/// Stamps tests that take the program of a server, for each of both versions.
macro_rules! on_both {
    ($($test:ident)*) => {
        mod debians_server {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(fanfare_testkit::server::Program::Nats).await;
                }
            )*
        }

        mod current_server {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test(fanfare_testkit::server::Program::NatsCurrent).await;
                }
            )*
        }
    };
}
pub(crate) use on_both;

/// An account with JetStream for the nodes, and one that may ask the server about itself.
pub fn accounts() -> String {
    format!(
        "accounts {{
            APP {{ jetstream: enabled, users: [{{ user: {USER}, password: \"{PASSWORD}\" }}] }}
            SYS {{ users: [{{ user: admin, password: \"{PASSWORD}\" }}] }}
        }}
        system_account: SYS"
    )
}

/// A server with JetStream behind a proxy.
pub struct Setup {
    site: Site,
    program: Program,
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
        let config = ServerConfig::find(program)?.jetstream().line(accounts());
        Some(Self { site: Site::start(config.lines(lines.iter().copied())).await, program })
    }

    /// Whether it is older than 2.10.
    pub fn is_debians(&self) -> bool {
        self.program == Program::Nats
    }

    /// A backend behind the proxy.
    pub fn builder(&self) -> NatsBuilder {
        NatsBackend::builder(self.url(PASSWORD))
    }

    pub fn url(&self, password: &str) -> String {
        url_of(self.proxy.addr(), password)
    }

    /// Who may do anything, past the proxy.
    pub async fn admin(&self) -> Admin {
        Admin::of(&self.server).await
    }
}

/// The nodes' user, with a password.
pub fn url_of(server: SocketAddr, password: &str) -> String {
    format!("nats://{USER}:{}@{server}", password.replace(' ', "%20"))
}

pub fn built(builder: NatsBuilder) -> NatsBackend {
    builder.build().expect("settings")
}

/// Two brokers, of which the first publishes.
pub async fn world(publisher: NatsBuilder, listener: NatsBuilder) -> World {
    World::start(built(publisher), built(listener)).await
}

pub async fn broker(builder: NatsBuilder) -> Broker {
    faults::broker(built(builder)).await
}

pub async fn lone(builder: NatsBuilder) -> Lone<NatsBackend> {
    Lone::start(built(builder)).await
}

pub fn topic(name: &str) -> TopicName {
    TopicName::new(name).expect("a name")
}
