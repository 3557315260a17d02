//! A client on an in-memory transport.

use std::{pin::pin, sync::Arc, time::Duration};

use fanfare_core::{
    Broker, ConnectError,
    message::Format,
    outbox::Outbox,
    session::{
        CloseReason, Command, CommandError, Handshake, PublishCommand, RequestId, Session, Start,
        SubscribeCommand,
    },
};
use tokio::task::JoinHandle;

use super::TestWire;

/// A session and its outbox, with a socket of memory. Its commands are numbered from 1.
pub(crate) struct TestClient {
    session: Option<Session>,
    pub(crate) outbox: Outbox,
    pub(crate) wire: Arc<TestWire>,
    flusher: JoinHandle<CloseReason>,
    commands: u64,
    /// How many of the bytes that were taken have been read as lines.
    read: usize,
}

impl TestClient {
    pub(super) async fn connect(
        broker: &Broker,
        handshake: Handshake,
        format: &Format,
    ) -> Result<Self, ConnectError> {
        let (session, outbox) = broker.connect(handshake, format).await?;
        let wire = Arc::new(TestWire::default());
        outbox.attach(wire.clone());
        let flushed = outbox.clone();
        let flusher = tokio::spawn(async move { std::future::poll_fn(|cx| flushed.poll_flush(cx)).await });
        Ok(Self { session: Some(session), outbox, wire, flusher, commands: 0, read: 0 })
    }

    pub(crate) fn session(&mut self) -> &mut Session {
        self.session.as_mut().unwrap()
    }

    /// The session, to be closed or dropped.
    pub(crate) fn into_session(mut self) -> Session {
        self.session.take().unwrap()
    }

    /// Sends a command, and goes on when everything it brought about has happened.
    pub(crate) async fn send(&mut self, command: Command) -> Result<(), CloseReason> {
        let id = self.next_id();
        let served = self.session().handle(id, command).await;
        self.settle().await;
        served
    }

    /// The same, for the lines that it brought.
    pub(crate) async fn call(&mut self, command: Command) -> Vec<String> {
        self.send(command).await.unwrap();
        self.lines()
    }

    pub(crate) async fn subscribe(&mut self, topic: &str) -> Vec<String> {
        self.call(Command::Subscribe(SubscribeCommand::live(topic))).await
    }

    pub(crate) async fn subscribe_from(&mut self, topic: &str, start: Start) -> Vec<String> {
        self.call(Command::Subscribe(SubscribeCommand::starting(topic, start))).await
    }

    pub(crate) async fn unsubscribe(&mut self, topic: &str) -> Vec<String> {
        self.call(Command::Unsubscribe { topic: topic.to_owned() }).await
    }

    pub(crate) async fn publish(&mut self, topic: &str, payload: &str) -> Vec<String> {
        self.call(Command::Publish(PublishCommand::new(topic, payload))).await
    }

    pub(crate) async fn reject(&mut self, error: CommandError) -> Result<(), CloseReason> {
        let served = self.session().reject(None, error).await;
        self.settle().await;
        served
    }

    pub(crate) fn next_id(&mut self) -> Option<RequestId> {
        self.commands += 1;
        RequestId::new(self.commands)
    }

    /// Runs the session and everything else until all wait.
    pub(crate) async fn settle(&mut self) {
        self.outbox.flush();
        let mut pause = pin!(tokio::time::sleep(Duration::from_millis(1)));
        std::future::poll_fn(|cx| {
            let _ = self.session.as_mut().map(|session| session.poll_progress(cx));
            pause.as_mut().poll(cx)
        })
        .await;
    }

    /// The whole lines that have come since the last call.
    pub(crate) fn lines(&mut self) -> Vec<String> {
        let taken = self.wire.taken();
        let new = &taken[self.read..];
        let whole = new.iter().rposition(|byte| *byte == b'\n').map_or(0, |last| last + 1);
        self.read += whole;
        String::from_utf8(new[..whole].to_vec()).unwrap().lines().map(str::to_owned).collect()
    }

    /// Lets everything happen, and reads the lines.
    pub(crate) async fn read(&mut self) -> Vec<String> {
        self.settle().await;
        self.lines()
    }

    /// Why the connection is over, if it is.
    pub(crate) async fn over(&mut self) -> Option<CloseReason> {
        self.settle().await;
        if self.flusher.is_finished() { Some((&mut self.flusher).await.unwrap()) } else { None }
    }
}

impl Drop for TestClient {
    fn drop(&mut self) {
        self.flusher.abort();
    }
}
