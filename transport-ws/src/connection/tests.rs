//! One connection by itself.

use std::{
    io,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use fanfare_core::{Broker, policy::Open, session::Handshake};
use tokio::net::TcpListener;

use super::*;
use crate::Config;

/// A client that sends one ping after the other until it is closed.
struct Pings {
    closed: bool,
}

impl Link for Pings {
    fn poll_flush(&mut self, outbox: &Outbox, cx: &mut Context<'_>) -> Poll<CloseReason> {
        loop {
            match outbox.poll_pull(cx, 1024, &mut Vec::new()) {
                Poll::Ready(None) => {}
                Poll::Ready(Some(reason)) => {
                    self.closed = true;
                    return Poll::Ready(reason);
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn flush(&mut self, outbox: &Outbox, cx: &mut Context<'_>) {
        let _ = self.poll_flush(outbox, cx);
    }

    fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        if self.closed {
            return Poll::Ready(Ok(0));
        }
        buf[..6].copy_from_slice(&[0x89, 0x80, 0, 0, 0, 0]);
        Poll::Ready(Ok(6))
    }

    fn stalled_for(&self, _: &Outbox) -> Option<Duration> {
        None
    }

    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_stops_sending_does_not_stop_the_clock() {
    let broker = Broker::builder().policy(Open).start().await.unwrap();
    let config = Config::new().idle_timeout(Duration::from_secs(5));
    let mount = Arc::new(Mount::new(&broker).unwrap().configured(config));
    let (session, outbox) = broker.connect(Handshake::new("ws"), &mount.v1).await.unwrap();
    let client = Client { session, outbox, mode: Mode::V1, mount };
    let connection = Connection::new(client, Pings { closed: false }, &[]);
    let served = tokio::spawn(connection.run());
    for _ in 0..4 {
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!served.is_finished());
    }
    for _ in 0..10 {
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    assert!(served.is_finished(), "nothing was asked for too long");
}

/// A client that sends one publish after the other, and never an end.
struct Publishes {
    read: Arc<AtomicUsize>,
}

impl Link for Publishes {
    fn poll_flush(&mut self, _: &Outbox, _: &mut Context<'_>) -> Poll<CloseReason> {
        Poll::Pending
    }

    fn flush(&mut self, _: &Outbox, _: &mut Context<'_>) {}

    fn poll_read(&mut self, _: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let count = self.read.fetch_add(1, Ordering::Relaxed);
        // The last one is long.
        let data = "x".repeat(if count < 10 { 200 } else { 40_000 });
        let text = format!(r#"{{"publish":{{"topic":"t","data":"{data}"}}}}"#);
        let length = u16::try_from(text.len()).unwrap();
        let mut frame = vec![0x81, 0x80 | 126];
        frame.extend(length.to_be_bytes());
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        buf[..frame.len()].copy_from_slice(&frame);
        Poll::Ready(Ok(frame.len()))
    }

    fn stalled_for(&self, _: &Outbox) -> Option<Duration> {
        None
    }

    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

#[tokio::test(start_paused = true)]
async fn while_a_command_is_served_so_much_is_read_and_no_more() {
    // In commands, or in bytes: two long ones are more than 64 KiB.
    for (commands, expected) in [(0, 1), (5, 6), (64, 12)] {
        let builder = Broker::builder().policy(Open);
        let builder = builder.limits(|limits| limits.commands_ahead = commands);
        let broker = builder.on_publish("t", |_| std::future::pending()).start().await.unwrap();
        let mount = Arc::new(Mount::new(&broker).unwrap());
        let (session, outbox) = broker.connect(Handshake::new("ws"), &mount.v1).await.unwrap();
        let client = Client { session, outbox, mode: Mode::V1, mount };
        let read = Arc::new(AtomicUsize::new(0));
        let connection = Connection::new(client, Publishes { read: read.clone() }, &[]);
        let served = tokio::spawn(connection.run());
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        assert_eq!(read.load(Ordering::Relaxed), expected, "of {commands}");
        served.abort();
    }
}

#[tokio::test]
async fn an_idle_connection_is_small() {
    let broker = Broker::builder().policy(Open).start().await.unwrap();
    let mount = Arc::new(Mount::new(&broker).unwrap());
    let (session, outbox) = broker.connect(Handshake::new("ws"), &mount.v1).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let client = Client { session, outbox, mode: Mode::V1, mount };
    let link = Direct::new(TcpWire::new(stream), &client.outbox);
    let connection = Connection::new(client, link, &[]);
    let task = connection.run();
    // tokio adds 104 bytes of its own, and rounds up to a multiple of 128.
    assert!(size_of_val(&task) <= 152, "{} bytes", size_of_val(&task));
}
