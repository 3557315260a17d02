//! What ends a server when the test's process can no longer do so.

use std::{
    io,
    os::unix::process::CommandExt,
    path::Path,
    process::{Child, Command, Stdio},
};

/// A shell that waits for the end of its standard input, which comes when this process ends, however it ends; then it
/// kills the server and removes its folder. In a process group of its own, so that Ctrl-C does not end it first.
const SCRIPT: &str = r#"read -r _; kill -KILL "$1"; rm -rf -- "$2""#;

/// Outlives the test's process when that is killed.
#[derive(Debug)]
pub(super) struct Watchdog(Child);

impl Watchdog {
    pub(super) fn start(pid: u32, folder: &Path) -> io::Result<Self> {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "watchdog", &pid.to_string()]).arg(folder);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        shell.spawn().map(Self)
    }
}

impl Drop for Watchdog {
    /// Killed before it can see its input end: the server's process id may be another's soon.
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
