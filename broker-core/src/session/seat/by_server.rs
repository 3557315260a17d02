//! What the app does with a client's subscriptions, from any task.

use std::{sync::Arc, time::Duration};

use super::{By, Held, Leaving, Seat, Subscription, begin::ended};
use crate::{
    hooks::{Happened, Unsubscribed},
    message::Frame,
    outbox::Subject,
    policy::{Action, Grant},
    session::{CloseKind, CommandError, ErrorCode, Start, authorize::authorize},
    topic::{TopicName, TopicPattern},
};

/// How long the policy may take when nobody waits for its answer.
const DECIDE_WITHIN: Duration = Duration::from_secs(10);

impl Seat {
    /// Subscribes the client to a topic or a pattern from now on, because the server wants it: the policy is not asked. The client
    /// is told by a frame `subscribed`, before the first message. False when it was subscribed already.
    ///
    /// # Errors
    ///
    /// Why there is no subscription: the name, a limit, the backend, an end of the session or of the subscription on its way.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the client is subscribed and told, or neither.
    pub(crate) async fn subscribe_by_server(self: &Arc<Self>, name: &str) -> Result<bool, CommandError> {
        let subject = Subject::parse(name)?;
        if !self.is_admitted() {
            return Err(ended(ErrorCode::Unauthenticated, true));
        }
        if !self.outbox.takes_direct() {
            let message = "the client's transport cannot tell topics apart that it has not asked for";
            return Err(CommandError::new(ErrorCode::BadRequest, message).field("topic"));
        }
        if self.is_subscribed(subject.as_str()) {
            return Ok(false);
        }
        self.held.lock().check_hooks()?;
        let beginning = self.begin(subject.clone(), By::Server)?;
        let starting = beginning.start(subject, Start::Live, Grant::new()).await?;
        let outcome = starting.outcome();
        let frame = self.outbox.encode(Frame::Subscribed { topic: starting.name(), outcome: &outcome });
        self.expect_room(frame.len())?;
        match self.attach_where_new(starting, frame) {
            Ok(is_new) => {
                self.tell_hooks_later();
                Ok(is_new)
            }
            Err(all) => Err(all
                .iter()
                .find_map(|starting| starting.ended())
                .unwrap_or(ended(ErrorCode::Kicked, true))),
        }
    }

    /// Ends the subscription to exactly this topic or pattern, live or on its way. The client is told by a frame
    /// `unsubscribed`, the last word of the topic. False when there was none.
    pub(crate) fn unsubscribe_by_server(&self, name: &str, code: ErrorCode, retry: bool) -> bool {
        self.end_where(code, retry, |subject| subject.as_str() == name) > 0
    }

    /// Ends all subscriptions within a pattern, live ones and those on their way: to topics that it matches and to patterns that it
    /// covers. Returns how many ended.
    pub(crate) fn revoke_within(&self, pattern: &TopicPattern) -> usize {
        self.end_where(ErrorCode::Revoked, false, |subject| subject.is_within(pattern))
    }

    /// Asks the policy again for the patterns that reach beyond this one, and ends those that it refuses now. Returns how many ended.
    pub(crate) async fn revoke_beyond(self: &Arc<Self>, pattern: &TopicPattern) -> usize {
        let beyond =
            |held: &Subscription| matches!(&held.subject, Subject::Pattern(held) if held.overlaps(pattern));
        self.ask_again(beyond).await
    }

    /// Asks the policy again for each subscription, and ends those that it refuses now. Returns how many ended.
    pub(crate) async fn reauthorize(self: &Arc<Self>) -> usize {
        // What is on its way may have been allowed before.
        self.held.lock().table.forestall_asked();
        self.ask_again(|_| true).await
    }

    pub(super) async fn ask_again(self: &Arc<Self>, of: impl Fn(&Subscription) -> bool) -> usize {
        let held: Vec<_> = {
            let held = self.held.lock();
            let asked = held.table.iter().filter(|held| of(held));
            asked.map(|held| (held.subject.clone(), held.ticket, held.by)).collect()
        };
        let mut count = 0;
        for (subject, ticket, by) in held {
            let Some(identity) = self.identity() else { break };
            let decided = authorize(&self.broker, &identity, action(&subject, by));
            match tokio::time::timeout(DECIDE_WITHIN, decided).await {
                Ok(Ok(grant)) => {
                    let mut held = self.held.lock();
                    held.renew(self, ticket, grant);
                    held.set_clock(self);
                }
                Ok(Err(error)) if error.code == ErrorCode::TokenExpired => {
                    count += self.end_if(ticket, error.code, error.retry);
                }
                Ok(Err(error)) => count += self.end_if(ticket, ErrorCode::Revoked, error.retry),
                // Who cannot be asked has not said yes.
                Err(_) => count += self.end_if(ticket, ErrorCode::Revoked, true),
            }
        }
        count
    }

    fn end_where(&self, code: ErrorCode, retry: bool, is: impl Fn(&Subject) -> bool) -> usize {
        let mut held = self.held.lock();
        let forestalled = held.table.forestall(code, retry, &is);
        let gone = held.table.take_where(|held| is(&held.subject));
        let ended = self.end(&mut held, gone, code, retry);
        drop(held);
        self.tell_hooks_later();
        forestalled + ended
    }

    /// Ends a subscription unless it has been begun anew.
    fn end_if(&self, ticket: u32, code: ErrorCode, retry: bool) -> usize {
        let mut held = self.held.lock();
        let gone = held.table.take_where(|held| held.ticket == ticket);
        let ended = self.end(&mut held, gone, code, retry);
        drop(held);
        self.tell_hooks_later();
        ended
    }

    fn end(&self, held: &mut Held, gone: Vec<Subscription>, code: ErrorCode, retry: bool) -> usize {
        let count = gone.len();
        for gone in gone {
            let topic = gone.subject.text();
            let frame = self.outbox.encode(Frame::Unsubscribed { topic: &topic, code, retry });
            // Without room for it the connection ends, and the subscription with it.
            let _ = self.expect_room(frame.len());
            held.release(self, &gone, Some(frame), Leaving::Left);
            held.note(self, Happened::Ended(gone.subject, Unsubscribed::ByServer(code)));
        }
        count
    }

    /// What the server says unasked waits for nobody: a client that does not even read this is cut off.
    fn expect_room(&self, length: usize) -> Result<(), CommandError> {
        if self.outbox.has_room(length) {
            return Ok(());
        }
        self.outbox.close(CloseKind::SlowConsumer.into());
        Err(ended(ErrorCode::Kicked, true))
    }
}

/// What the policy is asked of a subscription.
pub(super) fn action(subject: &Subject, by: By) -> Action<'_> {
    match (subject, by) {
        (Subject::Topic(topic), By::Client) => Action::Subscribe(topic),
        (Subject::Pattern(pattern), By::Client) => Action::SubscribePattern(pattern),
        (Subject::Topic(topic), By::Server) => Action::Keep(topic),
        (Subject::Pattern(pattern), By::Server) => Action::KeepPattern(pattern),
    }
}

impl Subject {
    /// A topic, or a pattern where the text has a wildcard.
    pub(crate) fn parse(name: &str) -> Result<Self, CommandError> {
        let invalid = |error| CommandError::invalid_topic("topic", &error);
        if name.contains(['*', '>']) {
            TopicPattern::new(name).map(Self::Pattern).map_err(invalid)
        } else {
            TopicName::new(name).map(Self::Topic).map_err(invalid)
        }
    }

    /// Whether a pattern matches the topic, or covers the pattern.
    pub(crate) fn is_within(&self, pattern: &TopicPattern) -> bool {
        match self {
            Self::Topic(topic) => pattern.matches(topic),
            Self::Pattern(held) => pattern.covers(held),
        }
    }
}
