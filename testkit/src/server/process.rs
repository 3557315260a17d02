//! A server that runs.

use std::{
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr},
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

use super::{ServerConfig, ServerError, config::FILE, watchdog::Watchdog};

/// How long a server may take until it is ready.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// How long a server may take until it has ended in good order; then it is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The name of the file in a server's folder that takes what it says.
const LOG: &str = "server.log";

/// How much of a log an error quotes: bytes.
const QUOTED: usize = 4096;

/// A server that runs, or that has been killed and can be restarted. Dropped, it is killed and its folder removed.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    port: u16,
    running: Option<Running>,
    folder: TempDir,
}

/// The watchdog goes first.
#[derive(Debug)]
struct Running {
    watchdog: Option<Watchdog>,
    child: Child,
}

impl Server {
    pub(super) async fn start(config: ServerConfig, port: u16, folder: TempDir) -> Result<Self, ServerError> {
        let mut server = Self { config, port, running: None, folder };
        server.run().await?;
        Ok(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The port at which it listens; the same after a restart.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its folder, with its configuration file (`server.conf`), what it said (`server.log`) and its data.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What it has said.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read(self.folder().join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// Ends it in good order and starts it again, with the same port, folder and configuration. A killed
    /// one is started again.
    ///
    /// # Errors
    ///
    /// As [`ServerConfig::start`].
    pub async fn restart(&mut self) -> Result<(), ServerError> {
        self.stop().await?;
        self.run().await
    }

    /// Gives it other lines of configuration, in place of all that it was given: they hold from the next
    /// [`restart`](Self::restart) or [`reload`](Self::reload) on.
    ///
    /// # Errors
    ///
    /// When its folder cannot be written to.
    pub fn reconfigure<L: Into<String>>(
        &mut self,
        lines: impl IntoIterator<Item = L>,
    ) -> Result<(), ServerError> {
        self.config.lines = lines.into_iter().map(Into::into).collect();
        self.config.write(self.port, self.folder.path())
    }

    /// Lets NATS read its configuration again (`SIGHUP`), which takes it a moment.
    ///
    /// # Errors
    ///
    /// When it cannot be sent a signal.
    pub fn reload(&self) -> Result<(), ServerError> {
        self.send(Signal::HUP)
    }

    /// Sends NATS into lame duck mode (`SIGUSR2`): it takes no new connections, asks those that it has to move, and ends.
    ///
    /// # Errors
    ///
    /// When it cannot be sent a signal.
    pub fn lame_duck(&self) -> Result<(), ServerError> {
        self.send(Signal::USR2)
    }

    /// Removes what it has stored; its configuration and what it said stay. For a server that does not run.
    ///
    /// # Errors
    ///
    /// When its folder cannot be changed.
    pub fn wipe(&self) -> Result<(), ServerError> {
        for entry in fs::read_dir(self.folder()).map_err(ServerError::Folder)? {
            let entry = entry.map_err(ServerError::Folder)?;
            let is_folder = entry.file_type().map_err(ServerError::Folder)?.is_dir();
            let removed = match entry.file_name() {
                name if name == FILE || name == LOG => Ok(()),
                _ if is_folder => fs::remove_dir_all(entry.path()),
                _ => fs::remove_file(entry.path()),
            };
            removed.map_err(ServerError::Folder)?;
        }
        Ok(())
    }

    /// Kills it (`SIGKILL`): connections are reset, and what is not on disk is lost.
    pub fn kill(&mut self) {
        self.running = None;
    }

    /// Ends it in good order (`SIGTERM`), and kills it after 10 s.
    ///
    /// # Errors
    ///
    /// When it cannot be sent a signal.
    pub async fn stop(&mut self) -> Result<(), ServerError> {
        let Some(running) = &mut self.running else { return Ok(()) };
        running.signal(Signal::TERM)?;
        // A paused one could not hear it.
        running.signal(Signal::CONT)?;
        let deadline = Instant::now() + STOP_WITHIN;
        while running.child.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < deadline {
            sleep(LOOK_EVERY).await;
        }
        self.running = None;
        Ok(())
    }

    /// Stops it in its tracks (`SIGSTOP`): connections stay, and nothing is answered.
    ///
    /// # Errors
    ///
    /// When it cannot be sent a signal.
    pub fn pause(&self) -> Result<(), ServerError> {
        self.send(Signal::STOP)
    }

    /// Lets a paused one go on (`SIGCONT`).
    ///
    /// # Errors
    ///
    /// When it cannot be sent a signal.
    pub fn resume(&self) -> Result<(), ServerError> {
        self.send(Signal::CONT)
    }

    fn send(&self, signal: Signal) -> Result<(), ServerError> {
        self.running.as_ref().map_or(Ok(()), |running| running.signal(signal))
    }

    async fn run(&mut self) -> Result<(), ServerError> {
        let folder = self.folder.path();
        let log = || File::options().create(true).append(true).open(folder.join(LOG));
        let mut command = Command::new(&self.config.path);
        if self.config.program.is_nats() {
            command.arg("--config");
        }
        command.arg(folder.join(FILE)).args(&self.config.arguments).current_dir(folder);
        command.stdin(Stdio::null());
        command.stdout(log().map_err(ServerError::Folder)?).stderr(log().map_err(ServerError::Folder)?);
        // Ctrl-C at a terminal ends the test, and the test its servers.
        command.process_group(0);
        let spawn = |source| ServerError::Spawn { program: self.config.path.clone(), source };
        let child = command.spawn().map_err(spawn)?;
        let running = self.running.insert(Running { watchdog: None, child });
        let watchdog = Watchdog::start(running.child.id(), folder);
        running.watchdog =
            Some(watchdog.map_err(|source| ServerError::Spawn { program: "sh".into(), source })?);
        let ready = self.until_ready().await;
        if ready.is_err() {
            self.running = None;
        }
        ready
    }

    async fn until_ready(&mut self) -> Result<(), ServerError> {
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if let Some(running) = &mut self.running
                && let Ok(Some(status)) = running.child.try_wait()
            {
                return Err(ServerError::Ended { status, log: self.end_of_log() });
            }
            let check = timeout(Duration::from_secs(1), self.config.ready.check(self.addr()));
            if matches!(check.await, Ok(Ok(true))) {
                return Ok(());
            }
            sleep(LOOK_EVERY).await;
        }
        Err(ServerError::NotReady { seconds: READY_WITHIN.as_secs(), log: self.end_of_log() })
    }

    fn end_of_log(&self) -> String {
        let log = fs::read(self.folder().join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&log[log.len().saturating_sub(QUOTED)..]).into_owned()
    }
}

impl Running {
    fn signal(&self, signal: Signal) -> Result<(), ServerError> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let sent = pid.map_or(Ok(()), |pid| kill_process(pid, signal));
        sent.map_err(|error| ServerError::Signal(error.into()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.watchdog = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
