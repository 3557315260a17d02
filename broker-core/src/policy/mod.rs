//! Who may connect, and who may do what: deny by default.
//!
//! A broker does not start without a [`Policy`]. [`Open`] allows everything and
//! has to be named; [`Rules`] allows by pattern; an app with users of its own
//! implements the trait.

mod grant;
mod namespaces;
mod open;
mod rules;

use std::{
    any::Any,
    fmt,
    sync::{Arc, LazyLock},
    time::Duration,
};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
pub use grant::Grant;
pub(crate) use namespaces::Policies;
pub use open::Open;
pub use rules::Rules;

use crate::{
    session::{Handshake, Refusal},
    topic::{Address, TopicName, TopicPattern},
};

/// Decides who may connect and what an admitted client may do.
///
/// Called from the connections' own tasks, never from a fan-out shard: it may
/// take its time, and only the client in question waits. A policy that panics
/// refuses.
#[async_trait]
pub trait Policy: Send + Sync + 'static {
    /// Decides on a client that connects.
    ///
    /// Called once when the transport has the handshake, and once more when that
    /// answered [`Admission::AwaitConnect`] and the client's `connect` command
    /// brought a token ([`Handshake::token`]). And whenever an admitted client brings a new token: then
    /// [`Handshake::refreshes`] says who it is, and the answer has to be the same user.
    ///
    /// # Errors
    ///
    /// A [`Refusal`]: the connection is closed with the code that belongs to it.
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal>;

    /// Decides on one action of an admitted client. Answer [`Verdict::Now`]
    /// wherever you can: it costs nothing.
    fn authorize<'a>(&'a self, who: &'a Identity, action: Action<'a>) -> Verdict<'a>;
}

/// The answer to a client that connects.
#[derive(Debug)]
#[non_exhaustive]
pub enum Admission {
    /// Admitted as this identity.
    Accept(Identity),
    /// Nothing is known yet: the client has to send `connect` with a token, and
    /// is served nothing before.
    AwaitConnect,
}

/// Who a client is, as the policy says.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Identity {
    /// The user; several connections may share one. `None` is anonymous.
    pub user: Option<Arc<str>>,
    /// Whatever the app wants to know of the client later.
    pub data: Option<Arc<dyn Any + Send + Sync>>,
    /// When the admission ends, from now; `None` is never.
    pub expires: Option<Duration>,
}

impl Identity {
    /// A client without a name.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// A user.
    #[must_use]
    pub fn user(name: impl Into<Arc<str>>) -> Self {
        Self { user: Some(name.into()), ..Self::default() }
    }

    /// The same with data of the app's own.
    #[must_use]
    pub fn with_data(mut self, data: impl Any + Send + Sync) -> Self {
        self.data = Some(Arc::new(data));
        self
    }

    /// The same, ending after a time.
    #[must_use]
    pub fn expires_in(mut self, after: Duration) -> Self {
        self.expires = Some(after);
        self
    }

    /// To be kept for a connection: all of whom nothing is known are the same.
    pub(crate) fn shared(self) -> Arc<Self> {
        static ANONYMOUS: LazyLock<Arc<Identity>> = LazyLock::new(Arc::default);
        match &self {
            Self { user: None, data: None, expires: None } => ANONYMOUS.clone(),
            _ => Arc::new(self),
        }
    }

    /// The app's own data, if it is of this type.
    #[must_use]
    pub fn data<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.data.as_deref().and_then(|data| data.downcast_ref())
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("user", &self.user)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// What a client wants to do.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Action<'a> {
    /// Receive a topic's messages, and recover those it missed.
    Subscribe(&'a TopicName),
    /// Receive the messages of every topic that a pattern matches.
    SubscribePattern(&'a TopicPattern),
    /// Publish to a topic.
    Publish(&'a TopicName),
    /// Publish to an [`Address`]: to another client, to a user, or to everybody. [`Rules`] allow it where a pattern names it, such as
    /// `$user.*`.
    PublishTo(&'a Address),
    /// Read a topic's history.
    History(&'a TopicName),
    /// See who is there on a topic: read the list of its members, or be told who comes and goes.
    Presence(&'a TopicName),
    /// Stay subscribed to a topic that the server subscribed the client to. The server's wish itself is not asked about; this is, when
    /// the client comes back and takes up its session, and when its rights are looked at again. A policy that has taken nothing back allows it.
    Keep(&'a TopicName),
    /// The same for a pattern.
    KeepPattern(&'a TopicPattern),
    /// Call a method of the app. Methods are named as topics are.
    Call(&'a TopicName),
}

/// The answer to an [`Action`].
#[non_exhaustive]
pub enum Verdict<'a> {
    /// Decided.
    Now(Result<Grant, Refusal>),
    /// Somebody has to be asked.
    Later(BoxFuture<'a, Result<Grant, Refusal>>),
}

impl<'a> Verdict<'a> {
    /// Allowed, without an end.
    #[must_use]
    pub fn allow() -> Self {
        Self::Now(Ok(Grant::new()))
    }

    /// Allowed, as a grant says.
    #[must_use]
    pub fn grant(grant: Grant) -> Self {
        Self::Now(Ok(grant))
    }

    /// Refused.
    #[must_use]
    pub fn deny(refusal: Refusal) -> Self {
        Self::Now(Err(refusal))
    }

    /// Decided by a future.
    pub fn later(decide: impl Future<Output = Result<Grant, Refusal>> + Send + 'a) -> Self {
        Self::Later(Box::pin(decide))
    }
}

impl fmt::Debug for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(verdict) => f.debug_tuple("Now").field(verdict).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_whom_nothing_is_known_are_one() {
        let one = Identity::anonymous().shared();
        assert!(Arc::ptr_eq(&one, &Identity::default().shared()));
        let others = [
            Identity::user("ann"),
            Identity::anonymous().with_data(7),
            Identity::anonymous().expires_in(Duration::from_secs(1)),
        ];
        for other in others {
            let (user, expires, has_data) = (other.user.clone(), other.expires, other.data.is_some());
            let kept = other.shared();
            assert!(!Arc::ptr_eq(&one, &kept));
            assert_eq!((&kept.user, kept.expires, kept.data.is_some()), (&user, expires, has_data));
        }
    }
}
