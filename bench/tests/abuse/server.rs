//! The server in a process of its own.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::bystander::Bystander;
use crate::client::{PATIENCE, http};

/// A server, killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
}

/// Runs `abuse` against a server with these options, while a bystander looks on. Afterwards the bystander has missed
/// nothing, and the server holds no connection any more.
pub(crate) fn undisturbed(options: &[&str], abuse: impl FnOnce(&Server)) {
    let server = Server::spawn(options);
    let bystander = Bystander::watch(server.address);
    abuse(&server);
    bystander.finish();
    server.forgets_all();
}

impl Server {
    pub(crate) fn spawn(options: &[&str]) -> Self {
        // The port is free now, and may be another's when the server takes it.
        (0..5).find_map(|_| Self::try_spawn(options)).expect("the server does not start")
    }

    fn try_spawn(options: &[&str]) -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_server"));
        command.arg("--listen").arg(address.to_string()).args(options).stdout(Stdio::null());
        let mut server = Self { child: command.spawn().unwrap(), address };
        until("the server starts", || {
            server.child.try_wait().unwrap().is_some() || std::net::TcpStream::connect(address).is_ok()
        });
        let healthz = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        (server.child.try_wait().unwrap().is_none() && http(address, healthz).status == 200).then_some(server)
    }

    /// Bytes.
    pub(crate) fn resident(&self) -> u64 {
        bench::process::memory(self.child.id()).resident
    }

    /// Waits until the process holds no connection.
    pub(crate) fn forgets_all(&self) {
        until("the server lets go of all connections", || self.connections() == 0);
    }

    /// The TCP connections to the server's port that its process has open.
    pub(crate) fn connections(&self) -> usize {
        let pid = self.child.id();
        let open = fs::read_dir(format!("/proc/{pid}/fd")).expect("the server has died");
        let open: Vec<String> = open
            .flatten()
            .filter_map(|file| fs::read_link(file.path()).ok())
            .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
            .collect();
        let port = format!(":{:04X}", self.address.port());
        let sockets = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap();
        let connections = sockets.lines().skip(1).filter(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            // Local address, remote address, state (0A: listening) and, further back, the inode.
            fields[1].ends_with(&port) && fields[3] != "0A" && open.iter().any(|inode| inode == fields[9])
        });
        connections.count()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Looks again and again until it is so, and fails when it takes too long.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "too late: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}
