//! What a server pushes: told apart, decoded, and given on.

use std::sync::Arc;

use fanfare_core::{
    backend::{
        Incoming, NodeId,
        blocks::{Copies, Foreign, Inbox},
        envelope::Envelope,
    },
    message::{Epoch, LogPlace, Position},
    topic::TopicName,
};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, watch},
    time::sleep,
};

use super::{
    Interests, Source, control,
    doubts::Doubts,
    order::{Arrived, Order, WAIT},
};
use crate::{
    error::Trouble,
    log::{Logs, Record, Whose},
    names::{Names, Subject},
    wire::{Message, Pushes, ServerInfo},
};

/// Takes what the server pushes.
pub(crate) struct Pushed {
    node: NodeId,
    names: Arc<Names>,
    pub(super) interests: Arc<Interests>,
    pub(super) logs: Arc<Logs>,
    pub(super) inbox: Arc<Inbox>,
    /// What the server said last of itself and of others.
    pub(crate) info: watch::Sender<ServerInfo>,
    copies: Mutex<Copies>,
    pub(super) order: Mutex<Order>,
    pub(super) doubts: Doubts,
    heard: Mutex<control::Heard>,
    /// Something waits for what is before it.
    waits: Notify,
    foreign: Foreign,
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
            doubts: Doubts::default(),
            heard: Mutex::default(),
            waits: Notify::new(),
            foreign: Foreign::new(),
        }
    }

    /// How many messages came that were none of ours.
    pub(crate) fn foreign(&self) -> u64 {
        self.foreign.count()
    }

    fn topic(&self, topic: &TopicName, message: Message) {
        let Some(stream) = message.header("Nats-Stream") else { return self.ephemeral(topic, message) };
        let place = |name| message.number(name);
        let (Some(offset), Some(last)) = (place("Nats-Sequence"), place("Nats-Last-Sequence")) else {
            return self.warn_of(topic, "a message without its place");
        };
        let epoch = match self.logs.whose(stream) {
            Whose::Ours(epoch) => Some(epoch),
            Whose::Operators(_) | Whose::Unknown => self.certain(stream, topic, (offset, last)),
            Whose::Nobodys => {
                return self.warn_of(topic, "a message of a stream that holds no logs of ours");
            }
        };
        if let Some(epoch) = epoch {
            self.logged(topic, Position::new(epoch, offset), last, message);
        }
    }

    fn ephemeral(&self, topic: &TopicName, message: Message) {
        let envelope = match Envelope::decode(message.payload) {
            Ok(envelope) if envelope.place.is_none() && envelope.is_for(topic) => envelope,
            Ok(_) => return self.warn_of(topic, "a message of another topic"),
            Err(error) => return self.warn_of(topic, &error.to_string()),
        };
        let is_new = envelope.also.is_empty() || self.copies.lock().is_first(envelope.origin);
        if is_new && envelope.origin.node != self.node {
            self.inbox.deliver_now(envelope.into_incoming());
        }
    }

    fn logged(&self, topic: &TopicName, position: Position, last: u64, message: Message) {
        let arrived =
            |message| Arrived { epoch: position.epoch, offset: position.offset, before: last, message };
        // Anybody can write headers: what counts is what decodes as ours.
        let is_stored = || {
            if let Some(stream) = message.header("Nats-Stream") {
                self.logs.has_pushed(stream, position.offset);
            }
        };
        let envelope = match Record::decode(message.payload.clone()) {
            Some(Record { mark: Some(mark), .. }) => {
                is_stored();
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
                is_stored();
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
        self.doubts.forget();
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
        if let Some(count) = self.foreign.came() {
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
        let Some((source, was_confirmed)) = self.interests.refused(subject) else { return false };
        // Who asks for it now is answered.
        if was_confirmed {
            tracing::warn!(
                target: "fanfare::nats", subject, error = %trouble,
                "the server ends a subscription: it is asked for again, once in a while"
            );
            self.inbox.lost(source.topic());
        }
        true
    }
}
