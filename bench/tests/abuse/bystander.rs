//! Somebody who does nothing wrong while others do.

use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::client::Client;

/// Between two messages: well within the commands that a connection may send.
const EVERY: Duration = Duration::from_millis(20);
/// How long one message may take, from the command to the subscriber. The machine is busy with the abuse.
const AT_MOST: Duration = Duration::from_secs(5);

/// A subscriber and a publisher. Each message must arrive, once and in order, and soon.
pub(crate) struct Bystander {
    stop: Sender<()>,
    thread: JoinHandle<()>,
}

impl Bystander {
    pub(crate) fn watch(address: SocketAddr) -> Self {
        let (stop, stopped) = channel();
        let (mut reader, writer) = (Client::v1(address), Client::v1(address));
        reader.subscribe("bystander");
        Self { stop, thread: std::thread::spawn(move || look(reader, writer, &stopped)) }
    }

    /// Fails the test when anything was lost, doubled, reordered, or late.
    pub(crate) fn finish(self) {
        let _ = self.stop.send(());
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

fn look(mut reader: Client, mut writer: Client, stopped: &Receiver<()>) {
    let mut last_round = false;
    for n in 1.. {
        let began = Instant::now();
        let command = format!(r#"{{"id":{n},"publish":{{"topic":"bystander","data":{n}}}}}"#);
        let reply = writer.ask(&command);
        assert!(reply["id"] == n && reply["ok"].is_object(), "the bystander's publish: {reply}");
        let message = reader.json();
        assert_eq!((&message["topic"], &message["data"]), (&"bystander".into(), &n.into()), "{message}");
        assert!(began.elapsed() < AT_MOST, "the bystander waited for {:?}", began.elapsed());
        if last_round {
            return;
        }
        last_round = stopped.recv_timeout(EVERY) != Err(RecvTimeoutError::Timeout);
    }
}
