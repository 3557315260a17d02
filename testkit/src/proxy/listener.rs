//! The port of a proxy, and what its connections share.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use socket2::{Domain, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::{
    conditions::{Conditions, End},
    connection,
};

const BACKLOG: i32 = 1024;

/// A port that stays the proxy's also while nobody listens at it: the socket that holds it never does, so that connections
/// are refused by the kernel.
pub(super) struct Port {
    pub(super) addr: SocketAddr,
    _held: Socket,
}

impl Port {
    pub(super) fn reserve() -> io::Result<Self> {
        let held = socket((Ipv4Addr::LOCALHOST, 0).into())?;
        let addr = held.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
        Ok(Self { addr, _held: held })
    }

    pub(super) fn listen(&self) -> io::Result<TcpListener> {
        let socket = socket(self.addr)?;
        socket.listen(BACKLOG)?;
        TcpListener::from_std(socket.into())
    }
}

fn socket(addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

/// What the proxy and its connections share.
pub(super) struct Shared {
    pub(super) target: SocketAddr,
    pub(super) conditions: watch::Sender<Conditions>,
    /// The last call to end all connections, with its number.
    pub(super) ends: watch::Sender<(u64, End)>,
    pub(super) connections: watch::Sender<usize>,
    accepted: AtomicU64,
}

impl Shared {
    pub(super) fn new(target: SocketAddr) -> Self {
        Self {
            target,
            conditions: watch::Sender::new(Conditions::default()),
            ends: watch::Sender::new((0, End::Fin)),
            connections: watch::Sender::new(0),
            accepted: AtomicU64::new(0),
        }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Conditions)) {
        self.conditions.send_modify(change);
    }

    pub(super) fn end(&self, how: End) {
        self.ends.send_modify(|(number, last)| {
            *number += 1;
            *last = how;
        });
    }

    pub(super) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

/// Counted as long as it is held.
struct Counted(Arc<Shared>);

impl Counted {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        shared.connections.send_modify(|count| *count += 1);
        Self(shared.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.send_modify(|count| *count -= 1);
    }
}

/// Accepts connections, while it may. Dropped, it takes all connections with it.
pub(super) async fn run(port: Arc<Port>, listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    let mut conditions = shared.conditions.subscribe();
    let mut listener = Some(listener);
    loop {
        let refuses = conditions.borrow_and_update().refuses;
        if refuses {
            listener = None;
        } else if listener.is_none() {
            // The port is held, so that it is ours to listen at.
            listener = port.listen().ok();
        }
        tokio::select! {
            accepted = accept(listener.as_ref()) => {
                if let Ok(client) = accepted {
                    let (shared, counted) = (shared.clone(), Counted::new(&shared));
                    connections.spawn(async move {
                        connection::serve(client, &shared).await;
                        drop(counted);
                    });
                }
            }
            Some(_) = connections.join_next() => {}
            changed = conditions.changed() => if changed.is_err() { return },
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(client, _)| client),
        None => std::future::pending().await,
    }
}
