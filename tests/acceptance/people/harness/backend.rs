//! What carries messages between the nodes of a site.

use fanfare_testkit::server::{Program, Server, ServerConfig};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Backend {
    Memory,
    Redis,
    Nats,
}

/// A backend of a site, with the server behind it.
pub(crate) struct Carrier {
    /// What a broker is given to reach it.
    pub(crate) url: String,
    /// None for the memory of a process.
    pub(crate) server: Option<Server>,
}

impl Backend {
    /// Starts the server, if there is one. Nothing, and a loud word, where the program is missing.
    pub(crate) async fn start(self) -> Option<Carrier> {
        let (scheme, config) = match self {
            Self::Memory => return Some(Carrier { url: "memory:".to_owned(), server: None }),
            Self::Redis => ("redis", ServerConfig::find(Program::Redis)?),
            Self::Nats => ("nats", ServerConfig::find(Program::NatsCurrent)?.jetstream()),
        };
        let server = config.start().await.unwrap();
        Some(Carrier { url: format!("{scheme}://{}", server.addr()), server: Some(server) })
    }

    /// On how many nodes a site is.
    pub(crate) fn nodes(self) -> usize {
        if self == Self::Memory { 1 } else { 2 }
    }
}

/// Stamps tests, functions of this file that take a [`Backend`], for each backend.
macro_rules! on_every_backend {
    ($($test:ident)*) => {
        $crate::people::harness::on_several_nodes!($($test)*);

        mod memory {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test($crate::people::harness::Backend::Memory).await;
                }
            )*
        }
    };
}

/// The same for those backends that several nodes can share.
macro_rules! on_several_nodes {
    ($($test:ident)*) => {
        mod redis {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test($crate::people::harness::Backend::Redis).await;
                }
            )*
        }

        mod nats {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    super::$test($crate::people::harness::Backend::Nats).await;
                }
            )*
        }
    };
}

pub(crate) use {on_every_backend, on_several_nodes};
