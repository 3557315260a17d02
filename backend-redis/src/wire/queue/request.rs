//! A command, what it is answered with, and who waits for the answer.

use std::sync::Arc;

use bytes::Bytes;
use redis::Value;
use tokio::sync::oneshot;

/// A command's bytes.
pub(crate) struct Packed {
    bytes: Bytes,
    /// The runs of servers come at the end, as they are known when it is sent: between handing over and sending, a server
    /// may have been replaced by another one.
    needs_runs: bool,
}

/// A command.
pub(crate) struct Request {
    pub(crate) bytes: Bytes,
    pub(super) needs_runs: bool,
    pub(crate) expect: Expect,
    /// Who waits for the answer.
    pub(crate) reply: Option<oneshot::Sender<Answer>>,
    pub(crate) retry: Retry,
    /// Where it belongs on a Cluster.
    pub(crate) slot: Option<u16>,
    /// Where it was sent on to by the first of several answers; the others are still to come.
    pub(super) redirect: Option<Redirect>,
    /// How often it was sent on.
    pub(super) hops: u16,
}

/// Where a command belongs that this server did not obey.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// Here, when the scripts have been made known.
    Load(Vec<Bytes>),
    /// To another server, as everything of its slot: `host:port`.
    Moved(u16, String),
    /// Here or elsewhere, in a moment.
    Later,
}

/// What a connection is to do next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// To send what was taken, or to wait where that is nothing.
    Bytes,
    /// To have commands redirected that do not belong here, in `Later`'s case after a moment.
    Redirects { later: bool },
}

/// What may be done with a command that the server has not obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    No,
    /// It may be sent once more, in its order, when the server says that it has done nothing: `NOSCRIPT`.
    Again,
    /// The same, and it may be held back while the server is away: something that is published.
    Held,
}

pub(crate) type Answer = Result<Value, Lost>;

/// What a command is answered with.
#[derive(Debug)]
pub(crate) enum Expect {
    One,
    /// So many answers, given on as an array: what has come so far.
    Several(usize, Vec<Value>),
    /// A push that confirms a subscription, or an error.
    Confirm(Confirm),
}

/// A change of subscriptions that a server confirms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Confirm {
    pub(crate) what: Subscribing,
    pub(crate) channel: Arc<str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subscribing {
    Channel(bool),
    Pattern(bool),
    Shard(bool),
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It was not sent, and will not be.
    Unsent,
    /// As `Unsent`: too much waits already.
    Full,
    /// It was sent, or part of it.
    Unanswered,
}

impl Packed {
    /// A command whose last two arguments are empty: the runs of servers take their place.
    pub(crate) fn without_runs(mut bytes: Bytes) -> Self {
        const EMPTY: &[u8] = b"$0\r\n\r\n$0\r\n\r\n";
        debug_assert!(bytes.ends_with(EMPTY), "two empty arguments");
        bytes.truncate(bytes.len() - EMPTY.len());
        Self { bytes, needs_runs: true }
    }
}

impl From<Bytes> for Packed {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, needs_runs: false }
    }
}

impl Request {
    pub(super) fn new(packed: Packed, expect: Expect, retry: Retry, slot: Option<u16>) -> (Self, Asking) {
        let (reply, asking) = oneshot::channel();
        let Packed { bytes, needs_runs } = packed;
        let reply = Some(reply);
        let request = Self { bytes, needs_runs, expect, reply, retry, slot, redirect: None, hops: 0 };
        (request, Asking(asking))
    }

    pub(crate) fn fail(self, lost: Lost) {
        if let Some(reply) = self.reply {
            let _ = reply.send(Err(lost));
        }
    }
}

/// Waits for an answer. Dropping it takes nothing back.
pub(crate) struct Asking(oneshot::Receiver<Answer>);

impl Asking {
    /// There is nobody to be asked.
    pub(crate) fn nobody() -> Self {
        let (reply, asking) = oneshot::channel();
        let _ = reply.send(Err(Lost::Unsent));
        Self(asking)
    }

    pub(crate) async fn answer(self) -> Answer {
        self.0.await.unwrap_or(Err(Lost::Unanswered))
    }
}

/// A command of the connection itself.
pub(super) fn plain(bytes: Bytes) -> Request {
    let (mut request, _) = Request::new(bytes.into(), Expect::One, Retry::No, None);
    request.reply = None;
    request
}
