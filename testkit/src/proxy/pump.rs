//! One direction of a connection.

use std::{io, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::tcp::{ReadHalf, WriteHalf},
    sync::{mpsc, watch},
    time::{Instant, sleep, sleep_until},
};

use super::conditions::{Conditions, Direction};

/// How much is read at once: bytes.
const CHUNK: usize = 16 << 10;

/// How many chunks are on their way at most.
const ON_THE_WAY: usize = 64;

/// A throttled direction is written to so often a second.
const WRITES_PER_SECOND: u64 = 20;

/// Forwards one direction until it ends in good order, which is forwarded as well; an error is a reset.
pub(super) async fn pump(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    conditions: watch::Receiver<Conditions>,
    direction: Direction,
) -> io::Result<()> {
    let (chunks, on_the_way) = mpsc::channel(ON_THE_WAY);
    let reading = read(from, chunks, conditions.clone(), direction);
    let writing = write(to, on_the_way, conditions, direction);
    tokio::try_join!(reading, writing).map(|_| ())
}

/// Takes what is sent, unless it is in a black hole: then the kernel's buffers fill, as when nothing is acknowledged.
async fn read(
    mut from: ReadHalf<'_>,
    chunks: mpsc::Sender<(Instant, Bytes)>,
    mut conditions: watch::Receiver<Conditions>,
    direction: Direction,
) -> io::Result<()> {
    loop {
        passes(&mut conditions, direction).await?;
        // What is not kept is given back before the buffer grows again.
        let mut buffer = BytesMut::with_capacity(CHUNK);
        if from.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let due = Instant::now() + conditions.borrow().latency;
        if chunks.send((due, buffer.freeze())).await.is_err() {
            return Ok(());
        }
    }
}

async fn write(
    mut to: WriteHalf<'_>,
    mut on_the_way: mpsc::Receiver<(Instant, Bytes)>,
    mut conditions: watch::Receiver<Conditions>,
    direction: Direction,
) -> io::Result<()> {
    while let Some((due, mut chunk)) = on_the_way.recv().await {
        sleep_until(due).await;
        while chunk.has_remaining() {
            passes(&mut conditions, direction).await?;
            let rate = conditions.borrow().rate;
            let Some(rate) = rate else {
                to.write_all_buf(&mut chunk).await?;
                break;
            };
            let share = usize::try_from(rate / WRITES_PER_SECOND).unwrap_or(CHUNK).clamp(1, chunk.len());
            to.write_all(&chunk.split_to(share)).await?;
            sleep(Duration::from_secs_f64(share as f64 / rate as f64)).await;
        }
    }
    passes(&mut conditions, direction).await?;
    to.shutdown().await
}

/// Waits while nothing passes.
async fn passes(conditions: &mut watch::Receiver<Conditions>, direction: Direction) -> io::Result<()> {
    let passes = conditions.wait_for(|conditions| !conditions.held[direction as usize]).await;
    passes.map(|_| ()).map_err(|_| io::ErrorKind::ConnectionAborted.into())
}
