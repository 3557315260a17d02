//! Hooks that hear who subscribes to what, by pattern.

use std::sync::Arc;

use futures_util::{FutureExt, future::BoxFuture};

use super::{Client, run};
use crate::{
    outbox::Subject,
    session::ErrorCode,
    topic::{PatternTrie, TopicPattern},
};

/// How a subscription ended, as a hook hears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unsubscribed {
    /// The client has left.
    ByClient,
    /// The server has ended it: the code is what the client was told.
    ByServer(ErrorCode),
    /// The connection is over. Where its session is taken up, the subscription begins again.
    Disconnected,
}

type OnSubscribed = dyn Fn(Client, Arc<str>) -> BoxFuture<'static, ()> + Send + Sync;
type OnUnsubscribed = dyn Fn(Client, Arc<str>, Unsubscribed) -> BoxFuture<'static, ()> + Send + Sync;

/// The hooks that hear of subscriptions.
#[derive(Default)]
pub(crate) struct Membership {
    subscribed: PatternTrie<Box<OnSubscribed>>,
    unsubscribed: PatternTrie<Box<OnUnsubscribed>>,
}

/// What has become of a subscription.
#[derive(Clone, Debug)]
pub(crate) enum Happened {
    Began(Subject),
    Ended(Subject, Unsubscribed),
}

impl Membership {
    pub(super) fn len(&self) -> (usize, usize) {
        (self.subscribed.len(), self.unsubscribed.len())
    }

    pub(crate) fn on_subscribed<F>(
        &mut self,
        pattern: TopicPattern,
        hook: impl Fn(Client, Arc<str>) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        self.subscribed.insert(pattern, Box::new(move |client, topic| hook(client, topic).boxed()));
    }

    pub(crate) fn on_unsubscribed<F>(
        &mut self,
        pattern: TopicPattern,
        hook: impl Fn(Client, Arc<str>, Unsubscribed) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let hook = move |client, topic, how| hook(client, topic, how).boxed();
        self.unsubscribed.insert(pattern, Box::new(hook));
    }

    /// Whether somebody wants to hear of it.
    pub(crate) fn watches(&self, happened: &Happened) -> bool {
        match happened {
            Happened::Began(subject) => {
                !self.subscribed.is_empty() && !found(&self.subscribed, subject).is_empty()
            }
            Happened::Ended(subject, _) => {
                !self.unsubscribed.is_empty() && !found(&self.unsubscribed, subject).is_empty()
            }
        }
    }

    /// Runs the hooks of the patterns that match a topic or cover a pattern, the most specific first.
    pub(crate) async fn run(&self, client: &Client, happened: Happened) {
        match happened {
            Happened::Began(subject) => {
                for hook in found(&self.subscribed, &subject) {
                    run("on_subscribed", || hook(client.clone(), subject.text())).await;
                }
            }
            Happened::Ended(subject, how) => {
                for hook in found(&self.unsubscribed, &subject) {
                    run("on_unsubscribed", || hook(client.clone(), subject.text(), how)).await;
                }
            }
        }
    }
}

fn found<'a, T>(hooks: &'a PatternTrie<T>, subject: &Subject) -> Vec<&'a T> {
    match subject {
        Subject::Topic(topic) => hooks.matches(topic).map(|(_, hook)| hook).collect(),
        Subject::Pattern(pattern) => hooks.covering(pattern).map(|(_, hook)| hook).collect(),
    }
}
