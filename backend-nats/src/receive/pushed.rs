//! What a server pushes: told apart, decoded, and given on.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use fanfare_core::{
    backend::{Incoming, NodeId, blocks::Inbox, envelope::Envelope},
    message::{Epoch, LogPlace, Position},
    topic::TopicName,
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep},
};

use super::{
    Interests, Source, control,
    order::{Arrived, Order, WAIT},
};
use crate::{
    error::Trouble,
    log::{Logs, Record},
    names::{Names, Subject},
    wire::{Message, Pushes, ServerInfo},
};

/// How many messages to several topics are remembered, so that their copies are known.
const COPIES: usize = 4096;

/// How often it is said that somebody else uses our subjects.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Takes what the server pushes.
pub(crate) struct Pushed {
    node: NodeId,
    names: Arc<Names>,
    interests: Arc<Interests>,
    logs: Arc<Logs>,
    inbox: Arc<Inbox>,
    /// What the server said last of itself and of others.
    pub(crate) info: watch::Sender<ServerInfo>,
    copies: Mutex<Copies>,
    order: Mutex<Order>,
    heard: Mutex<control::Heard>,
    /// Something waits for what is before it.
    waits: Notify,
    foreign: AtomicU64,
    warned: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Copies {
    seen: HashSet<(u64, u64, u64)>,
    by_age: VecDeque<(u64, u64, u64)>,
}

impl Pushed {
    pub(crate) fn new(
        names: Arc<Names>,
        interests: Arc<Interests>,
        logs: Arc<Logs>,
        inbox: Arc<Inbox>,
    ) -> Self {
        Self {
            node: inbox.node(),
            names,
            interests,
            logs,
            inbox,
            info: watch::Sender::default(),
            copies: Mutex::default(),
            order: Mutex::default(),
            heard: Mutex::default(),
            waits: Notify::new(),
            foreign: AtomicU64::new(0),
            warned: Mutex::default(),
        }
    }

    /// How many messages came that were none of ours.
    pub(crate) fn foreign(&self) -> u64 {
        self.foreign.load(Ordering::Relaxed)
    }

    fn topic(&self, topic: &TopicName, message: Message) {
        match message.header("Nats-Stream") {
            Some(stream) => match self.logs.epoch_of(stream) {
                Some(epoch) => {
                    let place = |name| message.number(name);
                    let (offset, last) = (place("Nats-Sequence"), place("Nats-Last-Sequence"));
                    let (Some(offset), Some(last)) = (offset, last) else {
                        return self.warn_of(topic, "a message without its place");
                    };
                    self.logs.has_reached(stream, offset);
                    self.logged(topic, Position::new(epoch, offset), last, message);
                }
                None => self.warn_of(topic, "a message of a stream that holds no logs of ours"),
            },
            None => self.ephemeral(topic, message),
        }
    }

    fn ephemeral(&self, topic: &TopicName, message: Message) {
        let envelope = match Envelope::decode(message.payload) {
            Ok(envelope) if envelope.place.is_none() && names(&envelope).any(|name| name == topic) => {
                envelope
            }
            Ok(_) => return self.warn_of(topic, "a message of another topic"),
            Err(error) => return self.warn_of(topic, &error.to_string()),
        };
        let is_new = envelope.also.is_empty() || self.copies.lock().is_first(&envelope);
        if is_new && envelope.origin.node != self.node {
            self.inbox.deliver_now(envelope.into_incoming());
        }
    }

    fn logged(&self, topic: &TopicName, position: Position, last: u64, message: Message) {
        let arrived =
            |message| Arrived { epoch: position.epoch, offset: position.offset, before: last, message };
        let envelope = match Record::decode(message.payload) {
            Some(Record { mark: Some(mark), .. }) => {
                self.interests.note_mark(topic, position.offset, mark.stands_for(position.offset));
                return self.in_order(topic, arrived(None));
            }
            Some(Record { message, .. }) => Envelope::decode(message),
            None => {
                self.in_order(topic, arrived(None));
                return self.warn_of(topic, "a log's message that is none of ours");
            }
        };
        let prev = match last {
            // Nobody knows any more what was before it.
            0 => position.offset.saturating_sub(1),
            last => self.interests.before(topic, last),
        };
        match envelope {
            Ok(envelope) if envelope.message.topic == *topic && envelope.place.is_none() => {
                let incoming = envelope.at(LogPlace { position, prev }).into_incoming();
                return self.in_order(topic, arrived(Some(incoming)));
            }
            Ok(_) => self.warn_of(topic, "a message of another topic"),
            Err(error) => self.warn_of(topic, &error.to_string()),
        }
        self.in_order(topic, arrived(None));
    }

    fn told(&self, told: control::Told) {
        // Given under the lock, so that none overtakes another.
        let mut heard = self.heard.lock();
        if heard.is_new(&told) {
            self.inbox.control(told.from, told.frame);
        }
    }

    fn in_order(&self, topic: &TopicName, arrived: Arrived) {
        let mut order = self.order.lock();
        // Given under the lock: who releases what has waited must not come in between.
        if order.take(topic, arrived, |incoming: Incoming| self.inbox.deliver_now(incoming)) {
            self.waits.notify_one();
        }
    }

    /// A log is known to have got to an offset: what comes follows that.
    pub(crate) fn reach(&self, topic: &TopicName, epoch: Epoch, offset: u64) {
        self.order.lock().reach(topic, epoch, offset);
    }

    /// The connection is gone, and what was on its way with it.
    pub(crate) fn forget(&self) {
        self.order.lock().forget();
    }

    /// Gives on what waits for something that does not come, for ever.
    pub(crate) async fn serve(&self) {
        loop {
            self.waits.notified().await;
            loop {
                sleep(WAIT / 3).await;
                if !self.order.lock().release(WAIT, |incoming| self.inbox.deliver_now(incoming)) {
                    break;
                }
            }
        }
    }

    /// Somebody else writes to our subjects, or a newer node. It may have been a message: that is said, too.
    fn warn_of(&self, topic: &TopicName, what: &str) {
        self.warn(topic.as_str(), what);
        self.inbox.lost(Some(topic));
    }

    fn warn(&self, subject: &str, what: &str) {
        let count = self.foreign.fetch_add(1, Ordering::Relaxed) + 1;
        let mut warned = self.warned.lock();
        if warned.is_none_or(|at| at.elapsed() >= WARN_EVERY) {
            *warned = Some(Instant::now());
            tracing::warn!(
                target: "fanfare::nats", subject, count, what,
                "bytes that are none of ours came on our subjects: does another program use the prefix?"
            );
        }
    }
}

impl Pushes for Pushed {
    fn message(&self, message: Message) {
        // What still comes by a subscription that was ended is dropped.
        let Some(source) = self.interests.source(message.sid) else { return };
        if let Source::Control(_) = source {
            return match control::parse(message.payload) {
                Some(told) if told.from != self.node => self.told(told),
                Some(_) => {}
                None => self.warn(&message.subject, "no control frame"),
            };
        }
        match self.names.subject(&message.subject) {
            Subject::Topic(topic) if self.interests.takes(&source, &topic) => self.topic(&topic, message),
            Subject::Topic(_) => {}
            Subject::Control | Subject::Foreign => self.warn(&message.subject, "no topic"),
        }
    }

    fn info(&self, info: ServerInfo) {
        self.info.send_replace(info);
    }

    fn refused(&self, subject: &str, trouble: &Trouble) -> bool {
        let Some(source) = self.interests.refused(subject) else { return false };
        tracing::warn!(target: "fanfare::nats", subject, error = %trouble, "the server refuses a subscription");
        // Whoever wants it is told that it hears nothing; the core asks again when it wants it again.
        self.inbox.lost(if let Source::Topic(topic) = &source { Some(topic) } else { None });
        true
    }
}

fn names(envelope: &Envelope) -> impl Iterator<Item = &TopicName> {
    std::iter::once(&envelope.message.topic).chain(envelope.also.iter().map(|(name, _)| name))
}

impl Copies {
    /// The server sends one copy for each topic that is subscribed to: the first counts for all.
    fn is_first(&mut self, envelope: &Envelope) -> bool {
        let origin = envelope.origin;
        let id = (origin.node.value(), origin.stream, origin.seq);
        if !self.seen.insert(id) {
            return false;
        }
        self.by_age.push_back(id);
        if self.by_age.len() > COPIES
            && let Some(oldest) = self.by_age.pop_front()
        {
            self.seen.remove(&oldest);
        }
        true
    }
}
