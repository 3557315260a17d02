//! A TCP proxy that does to connections what networks do: [`ChaosProxy`].

mod conditions;
mod connection;
mod listener;
mod pump;

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

pub use conditions::Direction;
use conditions::{Conditions, End};
use listener::{Port, Shared};
use tokio::{sync::watch, task::JoinHandle};

/// Stands between clients and a server, and fails on request.
///
/// What is set holds for the connections that are there and for those that come, until [`heal`](Self::heal). Dropped, it
/// leaves no task, no connection and no port behind.
///
/// ```
/// use fanfare_testkit::proxy::ChaosProxy;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> std::io::Result<()> {
/// let server = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// let proxy = ChaosProxy::start(server.local_addr()?).await?;
/// let client = tokio::net::TcpStream::connect(proxy.addr()).await?;
/// proxy.until_connections(|count| count == 1).await;
/// proxy.reset();
/// proxy.until_connections(|count| count == 0).await;
/// # Ok(()) }
/// ```
pub struct ChaosProxy {
    port: Arc<Port>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

impl ChaosProxy {
    /// A proxy at a free port of 127.0.0.1 that does nothing yet but forward. Each connection of a client becomes one to `target`;
    /// where that is not answered, the client's is reset.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub async fn start(target: SocketAddr) -> io::Result<Self> {
        let port = Arc::new(Port::reserve()?);
        let shared = Arc::new(Shared::new(target));
        let listener = port.listen()?;
        let task = tokio::spawn(listener::run(port.clone(), listener, shared.clone()));
        Ok(Self { port, shared, task })
    }

    /// Where clients connect to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr
    }

    /// Closes all connections in good order (FIN on both sides). New ones are served.
    pub fn cut(&self) {
        self.shared.end(End::Fin);
    }

    /// Resets all connections (RST on both sides). New ones are served.
    pub fn reset(&self) {
        self.shared.end(End::Reset);
    }

    /// Resets all connections, and refuses new ones as a host does where nobody listens, until [`heal`](Self::heal).
    pub fn refuse(&self) {
        self.shared.change(|conditions| conditions.refuses = true);
        self.shared.end(End::Reset);
    }

    /// Lets nothing through in either direction, no end of a connection either, until [`heal`](Self::heal): what was sent meanwhile arrives then, as
    /// when packets are lost and sent again. New connections are accepted, as the kernel does, and hear nothing.
    pub fn blackhole(&self) {
        self.shared.change(|conditions| conditions.held = [true, true]);
    }

    /// Lets nothing through in one direction: a half-open connection.
    pub fn half_open(&self, direction: Direction) {
        self.shared.change(|conditions| conditions.held[direction as usize] = true);
    }

    /// Delivers what is sent this much later, in each direction. What is on its way is bounded at 1 MiB.
    pub fn latency(&self, latency: Duration) {
        self.shared.change(|conditions| conditions.latency = latency);
    }

    /// Lets through so many bytes a second, of each connection and direction.
    pub fn throttle(&self, bytes_per_second: u64) {
        self.shared.change(|conditions| conditions.rate = Some(bytes_per_second.max(1)));
    }

    /// Forwards again as if nothing had been. Connections that are there go on.
    pub fn heal(&self) {
        self.shared.change(|conditions| *conditions = Conditions::default());
    }

    /// How many connections there are now.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.shared.connections.borrow()
    }

    /// How many connections were accepted since the start.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted()
    }

    /// Waits until the number of connections is as wanted.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost when the future is dropped.
    pub async fn until_connections(&self, wanted: impl FnMut(usize) -> bool) {
        let mut wanted = wanted;
        let mut connections: watch::Receiver<usize> = self.shared.connections.subscribe();
        // The sender lives as long as the proxy.
        let _ = connections.wait_for(|count| wanted(*count)).await;
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for ChaosProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaosProxy")
            .field("addr", &self.addr())
            .field("target", &self.shared.target)
            .field("connections", &self.connections())
            .finish_non_exhaustive()
    }
}
