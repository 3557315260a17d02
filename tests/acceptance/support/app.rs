//! The app as a process.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{PATIENCE, free, root};

/// A process of `app/main.rs`, killed when dropped.
pub(crate) struct App {
    child: Child,
    /// Where it listens, `ADDRESS:PORT` each, in the order of its options.
    pub(crate) addresses: Vec<String>,
}

impl App {
    /// On one free port, with more options.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::run(&["--listen", "127.0.0.1:0"], options)
    }

    /// On two free ports, which are two servers for a proxy, and one log.
    pub(crate) fn start_twice(options: &[&str]) -> Self {
        Self::run(&["--listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"], options)
    }

    pub(crate) fn run(listen: &[&str], options: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_acceptance-app"));
        Self::spawn(command.args(listen).args(options))
    }

    /// Any program that writes a line for each address on which it listens, and none before it does.
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let listeners = command.get_args().filter(|arg| arg.to_str().unwrap().ends_with("listen")).count();
        let addresses = (0..listeners).map(|_| {
            let line = lines.next().expect("the app ended").unwrap();
            line.split_once("://").expect("an address").1.to_owned()
        });
        let addresses = addresses.collect();
        Self { child, addresses }
    }

    /// The program of an example, on a free port.
    pub(crate) fn example(name: &str) -> Self {
        Self::example_at(name, "127.0.0.1:0", &[])
    }

    /// The same at an address, with more options.
    pub(crate) fn example_at(name: &str, address: &str, options: &[&str]) -> Self {
        build(name);
        // Beside the program of the tests' own, whatever the profile.
        let target = Path::new(env!("CARGO_BIN_EXE_acceptance-app")).parent().unwrap().parent().unwrap();
        let mut command = Command::new(target.join("debug").join(name));
        Self::spawn(command.args(["--listen", address]).args(options))
    }

    /// A program that takes the address on which it is to listen as its one argument, and says nothing.
    pub(crate) async fn spawn_at(mut command: Command) -> Self {
        let address = free();
        let child = command.arg(&address).stdin(Stdio::null()).spawn().unwrap();
        let deadline = Instant::now() + PATIENCE;
        while tokio::net::TcpStream::connect(&address).await.is_err() {
            assert!(Instant::now() < deadline, "the app does not listen");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self { child, addresses: vec![address] }
    }

    pub(crate) fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// SIGTERM: it says goodbye.
    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// SIGKILL: it has no chance to.
    pub(crate) fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "the app goes on");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Builds an example, once for all tests.
fn build(name: &str) {
    static BUILT: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if !built.contains(name) {
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--package", name, "--bin", name]).current_dir(root("."));
        assert!(build.status().unwrap().success(), "{name} does not build");
        built.insert(name.to_owned());
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.kill();
    }
}
