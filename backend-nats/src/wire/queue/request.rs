//! Something for the server, what answers it, and who waits for the answer.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::{sync::oneshot, time::Instant};

use crate::{error::Trouble, wire::Message};

/// Something for the server.
pub(crate) enum Call {
    /// Frames that have no answer of their own: the server has taken them when it answers the PING behind them.
    Frames { subject: Arc<str>, bytes: Bytes },
    /// A question.
    Ask { subject: Arc<str>, headers: Vec<(&'static str, String)>, payload: Bytes, expect: Expect },
    /// A message for the log, in whatever stream holds the logs when it is sent.
    Append { subject: Arc<str>, id: Option<String>, payload: Bytes },
}

/// What answers a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expect {
    One,
    /// Messages, until a status ends them.
    UntilStatus,
    /// As many messages, or fewer and a status, which come with the subjects that they were published to.
    Count(usize),
}

/// What came as an answer.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The server has taken the frames.
    Taken,
    Message(Message),
    /// Messages, and the status that ended them.
    Messages(Vec<Message>, Option<Message>),
}

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(crate) enum Lost {
    /// It was not sent, and will not be.
    Unsent,
    /// As `Unsent`: too much waits already.
    Full,
    /// It was sent, or part of it.
    Unanswered,
    /// It was refused, and nothing was done.
    Refused(Trouble),
}

/// A call with all that belongs to it.
pub(super) struct Request {
    pub(super) call: Call,
    /// It may be held back while the server is away: something that is published.
    pub(super) may_wait: bool,
    pub(super) reply: Option<oneshot::Sender<Result<Answer, Lost>>>,
    /// What has come of several messages.
    pub(super) came: Vec<Message>,
    pub(super) sent: Option<Instant>,
    /// How often it was sent to a stream that was gone.
    pub(super) tries: u8,
    /// The subscription of its own that it has for its answers.
    pub(super) sid: Option<u64>,
}

impl Request {
    pub(super) fn new(call: Call, may_wait: bool) -> (Self, Asking) {
        let (reply, asking) = oneshot::channel();
        let reply = Some(reply);
        let request = Self { call, may_wait, reply, came: Vec::new(), sent: None, tries: 0, sid: None };
        (request, Asking(asking))
    }

    pub(super) fn size(&self) -> usize {
        match &self.call {
            Call::Frames { bytes, .. } => bytes.len(),
            Call::Ask { payload, .. } | Call::Append { payload, .. } => payload.len() + 256,
        }
    }

    pub(super) fn subject(&self) -> &str {
        match &self.call {
            Call::Frames { subject, .. } | Call::Ask { subject, .. } | Call::Append { subject, .. } => {
                subject
            }
        }
    }

    /// How large a message it is for a server: headers and payload. Frames have been measured one by one.
    pub(super) fn payload(&self, stream: &str) -> usize {
        match &self.call {
            Call::Frames { .. } => 0,
            Call::Ask { headers, payload, .. } => head(headers) + payload.len(),
            Call::Append { id, payload, .. } => {
                let (headers, count) = headers_of(stream, id.as_deref());
                head(&headers[..count]) + payload.len()
            }
        }
    }

    /// Whether it publishes to a subject: frames may have several.
    pub(super) fn publishes(&self, subject: &str) -> bool {
        match &self.call {
            Call::Frames { bytes, .. } => published(bytes).any(|one| one == subject),
            Call::Ask { .. } | Call::Append { .. } => self.subject() == subject,
        }
    }

    /// The number of the first subscription that it makes.
    pub(super) fn subscribes(&self) -> Option<u64> {
        let Call::Frames { bytes, .. } = &self.call else { return self.sid };
        let line = std::str::from_utf8(bytes.strip_prefix(b"SUB ")?.split(|byte| *byte == b'\r').next()?);
        line.ok()?.rsplit(' ').next()?.parse().ok()
    }

    /// Whether its answer is several messages.
    pub(super) fn has_parts(&self) -> bool {
        matches!(self.call, Call::Ask { expect: Expect::UntilStatus | Expect::Count(_), .. })
    }

    /// Whether it is a question, and who asked it is gone.
    pub(super) fn is_abandoned(&self) -> bool {
        matches!(self.call, Call::Ask { .. }) && self.reply.as_ref().is_none_or(oneshot::Sender::is_closed)
    }

    pub(super) fn is_append(&self) -> bool {
        matches!(self.call, Call::Append { .. })
    }

    pub(super) fn finish(self, answer: Result<Answer, Lost>) {
        if let Some(reply) = self.reply {
            let _ = reply.send(answer);
        }
    }
}

/// Waits for an answer. Dropping it takes nothing back.
pub(crate) struct Asking(oneshot::Receiver<Result<Answer, Lost>>);

impl Asking {
    pub(crate) async fn answer(self) -> Result<Answer, Lost> {
        self.0.await.unwrap_or(Err(Lost::Unanswered))
    }
}

/// The frame that publishes.
pub(crate) fn publish(out: &mut BytesMut, subject: &str, reply: &str, payload: &[u8]) {
    out.extend_from_slice(b"PUB ");
    address(out, subject, reply);
    number(out, payload.len());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

const VERSION: &str = "NATS/1.0\r\n";

/// How many bytes headers take: they count like those of the payload.
fn head<N: AsRef<str>>(headers: &[(&str, N)]) -> usize {
    if headers.is_empty() {
        return 0;
    }
    let lines: usize = headers.iter().map(|(name, value)| name.len() + value.as_ref().len() + 4).sum();
    VERSION.len() + lines + 2
}

/// The headers of a message for a log.
pub(super) fn headers_of<'a>(stream: &'a str, id: Option<&'a str>) -> ([(&'static str, &'a str); 2], usize) {
    let headers = [("Nats-Expected-Stream", stream), ("Nats-Msg-Id", id.unwrap_or_default())];
    (headers, if id.is_some() { 2 } else { 1 })
}

/// The same with headers: names and values.
pub(super) fn publish_with<N: AsRef<str>>(
    out: &mut BytesMut,
    subject: &str,
    reply: &str,
    headers: &[(&str, N)],
    payload: &[u8],
) {
    if headers.is_empty() {
        return publish(out, subject, reply, payload);
    }
    let head = head(headers);
    out.extend_from_slice(b"HPUB ");
    address(out, subject, reply);
    number(out, head);
    out.put_u8(b' ');
    number(out, head + payload.len());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(VERSION.as_bytes());
    for (name, value) in headers {
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_ref().as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// The subjects of frames that publish, one after the other.
fn published(frames: &[u8]) -> impl Iterator<Item = &str> {
    let mut rest = frames;
    std::iter::from_fn(move || {
        let end = memchr::memchr(b'\n', rest)?;
        let line = std::str::from_utf8(&rest[..end]).ok()?.strip_prefix("PUB ")?;
        let (subject, size) = (line.split(' ').next()?, line.trim_end().rsplit(' ').next()?);
        rest = rest.get(end + 1 + size.parse::<usize>().ok()? + 2..)?;
        Some(subject)
    })
}

fn address(out: &mut BytesMut, subject: &str, reply: &str) {
    out.extend_from_slice(subject.as_bytes());
    out.put_u8(b' ');
    if !reply.is_empty() {
        out.extend_from_slice(reply.as_bytes());
        out.put_u8(b' ');
    }
}

pub(super) fn number(out: &mut BytesMut, number: usize) {
    use std::fmt::Write;
    let _ = write!(out, "{number}");
}
