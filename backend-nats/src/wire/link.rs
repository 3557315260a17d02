//! Serves a queue over a connection, until it breaks.

use std::{sync::atomic::Ordering, time::Duration};

use bytes::BytesMut;
use fanfare_core::backend::blocks::{Due, Silence};
use tokio::{io::AsyncWriteExt, sync::Notify, task::yield_now};

use super::{Connection, Message, Queue, ServerInfo, parser::Frame};
use crate::error::{Trouble, closed};

/// How much is written at once: bytes.
const MAX_WRITE: usize = 256 << 10;

/// How many answers are taken in at once. A server answers in bursts: who asked first goes on while the rest is read, so that the
/// server has work again before it has none.
const AT_ONCE: u32 = 32;

/// Takes what a server sends without having been asked. None of it waits.
pub(crate) trait Pushes: Send + Sync {
    /// A message of a subscription.
    fn message(&self, message: Message);

    /// The server tells of other servers, or that it is about to end.
    fn info(&self, info: ServerInfo);

    /// The server refuses a subject, or does not let it be used any longer. False where the connection is no good without it.
    fn refused(&self, subject: &str, trouble: &Trouble) -> bool;
}

/// How a connection is watched.
pub(crate) struct Watch {
    pub(crate) ping_every: Duration,
    pub(crate) answer_within: Duration,
    /// After this time there is no answer to anything.
    pub(crate) expires: Duration,
}

/// Serves a queue over a connection; says why it has ended.
pub(crate) async fn run(
    connection: Connection,
    queue: &Queue,
    pushes: &dyn Pushes,
    watch: &Watch,
) -> Trouble {
    let Connection { mut frames, mut write } = connection;
    let heard = frames.heard.clone();
    let (pong, has_been_pinged) = (Notify::new(), std::sync::atomic::AtomicBool::new(false));
    let reading = async {
        let mut answers: u32 = 0;
        loop {
            match frames.next().await {
                Ok(Frame::Message(message)) => match queue.answer(message) {
                    Some(message) => pushes.message(message),
                    None => {
                        answers = answers.wrapping_add(1);
                        if answers.is_multiple_of(AT_ONCE) {
                            yield_now().await;
                        }
                    }
                },
                Ok(Frame::Pong) => queue.pong(),
                Ok(Frame::Ping) => {
                    has_been_pinged.store(true, Ordering::Relaxed);
                    pong.notify_one();
                }
                Ok(Frame::Ok) => {}
                Ok(Frame::Info(info)) => match ServerInfo::parse(&info) {
                    Ok(info) => {
                        queue.limit(info.max_payload);
                        pushes.info(info);
                    }
                    Err(trouble) => return trouble,
                },
                Ok(Frame::Error(error)) => {
                    let trouble = closed(&error);
                    let goes_on = match Refused::read(&error) {
                        Some(Refused::Publishing(subject)) => {
                            queue.refuse(subject, &trouble);
                            true
                        }
                        Some(Refused::Subscription(subject)) => {
                            let is_held = pushes.refused(subject, &trouble);
                            queue.refuse_subscription(subject, &trouble) || is_held
                        }
                        Some(Refused::MoreSubscriptions) => {
                            for subject in queue.refuse_subscriptions(&trouble) {
                                pushes.refused(&subject, &trouble);
                            }
                            true
                        }
                        None => false,
                    };
                    if !goes_on {
                        return trouble;
                    }
                }
                Err(trouble) => return trouble,
            }
        }
    };
    let writing = async {
        let mut out = BytesMut::new();
        loop {
            if has_been_pinged.swap(false, Ordering::Relaxed) {
                out.extend_from_slice(b"PONG\r\n");
            }
            queue.take(&mut out, MAX_WRITE);
            if out.is_empty() {
                tokio::select! {
                    () = queue.until_work() => {}
                    () = pong.notified() => {}
                }
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
            if out.capacity() > 2 * MAX_WRITE {
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
            queue.expire(watch.expires);
            match silence.look(heard(), queue.awaits_pong()) {
                Due::Nothing => {}
                Due::Ping => queue.ping(),
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

/// What a server refuses, and goes on.
pub(super) enum Refused<'a> {
    Publishing(&'a str),
    Subscription(&'a str),
    MoreSubscriptions,
}

impl<'a> Refused<'a> {
    /// Reads `Permissions Violation for Publish to "subject"`, or `.. for Subscription to "subject"`, or `maximum subscriptions exceeded`.
    pub(super) fn read(error: &'a str) -> Option<Self> {
        let lower = error.to_ascii_lowercase();
        if lower.starts_with("maximum subscriptions") {
            return Some(Self::MoreSubscriptions);
        }
        let what = lower.strip_prefix("permissions violation for ")?;
        let subject = error.split('"').nth(1)?;
        Some(if what.starts_with("subscription") {
            Self::Subscription(subject)
        } else {
            Self::Publishing(subject)
        })
    }
}
