//! A shell that types what a page shows.

use std::{path::Path, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, Command as Process},
    sync::mpsc,
    time::timeout,
};

use super::{
    relay::Relay,
    transcript::{Command, Line, matches},
};
use crate::support::PATIENCE;

/// Where commands run, and those that still do.
pub(super) struct Shell<'a> {
    /// The folder, which is also curl's home.
    pub(super) folder: &'a Path,
    /// Replaced in what is typed, each as `(this, by that)`.
    pub(super) changes: Vec<(String, String)>,
    /// What the changes lead to, where a command of its own does not say when it has begun.
    pub(super) relay: Option<&'a Relay>,
    open: Vec<Running>,
}

impl<'a> Shell<'a> {
    /// `curl` is more of curl's configuration.
    pub(super) fn new(folder: &'a Path, curl: &str) -> Self {
        // In a terminal curl shows no progress of what it writes there; here it would.
        let config = format!("silent\nshow-error\n{curl}");
        std::fs::write(folder.join(".curlrc"), config).unwrap();
        Self { folder, changes: Vec::new(), relay: None, open: Vec::new() }
    }

    /// Runs a page's commands one after the other, as somebody does who opens a terminal for each that stays open. What
    /// those say is compared in the end.
    pub(super) async fn run(&mut self, commands: impl IntoIterator<Item = Command>) {
        for command in commands {
            let stays = stays_open(&command);
            if let Some(relay) = self.relay {
                relay.forget();
            }
            let mut running = Running::start(self, command);
            if !stays {
                running.says().await;
                running.ends().await;
                continue;
            }
            if let Some(relay) = self.relay {
                relay.answered().await;
            }
            if running.types() {
                running.says().await;
            } else {
                running.begins().await;
            }
            self.open.push(running);
        }
    }

    /// Compares what the commands that stay open have said.
    pub(super) async fn end(mut self) {
        for running in &mut self.open {
            running.says().await;
        }
    }
}

/// Whether a command goes on until somebody ends it.
fn stays_open(command: &Command) -> bool {
    command.text.starts_with("websocat ") || command.text.starts_with("curl -N ")
}

struct Running {
    command: Command,
    /// How many of its lines have been compared or typed.
    done: usize,
    output: mpsc::Receiver<String>,
    child: Child,
}

impl Running {
    fn start(shell: &Shell<'_>, command: Command) -> Self {
        let mut text = command.text.clone();
        for (from, to) in &shell.changes {
            text = text.replace(from, to);
        }
        let path = std::env::join_paths(
            std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
                .chain([crate::support::root(".cache/bin")]),
        );
        let mut process = Process::new("bash");
        process.args(["-c", &format!("exec 2>&1; {text}")]).current_dir(shell.folder);
        process.env("CURL_HOME", shell.folder).env("PATH", path.unwrap());
        let process = process.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = process.process_group(0).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, output) = mpsc::channel(1000);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if sender.send(line).await.is_err() {
                    return;
                }
            }
        });
        Self { command, done: 0, output, child }
    }

    fn types(&self) -> bool {
        self.command.lines.iter().any(|line| matches!(line, Line::Typed(_)))
    }

    /// Compares the first line alone: it has begun.
    async fn begins(&mut self) {
        if self.command.text.contains("curl") && !self.command.lines.is_empty() {
            self.step().await;
        }
    }

    /// Types and compares, to the end of what the page shows.
    async fn says(&mut self) {
        while self.done < self.command.lines.len() {
            self.step().await;
        }
    }

    async fn step(&mut self) {
        let done = self.done;
        self.done += 1;
        match &self.command.lines[done] {
            Line::Typed(text) => {
                let input = format!("{text}\n");
                self.child.stdin.as_mut().unwrap().write_all(input.as_bytes()).await.unwrap();
            }
            Line::Says(pattern) if pattern == "..." => {}
            Line::Says(pattern) => {
                let pattern = pattern.clone();
                let any = done > 0 && self.command.lines[done - 1] == Line::Says("...".into());
                loop {
                    let line = self
                        .line()
                        .await
                        .unwrap_or_else(|| panic!("{} ended before {pattern:?}", self.command.text));
                    if matches(&pattern, &line) {
                        break;
                    }
                    assert!(any, "{}\nsays      {line}\ninstead of {pattern}", self.command.text);
                }
            }
        }
    }

    /// The command is over, and has said nothing that the page does not show.
    async fn ends(&mut self) {
        drop(self.child.stdin.take());
        let any = self.command.lines.last() == Some(&Line::Says("...".into()));
        while let Some(line) = self.line().await {
            assert!(any, "{}\nalso says {line}", self.command.text);
        }
        let status = timeout(PATIENCE, self.child.wait()).await.expect("it goes on").unwrap();
        assert!(status.success(), "{}: {status}", self.command.text);
    }

    async fn line(&mut self) -> Option<String> {
        let line = timeout(PATIENCE, self.output.recv()).await;
        line.unwrap_or_else(|_| {
            panic!("{}\nsays nothing more; the page has {:?}", self.command.text, self.command.lines)
        })
    }
}

impl Drop for Running {
    /// With all of its group: bash has children.
    fn drop(&mut self) {
        use rustix::process::{Pid, Signal, kill_process_group};
        if let Some(group) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}
