//! Two nodes of the chat on a server of their own, behind nginx.

use fanfare_testkit::server::{Program, Server, ServerConfig};

use crate::support::{App, Nginx};

/// What stands in the backend's URL, and nowhere else.
const PASSWORD: &str = "open-sesame";

/// What carries lines between nodes, and keeps them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Carrier {
    Redis,
    Nats,
}

/// Stamps tests that take a [`Carrier`], for each of them.
macro_rules! on_each {
    ($($test:ident)*) => {
        mod redis {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(super::Carrier::Redis).await;
                }
            )*
        }

        mod nats {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test(super::Carrier::Nats).await;
                }
            )*
        }
    };
}
pub(super) use on_each;

impl Carrier {
    /// `None`, and a loud word, where the program is missing.
    fn config(self) -> Option<ServerConfig> {
        Some(match self {
            Self::Redis => ServerConfig::find(Program::Redis)?.line(format!("requirepass {PASSWORD}")),
            Self::Nats => {
                let login = format!("authorization {{ user: chat, password: {PASSWORD} }}");
                ServerConfig::find(Program::NatsCurrent)?.jetstream().line(login)
            }
        })
    }

    /// Lines of a configuration with which what was acknowledged is on disk.
    fn lines_to_keep_all(self) -> &'static [&'static str] {
        match self {
            Self::Redis => &["appendonly yes", "appendfsync always"],
            // A process that is killed takes nothing of its files with it.
            Self::Nats => &[],
        }
    }

    fn url(self, server: &Server) -> String {
        match self {
            Self::Redis => format!("redis://:{PASSWORD}@{}", server.addr()),
            Self::Nats => format!("nats://chat:{PASSWORD}@{}", server.addr()),
        }
    }
}

pub(super) struct Cluster {
    pub(super) server: Server,
    pub(super) nodes: [App; 2],
    pub(super) nginx: Nginx,
}

impl Cluster {
    /// Nothing, and a loud word, where a program is missing.
    pub(super) async fn start(carrier: Carrier) -> Option<Self> {
        Self::with(carrier, &[]).await
    }

    /// One whose server has on disk what it has acknowledged.
    pub(super) async fn that_keeps_all(carrier: Carrier) -> Option<Self> {
        Self::with(carrier, carrier.lines_to_keep_all()).await
    }

    async fn with(carrier: Carrier, lines: &[&str]) -> Option<Self> {
        let server = carrier.config()?.lines(lines.iter().copied()).start().await.unwrap();
        let url = carrier.url(&server);
        let nodes = [node(&url, "127.0.0.1:0"), node(&url, "127.0.0.1:0")];
        let nginx = Nginx::start([nodes[0].address(), nodes[1].address()])?;
        Some(Self { server, nodes, nginx })
    }
}

/// Starts a node that has ended again, where it was.
pub(super) fn revive(ended: &mut App, carrier: Carrier, server: &Server) {
    let address = ended.address().to_owned();
    *ended = node(&carrier.url(server), &address);
}

fn node(url: &str, address: &str) -> App {
    App::example_at("chat", address, &["--backend", url])
}
