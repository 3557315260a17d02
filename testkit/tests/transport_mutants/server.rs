//! A transport over pipes: commands of v1 in, frames of v1 out, one per line.

use std::{
    future::{pending, poll_fn},
    sync::Arc,
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use fanfare_core::{
    Broker,
    message::{Encoder, Format, Frame},
    outbox::Outbox,
    session::{CloseKind, CloseReason, Command, Handshake, Session, Start},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf},
    sync::Mutex,
    time::{sleep_until, timeout},
};

use crate::{
    encoder::{Lines, is_message},
    fault::Fault,
};

/// How long a client may take to take a byte.
const PATIENCE: Duration = Duration::from_secs(2);

/// What all connections share.
pub(crate) struct Server {
    pub(crate) broker: Broker,
    pub(crate) format: Format,
    pub(crate) fault: Fault,
    /// Held while something is written, where all share one writer.
    writer: Mutex<()>,
    connections: std::sync::atomic::AtomicUsize,
}

impl Server {
    pub(crate) fn new(broker: &Broker, fault: Fault) -> Self {
        let format = broker.register(Arc::new(Lines(fault))).unwrap();
        Self { broker: broker.clone(), format, fault, writer: Mutex::new(()), connections: 0.into() }
    }

    pub(crate) async fn serve(self: Arc<Self>, stream: DuplexStream) {
        let number = self.connections.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let (read, write) = tokio::io::split(stream);
        let (mut read, mut write) = (BufReader::new(read), write);
        let mut token = String::new();
        if read.read_line(&mut token).await.is_err() {
            return;
        }
        let mut handshake = Handshake::new("lines");
        if !token.trim().is_empty() && self.fault != Fault::IgnoresTokens {
            handshake = handshake.with_token(token.trim());
        }
        if self.fault == Fault::WelcomesWhileDraining && self.broker.is_draining() {
            // Whoever subscribes is told that all is well.
            let mut line = String::new();
            while read.read_line(&mut line).await.is_ok_and(|read| read > 0) {
                let _ = write.write_all(b"{\"id\":1,\"ok\":{}}\n").await;
            }
            return;
        }
        if self.fault == Fault::LeavesTask {
            tokio::spawn(pending::<()>());
        }
        match self.broker.connect(handshake, &self.format).await {
            Ok((session, outbox)) => {
                Connection { server: self, outbox, number }.run(session, read, write).await
            }
            Err(error) => {
                let mut line = BytesMut::new();
                Lines(self.fault).encode(Frame::Close(&error.reason()), &mut line);
                let _ = write.write_all(&line).await;
            }
        }
    }
}

struct Connection {
    server: Arc<Server>,
    outbox: Outbox,
    number: usize,
}

type Reader = BufReader<ReadHalf<DuplexStream>>;

impl Connection {
    async fn run(self, mut session: Session, mut read: Reader, mut write: WriteHalf<DuplexStream>) {
        let fault = self.server.fault;
        let reason = {
            let talk = self.listen(&mut session, &mut read);
            let write = self.write(&mut write);
            tokio::select! {
                reason = talk => {
                    // The last words go out.
                    self.outbox.close(reason.clone());
                    reason
                }
                reason = write => reason,
            }
        };
        let _ = timeout(PATIENCE, self.write(&mut write)).await;
        let _ = write.shutdown().await;
        if fault == Fault::DropsSession {
            std::mem::forget(session);
            return;
        }
        session.close(reason).await;
    }

    /// Serves commands, until there is a reason to end.
    async fn listen(&self, session: &mut Session, read: &mut Reader) -> CloseReason {
        loop {
            let deadline = session.deadline().filter(|_| self.server.fault != Fault::IgnoresDeadline);
            let expired = async {
                match deadline {
                    Some((at, kind)) => {
                        sleep_until(at).await;
                        kind
                    }
                    None => pending().await,
                }
            };
            let mut line = String::new();
            let came = tokio::select! {
                kind = expired => return kind.into(),
                came = read.read_line(&mut line) => came.is_ok_and(|bytes| bytes > 0),
            };
            if !came {
                if self.server.fault == Fault::NeverReads {
                    pending::<()>().await;
                }
                return CloseKind::Lost.into();
            }
            let Ok(mut decoded) = fanfare_protocol::decode_text(line.trim()) else { continue };
            if let Command::Subscribe(command) = &mut decoded.command {
                match self.server.fault {
                    Fault::IgnoresCursors => command.start = Start::Live,
                    Fault::StartsOver if command.topic.starts_with("logged") => {
                        command.start = Start::Earliest
                    }
                    Fault::MixesCase => command.topic = command.topic.to_uppercase(),
                    _ => {}
                }
            }
            if let Err(reason) = session.handle(decoded.id, decoded.command).await {
                return reason;
            }
        }
    }

    /// Writes what the outbox holds, until the end.
    async fn write(&self, write: &mut WriteHalf<DuplexStream>) -> CloseReason {
        let fault = self.server.fault;
        let (mut hoard, mut held): (Vec<Bytes>, Option<Bytes>) = (Vec::new(), None);
        let mut count = 0;
        loop {
            let mut frames = Vec::new();
            let over = poll_fn(|cx| self.outbox.poll_pull(cx, 16 << 10, &mut frames)).await;
            if fault == Fault::GivesUpQueue && self.server.broker.is_draining() {
                frames.retain(|frame| !is_message(frame));
            }
            if fault == Fault::Hoards && over.is_none() {
                // All that comes is taken at once, and written whenever it can be.
                hoard.append(&mut frames);
                let bytes = hoard.concat();
                match timeout(Duration::ZERO, write.write_all(&bytes)).await {
                    Ok(_) => hoard.clear(),
                    Err(_) => hoard = vec![bytes.into()],
                }
                continue;
            }
            for frame in std::mem::take(&mut frames) {
                let number = count;
                count += usize::from(is_message(&frame));
                match fault {
                    Fault::ForgetsThird if self.number == 3 && is_message(&frame) => {}
                    Fault::Reorders if number % 10 == 3 && held.is_none() && is_message(&frame) => {
                        held = Some(frame)
                    }
                    _ => {
                        frames.push(frame);
                        frames.extend(held.take());
                    }
                }
            }
            let mut bytes = BytesMut::new();
            for frame in frames {
                bytes.put_slice(&frame);
            }
            let _writer = match fault {
                Fault::SharedWriter => Some(self.server.writer.lock().await),
                _ => None,
            };
            let patience = match fault {
                Fault::WaitsToWrite | Fault::SharedWriter => Duration::from_secs(3600),
                Fault::DropsWhenFull => Duration::ZERO,
                _ => PATIENCE,
            };
            match timeout(patience, write.write_all(&bytes)).await {
                Ok(Ok(())) => {}
                Err(_) if fault == Fault::DropsWhenFull => {}
                Ok(Err(_)) | Err(_) => return CloseKind::Lost.into(),
            }
            if let Some(reason) = over {
                return reason;
            }
        }
    }
}
