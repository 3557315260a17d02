//! Readers of event streams that are not ours, each a process.

use std::{path::PathBuf, process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::{PATIENCE, chromium, found, python, root};

/// The version of HTTP that a reader speaks; 2 only over TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Http {
    One,
    Two,
}

impl Http {
    fn number(self) -> &'static str {
        match self {
            Self::One => "1.1",
            Self::Two => "2",
        }
    }
}

/// What a reader says.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Line {
    /// A response has begun; the version of HTTP, in the reader's words.
    Open { stream: usize, http: String },
    /// An event.
    Event { stream: usize, id: String, event: String, data: String },
    /// The reader has given up.
    Closed { stream: usize },
}

/// An event of a topic.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Message {
    pub(crate) stream: usize,
    pub(crate) id: String,
    pub(crate) data: String,
}

impl Line {
    fn parse(line: &str) -> Self {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let stream = usize::try_from(line["stream"].as_u64().unwrap()).unwrap();
        if line.get("open").is_some() {
            Self::Open { stream, http: text("open") }
        } else if line.get("closed").is_some() {
            Self::Closed { stream }
        } else {
            Self::Event { stream, id: text("id"), event: text("event"), data: text("data") }
        }
    }
}

/// A process that reads streams, killed when dropped.
pub(crate) struct Reader {
    lines: Lines<BufReader<ChildStdout>>,
    /// Its standard input, closed with it, is what ends a browser.
    _child: Child,
}

impl Reader {
    /// Chromium's own `EventSource`. Nothing, and a loud word, where there is no Chromium.
    pub(crate) fn chromium(http: Http, options: &[&str], urls: &[String]) -> Option<Self> {
        if !chromium() {
            return None;
        }
        Some(Self::start(found("node")?, "tests/clients/reader.mjs", http, options, urls))
    }

    /// Python's httpx-sse, which trusts a certificate.
    pub(crate) fn httpx(http: Http, certificate: Option<&str>, urls: &[String]) -> Option<Self> {
        let options = certificate.map(|certificate| ["--certificate", certificate]);
        let options = options.as_ref().map_or(&[][..], |options| &options[..]);
        Some(Self::start(python()?, "tests/clients/reader.py", http, options, urls))
    }

    fn start(program: PathBuf, script: &str, http: Http, options: &[&str], urls: &[String]) -> Self {
        let mut command = Command::new(program);
        command.arg(root(script)).args(["--http", http.number()]).args(options).args(urls);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { lines, _child: child }
    }

    pub(crate) async fn next(&mut self) -> Line {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("the reader hangs").unwrap();
        Line::parse(&line.expect("the reader ended"))
    }

    /// The next event that is none of the system's.
    pub(crate) async fn message(&mut self) -> Message {
        loop {
            match self.next().await {
                Line::Event { stream, id, event, data } if !event.starts_with('$') => {
                    return Message { stream, id, data };
                }
                Line::Closed { .. } => panic!("the reader has given up"),
                _ => {}
            }
        }
    }

    /// What it says within a time, if anything.
    pub(crate) async fn within(&mut self, time: Duration) -> Option<Line> {
        let line = timeout(time, self.lines.next_line()).await.ok()?.unwrap();
        Some(Line::parse(&line.expect("the reader ended")))
    }
}
