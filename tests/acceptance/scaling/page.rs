//! The chat's own page in Chromium, while its nodes are killed one after the other.

use std::process::Stdio;

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

use super::cluster::{Carrier, Cluster, on_each, revive};
use crate::support::{PATIENCE, chromium, found, root};

on_each! {
    a_page_loses_its_node_and_no_line
}

/// How many lines each window types.
const LINES: u64 = 60;

/// Two windows of the page, killed when dropped.
struct Windows {
    lines: Lines<BufReader<ChildStdout>>,
    _child: Child,
}

impl Windows {
    /// Nothing, and a loud word, where there is no Chromium.
    fn open(url: &str) -> Option<Self> {
        if !chromium() {
            return None;
        }
        let mut command = Command::new(found("node")?);
        command.arg(root("tests/clients/chat.mjs")).args(["--lines", &LINES.to_string(), url]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Some(Self { lines, _child: child })
    }

    async fn next(&mut self) -> Value {
        let line = timeout(PATIENCE, self.lines.next_line()).await.expect("the page hangs").unwrap();
        serde_json::from_str(&line.expect("the page's process has ended")).unwrap()
    }

    /// Waits until both have typed so many lines.
    async fn typed(&mut self, lines: u64) {
        while self.next().await["typed"] != lines {}
    }
}

async fn a_page_loses_its_node_and_no_line(carrier: Carrier) {
    let Some(mut cluster) = Cluster::start(carrier).await else { return };
    let Cluster { server, nodes, nginx } = &mut cluster;
    let Some(mut windows) = Windows::open(&format!("https://{}/", nginx.address)) else { return };
    // Whichever serves a window.
    for (step, which) in [(LINES / 4, 0), (LINES / 2, 1)] {
        windows.typed(step).await;
        nodes[which].kill();
        windows.typed(step + LINES / 6).await;
        revive(&mut nodes[which], carrier, server);
    }
    windows.typed(LINES).await;
    let end = windows.next().await;
    let [ann, ben] = end["windows"].as_array().unwrap().as_slice() else { panic!("{end}") };
    assert_eq!(ann["lines"], ben["lines"], "one order for both");
    for (name, window) in [("ann", ann), ("ben", ben)] {
        let lines: Vec<_> = window["lines"].as_array().unwrap().iter().map(|l| l.as_str().unwrap()).collect();
        let own: Vec<_> = lines.iter().filter(|line| line.starts_with(name)).collect();
        let typed: Vec<_> = (0..LINES).map(|n| format!("{name} {n}")).collect();
        assert_eq!(own, typed.iter().collect::<Vec<_>>());
        assert_eq!(lines.len() as u64, 2 * LINES);
        for nothing in ["gaps", "waiting", "problems"] {
            assert_eq!(window[nothing].as_array().map(Vec::len), Some(0), "{nothing}: {window}");
        }
        assert!(window["breaks"].as_u64() >= Some(1), "{name} was on a node that was killed");
    }
}
