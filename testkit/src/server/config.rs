//! A server that is about to be started.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use super::{Program, Ready, Server, ServerError};

/// How often another port is tried when a server ends at once: somebody else may have taken the port.
const TRIES: usize = 3;

/// The name of the configuration file in a server's folder.
pub(super) const FILE: &str = "server.conf";

/// A server that is about to be started.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    pub(super) program: Program,
    pub(super) path: PathBuf,
    pub(super) lines: Vec<String>,
    pub(super) arguments: Vec<String>,
    pub(super) port: Option<u16>,
    pub(super) ready: Ready,
}

impl ServerConfig {
    /// A server with nothing but a port and a folder. `None` where the program is missing: then leave the test.
    ///
    /// # Panics
    ///
    /// When the program is missing and `CI` is `true`.
    #[must_use]
    pub fn find(program: Program) -> Option<Self> {
        program.find().map(|path| Self::at(program, path))
    }

    /// The same with a program that is known.
    #[must_use]
    pub fn at(program: Program, path: impl Into<PathBuf>) -> Self {
        let ready = if program.is_nats() { Ready::Info } else { Ready::Ping };
        let (lines, arguments) = (Vec::new(), Vec::new());
        Self { program, path: path.into(), lines, arguments, port: None, ready }
    }

    /// Adds a line to the configuration file; of two that set the same in Redis, the later counts.
    /// `{port}` in it is replaced with the server's port, `{dir}` with its folder.
    ///
    /// Without any, Redis and Valkey keep nothing on disk and listen at 127.0.0.1; NATS has no JetStream (see
    /// [`jetstream`](Self::jetstream)).
    #[must_use]
    pub fn line(mut self, line: impl Into<String>) -> Self {
        self.lines.push(line.into());
        self
    }

    /// The same with several lines.
    #[must_use]
    pub fn lines<L: Into<String>>(mut self, lines: impl IntoIterator<Item = L>) -> Self {
        self.lines.extend(lines.into_iter().map(Into::into));
        self
    }

    /// Adds an argument after the configuration file.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// Gives NATS a JetStream, which stores in the server's folder.
    #[must_use]
    pub fn jetstream(self) -> Self {
        self.line("jetstream { store_dir: \"{dir}/jetstream\" }")
    }

    /// Runs Redis or Valkey as a Sentinel.
    #[must_use]
    pub fn sentinel(self) -> Self {
        self.argument("--sentinel")
    }

    /// Runs Redis or Valkey as a node of a cluster, which is yet to be formed (`CLUSTER MEET`, `CLUSTER ADDSLOTSRANGE`).
    ///
    /// # Errors
    ///
    /// When no port is free for the cluster's bus.
    pub fn cluster_node(self) -> Result<Self, ServerError> {
        let bus = free_port().map_err(ServerError::Port)?;
        Ok(self.lines([
            "cluster-enabled yes".to_owned(),
            format!("cluster-port {bus}"),
            "cluster-node-timeout 2000".to_owned(),
        ]))
    }

    /// Listens at this port: a free one unless set.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// How it is known that the server is ready: see [`Ready`].
    #[must_use]
    pub fn ready(mut self, ready: Ready) -> Self {
        self.ready = ready;
        self
    }

    /// Starts it, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it does not run, or is not ready within 20 s.
    pub async fn start(self) -> Result<Server, ServerError> {
        for _ in 1..TRIES {
            match self.clone().start_once().await {
                Err(ServerError::Ended { .. }) if self.port.is_none() => {}
                result => return result,
            }
        }
        self.start_once().await
    }

    async fn start_once(mut self) -> Result<Server, ServerError> {
        let port = match self.port {
            Some(port) => port,
            None => free_port().map_err(ServerError::Port)?,
        };
        self.port = Some(port);
        let folder = tempfile::Builder::new().prefix("fanfare-").tempdir().map_err(ServerError::Folder)?;
        self.write(port, folder.path())?;
        Server::start(self, port, folder).await
    }

    pub(super) fn write(&self, port: u16, folder: &Path) -> Result<(), ServerError> {
        let text = self.file(port, &folder.display().to_string());
        fs::write(folder.join(FILE), text).map_err(ServerError::Folder)
    }

    fn file(&self, port: u16, dir: &str) -> String {
        let defaults: &[&str] = match self.program {
            Program::Redis | Program::Valkey => {
                &["bind 127.0.0.1", "port {port}", "dir {dir}", "daemonize no", "save \"\"", "appendonly no"]
            }
            Program::Nats | Program::NatsCurrent => &["listen: \"127.0.0.1:{port}\""],
        };
        // A Sentinel has no data to save.
        let is_sentinel = self.arguments.iter().any(|argument| argument == "--sentinel");
        let defaults = defaults
            .iter()
            .filter(|line| !is_sentinel || !(line.starts_with("save") || line.starts_with("appendonly")));
        let lines = defaults.copied().chain(self.lines.iter().map(String::as_str));
        let lines = lines.map(|line| line.replace("{port}", &port.to_string()).replace("{dir}", dir) + "\n");
        lines.collect()
    }
}

/// A TCP port of 127.0.0.1 that nobody listens at now. Somebody else may take it before you do.
///
/// # Errors
///
/// The system's, when it has none.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
