//! Serves a queue over a connection, until it breaks.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::{Bytes, BytesMut};
use fanfare_core::backend::blocks::{Due, Silence};
use futures_util::StreamExt;
use redis::{PushKind, ServerError, Value};
use tokio::{io::AsyncWriteExt, time::sleep};

use super::{
    Confirm, Connection, Queue, Redirect, Subscribing, command, connection::broken, queue::Taken, value,
};
use crate::error::{Trouble, answered, code};

/// How much is written at once: bytes.
const MAX_WRITE: usize = 256 << 10;

/// Takes what a server sends without having been asked. None of it waits.
pub(crate) trait Pushes: Send + Sync {
    /// A message on a channel; by a pattern, where there is one.
    fn message(&self, pattern: Option<&str>, channel: &str, payload: Vec<u8>);

    /// A subscription began or ended at this place of the stream of messages; `asked` is false where nobody asked for it.
    fn confirmed(&self, confirm: &Confirm, asked: bool);
}

/// How a connection is watched.
pub(crate) struct Watch {
    pub(crate) ping: Bytes,
    pub(crate) ping_every: Duration,
    pub(crate) answer_within: Duration,
    /// What makes the scripts known, where a command was answered with `NOSCRIPT`.
    pub(crate) load: Vec<Bytes>,
    /// Two arguments of scripts: which run of a server this one is, and those of all servers that are up.
    pub(crate) runs: Box<dyn Fn() -> Bytes + Send + Sync>,
    /// Has commands redirected that do not belong to this server. Only a Cluster's server says so.
    pub(crate) redirect: Option<Box<dyn Fn() + Send + Sync>>,
}

/// How long a slot may be left alone that is being moved.
const LATER: Duration = Duration::from_millis(20);

/// Serves a queue over a connection; says why it has ended.
pub(crate) async fn run(
    connection: Connection,
    queue: &Queue,
    pushes: Option<&dyn Pushes>,
    watch: &Watch,
) -> Trouble {
    let Connection { mut values, mut write, heard } = connection;
    let reading = async {
        while let Some(value) = values.next().await {
            match value {
                Ok(value) => {
                    if let Err(trouble) = take(value, queue, pushes, watch) {
                        return trouble;
                    }
                }
                Err(error) => return broken(error),
            }
        }
        Trouble::unavailable("the server closed the connection")
    };
    let writing = async {
        let mut out = BytesMut::new();
        loop {
            match (queue.take(&mut out, MAX_WRITE, &(watch.runs)()), &watch.redirect) {
                (Taken::Redirects { later }, Some(redirect)) if out.is_empty() => {
                    if later {
                        sleep(LATER).await;
                    }
                    redirect();
                    continue;
                }
                _ => {}
            }
            if out.is_empty() {
                queue.until_work().await;
                continue;
            }
            let written = async {
                write.write_all(&out).await?;
                write.flush().await
            };
            if let Err(error) = written.await {
                return Trouble::unavailable("the connection was lost while something was sent")
                    .caused_by(error);
            }
            if out.capacity() > MAX_WRITE {
                out = BytesMut::new();
            }
            out.clear();
        }
    };
    let watching = async {
        let heard = || heard.load(Ordering::Relaxed);
        let mut silence = Silence::new(watch.ping_every, watch.answer_within, heard());
        loop {
            silence.pause().await;
            match silence.look(heard(), queue.awaits_answer()) {
                Due::Nothing => {}
                Due::Ping => queue.ping(watch.ping.clone()),
                Due::End(silent) => {
                    return Trouble::unavailable(format!("the server has been silent for {silent:.1?}"));
                }
            }
        }
    };
    // In no fixed order: who reads without end must not keep others from writing.
    tokio::select! {
        trouble = reading => trouble,
        trouble = writing => trouble,
        trouble = watching => trouble,
    }
}

fn take(value: Value, queue: &Queue, pushes: Option<&dyn Pushes>, watch: &Watch) -> Result<(), Trouble> {
    match value {
        Value::Push { kind, data } => {
            if let Some(pushes) = pushes {
                push(kind, data, queue, pushes);
            }
            Ok(())
        }
        value => {
            let redirect = match &value {
                Value::ServerError(error) => redirect(error, watch),
                _ => None,
            };
            // Who was a master may have become a replica without a word. A new connection finds the one that is a master now.
            let demoted = match &value {
                Value::ServerError(error) if code(error) == "READONLY" => Some(answered(error)),
                _ => None,
            };
            queue.answer(value, redirect).map_err(|_| {
                Trouble::unavailable(
                    "the server gave an answer to nothing that was asked: the connection is given up",
                )
            })?;
            demoted.map_or(Ok(()), Err)
        }
    }
}

/// Where a command belongs that was answered so, if the server has done nothing for it.
fn redirect(error: &ServerError, watch: &Watch) -> Option<Redirect> {
    let code = code(error);
    if code == "NOSCRIPT" {
        return Some(Redirect::Load(watch.load.clone()));
    }
    watch.redirect.as_ref()?;
    let to = || error.details()?.split_once(' ');
    match code {
        "MOVED" => to().and_then(|(slot, to)| Some(Redirect::Moved(slot.parse().ok()?, to.to_owned()))),
        // The slot is being moved, key by key. Where it goes our scripts find no place before it has arrived: they name keys
        // that may not exist, which a server that is still receiving takes for missing ones.
        "ASK" | "TRYAGAIN" => Some(Redirect::Later),
        _ => None,
    }
}

fn push(kind: PushKind, data: Vec<Value>, queue: &Queue, pushes: &dyn Pushes) {
    let mut data = data.into_iter();
    let mut next = || data.next();
    match kind {
        PushKind::Message | PushKind::SMessage => {
            if let (Some(channel), Some(payload)) = (next(), next().and_then(value::bytes))
                && let Some(channel) = value::text(&channel)
            {
                pushes.message(None, channel, payload);
            }
        }
        PushKind::PMessage => {
            if let (Some(pattern), Some(channel), Some(payload)) =
                (next(), next(), next().and_then(value::bytes))
                && let (Some(pattern), Some(channel)) = (value::text(&pattern), value::text(&channel))
            {
                pushes.message(Some(pattern), channel, payload);
            }
        }
        _ => {
            let what = match kind {
                PushKind::Subscribe => Subscribing::Channel(true),
                PushKind::Unsubscribe => Subscribing::Channel(false),
                PushKind::PSubscribe => Subscribing::Pattern(true),
                PushKind::PUnsubscribe => Subscribing::Pattern(false),
                PushKind::SSubscribe => Subscribing::Shard(true),
                PushKind::SUnsubscribe => Subscribing::Shard(false),
                _ => return,
            };
            let Some(channel) = next() else { return };
            let Some(channel) = value::text(&channel) else { return };
            let confirm = Confirm { what, channel: channel.into() };
            // First the state, then who waits for it.
            let asked = queue.expects(&confirm);
            pushes.confirmed(&confirm, asked);
            if asked {
                queue.confirm(&confirm);
            }
        }
    }
}

impl Subscribing {
    /// The command with one channel.
    pub(crate) fn command(self, channel: &str) -> Bytes {
        let name = match self {
            Self::Channel(true) => "SUBSCRIBE",
            Self::Channel(false) => "UNSUBSCRIBE",
            Self::Pattern(true) => "PSUBSCRIBE",
            Self::Pattern(false) => "PUNSUBSCRIBE",
            Self::Shard(true) => "SSUBSCRIBE",
            Self::Shard(false) => "SUNSUBSCRIBE",
        };
        command(name, [channel])
    }
}
