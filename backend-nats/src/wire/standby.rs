//! A second connection beside the one that is in use: what comes by it is kept until it is used.

use bytes::BytesMut;

use super::{Connection, link::Refused, parser::Frame};
use crate::error::{Trouble, closed};

/// How much is kept: bytes. What goes beyond is dropped from the front: the older, the surer the other connection has brought it.
const MAX_KEPT: usize = 32 << 20;

/// What a frame counts beside its payload.
const FRAME: usize = 256;

/// A connection that is not used yet.
pub(crate) struct Standby {
    connection: Connection,
    kept: usize,
}

impl Standby {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, kept: 0 }
    }

    /// Says something, and waits until the server has taken it. Not cancel safe: half of it may have been said.
    pub(crate) async fn say(&mut self, frames: &str) -> Result<(), Trouble> {
        let mut said = BytesMut::from(frames.as_bytes());
        said.extend_from_slice(b"PING\r\n");
        self.connection.write(&said).await?;
        loop {
            match self.connection.frames.arrive().await? {
                Frame::Pong => return Ok(()),
                // Which of them are none is known only while they are asked for one by one.
                Frame::Error(error) if matches!(Refused::read(&error), Some(Refused::MoreSubscriptions)) => {
                    return Err(closed(&error));
                }
                frame => self.keep(frame),
            }
        }
    }

    /// Keeps what comes until something has happened. Cancel safe.
    pub(crate) async fn until<T>(&mut self, happened: impl Future<Output = T>) -> Result<T, Trouble> {
        tokio::pin!(happened);
        loop {
            tokio::select! {
                frame = self.connection.frames.arrive() => self.keep(frame?),
                done = &mut happened => return Ok(done),
            }
        }
    }

    /// The connection, which gives what was kept before all else.
    pub(crate) fn into_connection(self) -> Connection {
        self.connection
    }

    fn keep(&mut self, frame: Frame) {
        let kept = &mut self.connection.frames.kept;
        self.kept += size(&frame);
        kept.push_back(frame);
        while self.kept > MAX_KEPT
            && let Some(oldest) = kept.pop_front()
        {
            self.kept -= size(&oldest);
        }
    }
}

fn size(frame: &Frame) -> usize {
    match frame {
        Frame::Message(message) => FRAME + message.payload.len() + message.headers.len(),
        _ => FRAME,
    }
}
