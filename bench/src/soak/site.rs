//! The server, and what stands between it and each node.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use clap::ValueEnum;
use fanfare::backend::{
    Backend,
    memory::{HubNode, MemoryHub},
};
use fanfare_testkit::{
    SharedBackend,
    proxy::ChaosProxy,
    server::{Program, Server, ServerConfig},
};
use parking_lot::Mutex;
use std::sync::Arc;

use super::broken::{Broken, Twisted};

/// What carries messages between nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Carrier {
    /// A hub within this process.
    Memory,
    /// A Redis server.
    Redis,
    /// A NATS server.
    Nats,
}

/// The server, and a proxy before it for each node; or a hub.
pub(super) struct Site {
    pub(super) carrier: Carrier,
    pub(super) server: tokio::sync::Mutex<Option<Server>>,
    pub(super) proxies: Vec<ChaosProxy>,
    hub: MemoryHub,
    /// The nodes at the hub that run now.
    ways: Mutex<Vec<Option<Arc<HubNode>>>>,
    broken: Option<Broken>,
}

impl Site {
    /// `None` where the server's program is missing, which has been said.
    pub(super) async fn start(
        carrier: Carrier,
        nodes: usize,
        broken: Option<Broken>,
    ) -> anyhow::Result<Option<Self>> {
        let config = match carrier {
            Carrier::Memory => None,
            Carrier::Redis => ServerConfig::find(Program::Redis)
                .map(|config| config.lines(["appendonly yes", "appendfsync always"])),
            Carrier::Nats => ServerConfig::find(Program::NatsCurrent).map(ServerConfig::jetstream),
        };
        if config.is_none() && carrier != Carrier::Memory {
            return Ok(None);
        }
        let server = match config {
            Some(config) => Some(config.start().await.context("the server does not start")?),
            None => None,
        };
        let mut proxies = Vec::new();
        if let Some(server) = &server {
            for _ in 0..nodes {
                proxies.push(ChaosProxy::start(server.addr()).await.context("no proxy")?);
            }
        }
        let (hub, ways) = (MemoryHub::new(), Mutex::new((0..nodes).map(|_| None).collect()));
        Ok(Some(Self { carrier, server: tokio::sync::Mutex::new(server), proxies, hub, ways, broken }))
    }

    /// A backend for a node that begins.
    pub(super) fn backend(&self, node: usize) -> anyhow::Result<SharedBackend> {
        let backend: Arc<dyn Backend> = match self.carrier {
            Carrier::Memory => {
                let way = Arc::new(self.hub.node());
                self.ways.lock()[node] = Some(way.clone());
                way
            }
            Carrier::Redis => Arc::new(fanfare::redis::from_url(&format!("redis://{}", self.addr(node)?))?),
            Carrier::Nats => Arc::new(fanfare::nats::from_url(&format!("nats://{}", self.addr(node)?))?),
        };
        let backend = SharedBackend::new(backend);
        Ok(match self.broken {
            Some(broken) => SharedBackend::new(Arc::new(Twisted::new(backend, broken))),
            None => backend,
        })
    }

    /// Takes a node off the hub, or lets it come back.
    pub(super) fn set_connected(&self, node: usize, connected: bool) {
        if let Some(way) = &self.ways.lock()[node] {
            way.set_connected(connected);
        }
    }

    /// Ends what was done to connections.
    pub(super) fn heal(&self) {
        for proxy in &self.proxies {
            proxy.heal();
        }
        for way in self.ways.lock().iter().flatten() {
            way.set_connected(true);
        }
    }

    fn addr(&self, node: usize) -> anyhow::Result<SocketAddr> {
        match self.proxies.get(node) {
            Some(proxy) => Ok(proxy.addr()),
            None => bail!("there is no proxy for node {node}"),
        }
    }
}
