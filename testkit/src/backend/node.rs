//! A node without a broker: it calls the backend as the core does, and sees what arrives.

use std::{collections::HashMap, ops::RangeInclusive, sync::Arc, time::Duration};

use bytes::Bytes;
use fanfare_core::{
    backend::{
        Accepted, Backend, BackendError, BackendState, HistoryQuery, Incoming, Ingress, Interest, NodeId,
        Origin, Outgoing, Page,
    },
    message::{MessageParts, Position},
    topic::TopicName,
};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::{
    record::{Record, Seen},
    subject::Subject,
};

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) backend: Arc<dyn Backend>,
    pub(crate) record: Arc<Record>,
    patience: Duration,
    /// The stream and the last number of each topic that was published to.
    origins: Mutex<HashMap<TopicName, (u64, u64)>>,
}

impl Node {
    /// A node that is not started.
    pub(super) fn new(backend: Arc<dyn Backend>, patience: Duration) -> Self {
        let record = Arc::new(Record::default());
        record.watch(&backend);
        Self { id: NodeId::random(), backend, record, patience, origins: Mutex::default() }
    }

    pub(crate) async fn start(&self) -> Result<(), BackendError> {
        let ingress = Ingress::to(self.id, self.record.clone());
        self.within("start", self.backend.start(ingress)).await
    }

    /// Hands a text over.
    pub(crate) fn publish(
        &self,
        subject: &Subject,
        text: impl Into<String>,
    ) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let text: String = text.into();
        self.hand_over(subject, MessageParts::new(subject.name.clone(), text))
    }

    /// Hands a message over.
    pub(crate) fn hand_over(
        &self,
        subject: &Subject,
        parts: MessageParts,
    ) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        self.backend.publish(self.outgoing(subject, parts))
    }

    pub(crate) fn outgoing(&self, subject: &Subject, parts: MessageParts) -> Outgoing {
        let origin = self.next_origin(&subject.name);
        match subject.retention {
            None => Outgoing::ephemeral(parts, origin),
            Some(retention) => Outgoing::logged(parts, retention, origin),
        }
    }

    pub(crate) fn next_origin(&self, name: &TopicName) -> Origin {
        let mut origins = self.origins.lock();
        let (stream, seq) = origins.entry(name.clone()).or_insert_with(|| (fastrand::u64(1..), 0));
        *seq += 1;
        Origin { node: self.id, stream: *stream, seq: *seq }
    }

    /// Publishes a text that has to be accepted.
    pub(crate) async fn say(&self, subject: &Subject, text: impl Into<String>) -> Accepted {
        let text: String = text.into();
        let accepted = self.within("publish", self.publish(subject, text.clone())).await;
        accepted.unwrap_or_else(|error| panic!("{text:?} to {} is not accepted: {error:?}", subject.name))
    }

    /// Publishes numbers one after the other, and says where they are stored.
    pub(crate) async fn count(&self, subject: &Subject, numbers: RangeInclusive<u64>) -> Vec<Position> {
        let mut positions = Vec::new();
        for number in numbers {
            positions.extend(self.say(subject, number.to_string()).await.position);
        }
        positions
    }

    pub(crate) async fn subscribe(&self, subject: &Subject) -> Option<Position> {
        self.want(&subject.interest()).await
    }

    pub(crate) async fn want(&self, interest: &Interest) -> Option<Position> {
        let top = self.within("subscribe", self.backend.subscribe(interest)).await;
        top.unwrap_or_else(|error| panic!("{interest:?} cannot be subscribed to: {error:?}"))
    }

    pub(crate) async fn unsubscribe(&self, subject: &Subject) {
        self.unwant(&subject.interest()).await;
    }

    pub(crate) async fn unwant(&self, interest: &Interest) {
        let left = self.within("unsubscribe", self.backend.unsubscribe(interest)).await;
        left.unwrap_or_else(|error| panic!("{interest:?} cannot be given up: {error:?}"));
    }

    pub(crate) async fn history(&self, subject: &Subject, query: HistoryQuery) -> Page {
        let page = self.within("history", self.backend.history(&subject.name, query)).await;
        page.unwrap_or_else(|error| panic!("{query:?} of {} cannot be read: {error:?}", subject.name))
    }

    /// All that is retained, page by page.
    pub(crate) async fn read_all(&self, subject: &Subject) -> Page {
        let mut all = self.history(subject, HistoryQuery::After { offset: 0, limit: 1000 }).await;
        while all.more {
            let last = all.messages.last().and_then(|message| message.position());
            let offset = last.unwrap_or_else(|| panic!("an empty page says that there is more")).offset;
            let page = self.history(subject, HistoryQuery::After { offset, limit: 1000 }).await;
            all.messages.extend(page.messages);
            all.more = page.more;
        }
        all
    }

    /// What is retained, as text.
    pub(crate) async fn retained(&self, subject: &Subject) -> Vec<String> {
        texts(&self.read_all(subject).await)
    }

    pub(crate) async fn control(&self, to: Option<NodeId>, frame: impl Into<Bytes>) {
        let sent = self.within("control", self.backend.control(to, frame.into())).await;
        sent.unwrap_or_else(|error| panic!("the control frame cannot be sent: {error:?}"));
    }

    pub(crate) async fn shutdown(&self) {
        let by = Instant::now() + self.patience;
        self.within("shutdown", self.backend.shutdown(by)).await;
    }

    /// Waits until what has arrived is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&Seen) -> bool) {
        let mut changes = self.record.changes();
        let reached = async {
            while !self.record.seen(&wanted) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        if timeout(self.patience, reached).await.is_err() {
            let seen = self.record.seen(summary);
            panic!("{what}: not within {:?}; the node has seen {seen}", self.patience);
        }
    }

    /// Waits until the new messages of a topic are these texts, in this order.
    pub(crate) async fn hears<T: AsRef<str>>(&self, subject: &Subject, texts: &[T]) {
        let wanted: Vec<&str> = texts.iter().map(AsRef::as_ref).collect();
        let what = format!("{} of {} has to arrive", short(&wanted), subject.name);
        self.until(&what, |seen| seen.count(&subject.name) >= wanted.len()).await;
        let heard = self.record.seen(|seen| seen.texts(&subject.name));
        if heard.len() < wanted.len() {
            // Repeats came first.
            self.until(&what, |seen| seen.new_of(&subject.name).len() >= wanted.len()).await;
        }
        assert_eq!(self.record.seen(|seen| seen.texts(&subject.name)), wanted, "of {}", subject.name);
    }

    /// The new messages of a topic.
    pub(crate) fn heard(&self, subject: &Subject) -> Vec<Incoming> {
        self.record.seen(|seen| seen.new_of(&subject.name).into_iter().cloned().collect())
    }

    /// Waits until the last that the backend said of its state is this.
    pub(crate) async fn until_state(&self, state: BackendState) {
        let what = format!("the backend has to say that it is {state:?}");
        self.until(&what, |seen| seen.states.last() == Some(&state)).await;
    }

    /// Fails where a call takes forever.
    pub(crate) async fn within<T>(&self, what: &str, call: impl Future<Output = T>) -> T {
        let done = timeout(self.patience, call).await;
        done.unwrap_or_else(|_| panic!("{what}: no answer within {:?}", self.patience))
    }
}

/// The payloads of a page.
pub(crate) fn texts(page: &Page) -> Vec<String> {
    page.messages.iter().map(|message| message.payload().as_str().unwrap_or("(binary)").to_owned()).collect()
}

/// The payloads of numbers.
pub(crate) fn numbers(numbers: RangeInclusive<u64>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

fn short(texts: &[&str]) -> String {
    if texts.len() <= 5 {
        return format!("{texts:?}");
    }
    format!("{:?} to {:?} ({})", texts[0], texts[texts.len() - 1], texts.len())
}

fn summary(seen: &Seen) -> String {
    let mut topics: HashMap<&str, Vec<&str>> = HashMap::new();
    for incoming in &seen.messages {
        let text = incoming.message.payload.as_str().unwrap_or("(binary)");
        topics.entry(incoming.message.topic.as_str()).or_default().push(text.get(..20).unwrap_or(text));
    }
    let topics: Vec<_> = topics.iter().map(|(topic, texts)| format!("{topic}: {}", short(texts))).collect();
    format!(
        "messages [{}], lost {:?}, {} control frames, states {:?}",
        topics.join("; "),
        seen.lost,
        seen.frames.len(),
        seen.states
    )
}
