//! Where faults happen: a server of a test's own behind a proxy.

use std::{net::SocketAddr, sync::Arc, time::Instant};

use async_trait::async_trait;
use fanfare_core::backend::{Backend, BackendState};
use tokio::{
    runtime::Handle,
    time::{Duration, sleep, timeout},
};

use super::{BACK, PATIENCE, World, clock::awake};
use crate::{
    SharedBackend,
    proxy::ChaosProxy,
    server::{Server, ServerConfig},
};

/// What a process of tests may hold at most: with every outage of a suite behind it, a few buffers that were meant to be bounded and are
/// not would be beyond it.
const MEMORY: u64 = 512 << 20;

/// What [`BACK`] is where no bare client shows how busy the machine is.
const BACK_WITHOUT_CONTROL: Duration = Duration::from_secs(4);

/// What the faults need of a backend's author.
#[async_trait]
pub trait Setup: Send + Sync + Sized + 'static {
    /// A new server behind a proxy. `None` where its program is missing, which [`ServerConfig::find`] has said.
    async fn start() -> Option<Self>;

    /// The same with a server that throws out who is more than about a megabyte behind with what it is sent.
    async fn start_impatient() -> Option<Self>;

    /// The server and its proxy.
    fn site(&self) -> &Site;

    /// The server and its proxy.
    fn site_mut(&mut self) -> &mut Site;

    /// A backend whose server is the one at this address, which is a proxy's.
    fn backend_at(&self, server: SocketAddr) -> Arc<dyn Backend>;

    /// How many rounds there are of what is quick, and of what is slow.
    const MANY: usize = 100;

    /// See [`MANY`](Self::MANY).
    const SOME: usize = 3;

    /// Connects to the server through the proxy as often as it takes, without any pause to speak of, and is answered: what nothing that
    /// connects by itself can be quicker than. False where there is no such client: then nodes have four seconds.
    async fn bare_client(&self) -> bool {
        false
    }

    /// Ends the connections on which messages arrive, by the server's own means, and leaves the server alone.
    async fn kick(&self);

    /// Sends to who is subscribed to [`EPHEMERAL`](super::EPHEMERAL) what is no message of ours: a good bite of the megabyte.
    /// False when the server has thrown out all but `left` of those who are subscribed.
    async fn flood(&self, left: usize) -> bool;
}

/// A server behind a proxy.
#[derive(Debug)]
pub struct Site {
    /// The server.
    pub server: Server,
    /// What stands between the server and the nodes.
    pub proxy: ChaosProxy,
    /// The runtime's tasks before any backend has begun.
    tasks: usize,
}

impl Site {
    /// Starts a server, and a proxy before it.
    ///
    /// # Panics
    ///
    /// When one of them does not start.
    pub async fn start(config: ServerConfig) -> Self {
        let server = config.start().await.unwrap_or_else(|error| panic!("no server: {error}"));
        Self::before(server).await
    }

    /// A proxy before a server that runs.
    ///
    /// # Panics
    ///
    /// When it does not start.
    pub async fn before(server: Server) -> Self {
        let proxy = ChaosProxy::start(server.addr()).await;
        let proxy = proxy.unwrap_or_else(|error| panic!("no proxy: {error}"));
        Self { server, proxy, tasks: tasks() }
    }

    /// What was started against this server has left nothing: no connection, no task, no memory worth mentioning.
    ///
    /// # Panics
    ///
    /// When something is left.
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
}

/// A world whose brokers both use the proxy.
pub(super) async fn world(setup: &impl Setup) -> World {
    let backend = || SharedBackend::new(setup.backend_at(setup.site().proxy.addr()));
    World::start(backend(), backend()).await
}

/// The fault has ended: both brokers are back in time.
pub(super) async fn back(setup: &impl Setup, world: &World, fault: &str) {
    let control = async {
        let began = Instant::now();
        setup.bare_client().await.then(|| began.elapsed())
    };
    let ((_, took), control) = tokio::join!(awake(world.until_both(BackendState::Up)), control);
    eprintln!("{fault}: back after {took:?}, a bare client after {control:?}");
    let limit = control.map_or(BACK_WITHOUT_CONTROL, |control| control + BACK);
    assert!(took < limit, "{fault}: back after {took:?}, and a bare client after {control:?}");
}

/// The end leaves nothing behind.
pub(super) async fn end(setup: &impl Setup, world: World, fault: &str) {
    world.end(fault).await;
    setup.site().is_as_before().await;
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
