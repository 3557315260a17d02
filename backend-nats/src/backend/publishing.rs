//! Publishing, and what nodes tell each other.

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use fanfare_core::{
    backend::{Accepted, BackendError, NodeId, Outgoing, Retention, envelope::Envelope},
    topic::TopicName,
};
use futures_util::{FutureExt, future::BoxFuture};
use tokio::{
    sync::oneshot,
    time::{Instant, sleep, timeout_at},
};

use super::running::Running;
use crate::{
    error::Trouble,
    keep::{Node, lost, within},
    log::{Keep, Record},
    names::message_id,
    wire::{self, Answer, Asking, Call, Lost},
};

impl Running {
    pub(super) fn publish(&self, message: &Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let deadline = Instant::now() + self.node.settings.publish_within;
        let published = match message.retention {
            Some(retention) => self.append(message, retention, deadline),
            None => {
                let asked = self.send_to_all(message);
                async move { acknowledged(asked?, deadline).await.map(|_| Accepted::ephemeral()) }.boxed()
            }
        };
        published.map(|done| done.map_err(|trouble| trouble.into_error("publish"))).boxed()
    }

    /// Sends an ephemeral message to each of its topics.
    fn send_to_all(&self, message: &Outgoing) -> Result<Asking, Trouble> {
        let node = &self.node;
        let envelope = Envelope::encode(message);
        self.check_size(envelope.len())?;
        let first = node.names.topic(&message.message.topic);
        let mut frames = BytesMut::with_capacity((1 + message.also.len()) * (envelope.len() + 300));
        wire::publish(&mut frames, &first, "", &envelope);
        for (topic, _) in &message.also {
            wire::publish(&mut frames, &node.names.topic(topic), "", &envelope);
        }
        Ok(node.queue.hand_over(Call::Frames { subject: first.into(), bytes: frames.freeze() }, true))
    }

    /// Hands a message over to the log.
    fn append(
        &self,
        message: &Outgoing,
        retention: Retention,
        deadline: Instant,
    ) -> BoxFuture<'static, Result<Accepted, Trouble>> {
        let node = &self.node;
        let (parts, keep) = (&message.message, Keep::of(&retention));
        let envelope = Envelope::encode(message);
        let payload = Record::encode(keep, None, &envelope);
        let id = parts.message_id.as_deref().map(|id| message_id(&parts.topic, &parts.id_scope(), id));
        // The queue measures what is sent. What will be sent besides is measured before anything is.
        let besides = id.as_ref().map_or(0, |id| ID + id.len()).max(parts.key.as_ref().map_or(0, |_| VALUE));
        if let Err(trouble) = self.check_size(payload.len() + besides) {
            return std::future::ready(Err(trouble)).boxed();
        }
        node.logs.need(&retention);
        let subject: Arc<str> = node.names.log(&parts.topic).into();
        let call = Call::Append { subject: subject.clone(), id: id.clone(), payload: payload.clone() };
        let asked = node.queue.hand_over(call, true);
        let key = parts.key.clone().filter(|_| retention.latest_keys > 0);
        if let Some(trim) = node.logs.trims(keep, payload.len()) {
            let (node, subject) = (node.clone(), subject.clone());
            self.spawn(async move { node.logs.trim(&subject, trim).await });
        }
        let node = node.clone();
        if id.is_none() && key.is_none() {
            return async move { stored(&node, asked, deadline).await?.ok_or_else(not_understood) }.boxed();
        }
        // What is to be done when the log has taken it is done although nobody waits for it.
        let (done, waiting) = oneshot::channel();
        let stored = Stored { topic: parts.topic.clone(), subject, id, key, envelope, payload, retention };
        self.spawn(async move { drop(done.send(stored.finish(&node, asked, deadline).await)) });
        async move { waiting.await.unwrap_or_else(|_| Err(Trouble::outcome_unknown("the backend has ended"))) }
            .boxed()
    }

    fn check_size(&self, size: usize) -> Result<(), Trouble> {
        let most = self.node.pushed.info.borrow().max_payload;
        if most > 0 && size > most {
            return Err(wire::too_large(size, most));
        }
        Ok(())
    }

    pub(super) fn control(
        &self,
        to: Option<NodeId>,
        bytes: &[u8],
    ) -> BoxFuture<'static, Result<(), BackendError>> {
        let names = &self.node.names;
        let subject = to.map_or_else(|| names.nodes(), |to| names.node(to));
        let asked = {
            // Handed over under the lock: in the order of their numbers.
            let mut teller = self.node.teller.lock();
            let frame = teller.tell(bytes);
            if let Err(trouble) = self.check_size(frame.len()) {
                return std::future::ready(Err(trouble.into_error("control"))).boxed();
            }
            let mut frames = BytesMut::new();
            wire::publish(&mut frames, &subject, "", &frame);
            let call = Call::Frames { subject: subject.into(), bytes: frames.freeze() };
            self.node.queue.hand_over(call, false)
        };
        let limit = self.node.settings.publish_within;
        async move {
            let answer = async { asked.answer().await.map_err(lost) };
            within(limit, answer).await.map(drop).map_err(|trouble| trouble.into_error("control"))
        }
        .boxed()
    }
}

/// What an id takes in the headers beside itself, also where a place follows it: bytes.
const ID: usize = 40;

/// What a last value may take more than the same message in the log: bytes.
const VALUE: usize = 160;

/// How soon a message is handed over again while servers agree on another one with its id.
const AGREEING: Duration = Duration::from_millis(10);

/// A message for a log, with what is to be done when the log has taken it.
struct Stored {
    topic: TopicName,
    subject: Arc<str>,
    id: Option<String>,
    key: Option<Arc<str>>,
    envelope: Bytes,
    payload: Bytes,
    retention: Retention,
}

impl Stored {
    async fn finish(self, node: &Arc<Node>, asked: Asking, deadline: Instant) -> Result<Accepted, Trouble> {
        let mut accepted = self.once(node, asked, self.id.as_ref(), deadline).await?;
        let window = self.retention.history.idempotency_window;
        if accepted.duplicate
            && let Some(id) = &self.id
            && let Some(position) = accepted.position
            && node.logs.is_past(position, window).await
        {
            // The stream remembers it for longer than the topic wants. Whoever finds that out gives it the same new id.
            let id = format!("{id} {}", position.offset);
            accepted = self.once(node, self.hand_over(node, Some(&id)), Some(&id), deadline).await?;
        }
        if let (Some(key), Some(position)) = (&self.key, accepted.position)
            && !accepted.duplicate
        {
            let keys = self.retention.latest_keys;
            let remembered = node.logs.remember(&self.topic, key, position, &self.envelope, keys).await;
            remembered.map_err(|trouble| {
                Trouble::outcome_unknown(format!(
                    "the message is stored, but not as the last of its key: {trouble}"
                ))
            })?;
        }
        Ok(accepted)
    }

    /// Has it stored, or hears that another one with this id is: handed over again as long as that one is about to be.
    async fn once(
        &self,
        node: &Node,
        mut asked: Asking,
        id: Option<&String>,
        deadline: Instant,
    ) -> Result<Accepted, Trouble> {
        loop {
            if let Some(accepted) = stored(node, asked, deadline).await? {
                return Ok(accepted);
            }
            sleep(AGREEING).await;
            asked = self.hand_over(node, id);
        }
    }

    fn hand_over(&self, node: &Node, id: Option<&String>) -> Asking {
        let (subject, id, payload) = (self.subject.clone(), id.cloned(), self.payload.clone());
        node.queue.hand_over(Call::Append { subject, id, payload }, false)
    }
}

/// What has become of a message. `None` where it was not stored, because another one with its id is about to be.
async fn stored(node: &Node, asked: Asking, deadline: Instant) -> Result<Option<Accepted>, Trouble> {
    match acknowledged(asked, deadline).await? {
        Answer::Message(answer) => node.logs.accepted(&answer).await,
        Answer::Messages(..) | Answer::Taken => Err(not_understood()),
    }
}

fn not_understood() -> Trouble {
    Trouble::outcome_unknown("the stream's answer is not understood")
}

async fn acknowledged(asked: Asking, deadline: Instant) -> Result<Answer, Trouble> {
    match timeout_at(deadline, asked.answer()).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Lost::Unanswered)) => {
            Err(Trouble::outcome_unknown("the connection to NATS broke before the answer came"))
        }
        Ok(Err(unsent)) => Err(lost(unsent)),
        // A server whose disk is full says nothing, nor does a stream without a leader.
        Err(_) => Err(Trouble::outcome_unknown(
            "NATS did not answer in time: if that lasts, see whether its disk has room, and its stream a leader",
        )),
    }
}
