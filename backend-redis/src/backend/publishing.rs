//! Publishing, and what nodes tell each other.

use fanfare_core::backend::{
    Accepted, BackendError, BackendErrorKind, NodeId, Outgoing, Retention, envelope::Envelope,
};
use futures_util::{FutureExt, future::BoxFuture};
use redis::Value;
use tokio::time::{Instant, timeout_at};

use super::running::{Running, checked, unexpected};
use crate::{
    error::Trouble,
    keep::{lost, within},
    log,
    receive::frame,
    wire::{Asking, Expect, Lost, Retry, command, value},
};

impl Running {
    /// The command that publishes, and whether a second one carries the message to those who are subscribed to patterns.
    pub(super) fn commands(&self) -> (&'static str, bool) {
        match self.node.is_cluster() {
            true => ("SPUBLISH", self.node.settings.cluster_patterns),
            false => ("PUBLISH", false),
        }
    }

    pub(super) fn publish(&self, message: &Outgoing) -> BoxFuture<'static, Result<Accepted, BackendError>> {
        let asked = match message.retention {
            Some(retention) => vec![self.append(message, retention)],
            None => self.send(message),
        };
        let (is_logged, limit) = (message.retention.is_some(), self.node.settings.publish_within);
        let deadline = Instant::now() + limit;
        async move {
            let unknown = |message| BackendError::new(BackendErrorKind::OutcomeUnknown, "publish", message);
            let mut done = Ok(Accepted::ephemeral());
            for asked in asked {
                let answered = match timeout_at(deadline, asked.answer()).await {
                    Ok(Ok(answer)) => accepted(answer, is_logged),
                    Ok(Err(Lost::Unanswered)) => {
                        Err(unknown("the connection to Redis broke before the answer came"))
                    }
                    Ok(Err(unsent)) => Err(lost(unsent).into_error("publish")),
                    Err(_) => Err(unknown("Redis did not answer in time")),
                };
                done = done.and(answered);
            }
            done
        }
        .boxed()
    }

    fn append(&self, message: &Outgoing, retention: Retention) -> Asking {
        let node = &self.node;
        let channel = node.names.topic(&message.message.topic);
        let (publish, patterns) = self.commands();
        let also = patterns.then_some(channel.as_str());
        let is_cluster = node.is_cluster();
        let call = log::append(&node.scripts, &node.names, message, retention, publish, also, is_cluster);
        self.servers.hand_over(&channel, call, Expect::One, Retry::Held)
    }

    /// Sends an ephemeral message to each of its topics: one command, where one server has them all.
    fn send(&self, message: &Outgoing) -> Vec<Asking> {
        let envelope = Envelope::encode(message);
        let topics = std::iter::once(&message.message.topic).chain(message.also.iter().map(|(name, _)| name));
        let channels: Vec<_> = topics.map(|topic| self.node.names.topic(topic)).collect();
        let (publish, patterns) = self.commands();
        let commands = |channel: &String| {
            let first = command(publish, [channel.as_bytes(), &envelope]);
            let second = patterns.then(|| command("PUBLISH", [channel.as_bytes(), &envelope]));
            std::iter::once(first).chain(second)
        };
        let send = |channels: &[String]| {
            let commands: Vec<_> = channels.iter().flat_map(commands).collect();
            let (bytes, expect) = match commands.as_slice() {
                [command] => (command.clone(), Expect::One),
                several => (several.concat().into(), Expect::Several(several.len(), Vec::new())),
            };
            self.servers.hand_over(&channels[0], bytes, expect, Retry::Held)
        };
        if self.node.is_cluster() { channels.chunks(1).map(send).collect() } else { vec![send(&channels)] }
    }

    pub(super) fn control(
        &self,
        to: Option<NodeId>,
        bytes: &[u8],
    ) -> BoxFuture<'static, Result<(), BackendError>> {
        let names = &self.node.names;
        let channel = to.map_or_else(|| names.all(), |to| names.node(to));
        let publish = command(self.commands().0, [channel.as_bytes(), &frame(self.node.id, bytes)]);
        let asked = self.servers.hand_over(&channel, publish, Expect::One, Retry::Again);
        let limit = self.node.settings.publish_within;
        async move {
            let answer = async { checked(asked.answer().await.map_err(lost)?) };
            within(limit, answer).await.map(drop).map_err(|trouble| trouble.into_error("control"))
        }
        .boxed()
    }
}

fn accepted(answer: Value, is_logged: bool) -> Result<Accepted, BackendError> {
    let failed = |trouble: Trouble| trouble.into_error("publish");
    if is_logged {
        return log::parse_accepted(checked(answer).map_err(failed)?)
            .map_err(|_| failed(unexpected(value::Unexpected)));
    }
    match answer {
        Value::Array(answers) => {
            for answer in answers {
                checked(answer).map_err(failed)?;
            }
        }
        answer => drop(checked(answer).map_err(failed)?),
    }
    Ok(Accepted::ephemeral())
}
