//! curl, as a process.

use std::process::Stdio;

use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::PATIENCE;

/// A running curl, killed when dropped.
pub(crate) struct Curl {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Curl {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--no-buffer"]).args(arguments);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { lines, _child: child }
    }

    /// The next line of the answer; nothing at its end.
    pub(crate) async fn line(&mut self) -> Option<String> {
        timeout(PATIENCE, self.lines.next_line()).await.expect("curl waits").unwrap()
    }

    /// Skips lines up to one that begins so, and returns the rest of it.
    pub(crate) async fn after(&mut self, beginning: &str) -> String {
        loop {
            let line = self.line().await.unwrap_or_else(|| panic!("curl ended before {beginning:?}"));
            if let Some(rest) = line.strip_prefix(beginning) {
                return rest.to_owned();
            }
        }
    }

    /// The whole answer.
    pub(crate) async fn answer(arguments: &[&str]) -> String {
        let mut curl = Self::start(arguments);
        let mut answer = String::new();
        while let Some(line) = curl.line().await {
            answer.push_str(&line);
            answer.push('\n');
        }
        answer
    }
}
