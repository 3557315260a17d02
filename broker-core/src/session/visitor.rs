//! Clients that publish without a connection, as by an HTTP request: each of their messages on its own.

use std::{
    collections::HashMap,
    fmt,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use governor::{
    DefaultKeyedRateLimiter, Quota,
    clock::{Clock, DefaultClock},
};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout};

use super::{ClientId, CommandError, ErrorCode, Handshake, PublishCommand, Published, publishing::checked};
use crate::{
    Broker,
    hooks::Client,
    message::MessageParts,
    policy::{Admission, Identity},
    publish::Report,
    topic::TopicName,
};

/// How many budgets are kept before those that are full again are let go: at least, and at most.
const BUDGETS: (usize, usize) = (10_000, 1_000_000);

/// Lets clients in that publish without a connection: for transports whose clients come with each message anew. Make one
/// per mounted transport.
///
/// They are held to what holds for a connection: the policy admits them ([`Policy::connect`](crate::policy::Policy::connect)) and decides on
/// each topic, the `on_publish` hooks run, and the limits on messages apply. What belongs to a connection does not: it takes no
/// place among the connections of a user or of an address, and the hooks `on_connected`, `on_disconnecting` and `on_disconnected` do not run.
///
/// The budget of commands, [`Limits::commands_per_second`](crate::Limits::commands_per_second), is one for all messages of a user, and for those of
/// nobody in particular one for all from the same address (with IPv6 the same /64, which is one customer's), or from
/// addresses that the transport was not told. So is [`Limits::publishes_in_flight`](crate::Limits::publishes_in_flight). How many
/// there may be of all clients together is the transport's to bound: each may hold a payload in memory.
pub struct Visitors {
    broker: Broker,
    budgets: DefaultKeyedRateLimiter<Who>,
    /// With so many budgets it is time to let some go.
    sweep_at: AtomicUsize,
    present: Arc<Present>,
}

/// Whose budget is used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Who {
    User(Arc<str>),
    Address(IpAddr),
    Unknown,
}

impl Visitors {
    /// For the clients of a broker.
    #[must_use]
    pub fn new(broker: &Broker) -> Self {
        let limits = broker.limits();
        let quota = Quota::per_second(limits.commands_per_second).allow_burst(limits.commands_burst);
        Self {
            broker: broker.clone(),
            budgets: DefaultKeyedRateLimiter::keyed(quota),
            sweep_at: AtomicUsize::new(BUDGETS.0),
            present: Arc::default(),
        }
    }

    /// Lets a client in for one message. A policy that waits for the `connect` command of a connection
    /// ([`Admission::AwaitConnect`]) has refused: a credential comes with the request or not at all.
    ///
    /// # Errors
    ///
    /// Why the client is not let in: `draining`, `unauthenticated` and whatever else the policy says, `rate_limited`,
    /// `limit_exceeded` when as many of its messages are being served as may be, and `timeout` when the policy did not decide within
    /// [`Limits::authenticate_within`](crate::Limits::authenticate_within). Nothing was published.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped leaves nothing behind.
    pub async fn admit(&self, handshake: &Handshake) -> Result<Visitor, CommandError> {
        let inner = self.broker.inner();
        if inner.is_draining() {
            return Err(draining());
        }
        let within = inner.limits.authenticate_within;
        let admission = match timeout(within, inner.admission(handshake)).await {
            Ok(admission) => admission?,
            Err(_) => return Err(CommandError::new(ErrorCode::Timeout, "admission took too long")),
        };
        let Admission::Accept(identity) = admission else {
            let message = "a credential is needed, in a header, a cookie or the query";
            return Err(CommandError::new(ErrorCode::Unauthenticated, message));
        };
        let who = Who::is(&identity, handshake.address);
        self.take(&who)?;
        let presence = self.present.enter(who, inner.limits.publishes_in_flight)?;
        let expires = identity.expires.and_then(|after| Instant::now().checked_add(after));
        let client = Client {
            id: ClientId::random(),
            identity: Arc::new(identity),
            transport: handshake.transport,
            resumed: false,
        };
        Ok(Visitor { broker: self.broker.clone(), client, expires, _presence: presence })
    }

    fn take(&self, who: &Who) -> Result<(), CommandError> {
        // A budget that is full again is as good as none, so that what has to be kept is what came within the last seconds.
        if self.budgets.len() >= self.sweep_at.load(Ordering::Relaxed) {
            self.budgets.retain_recent();
            let kept = self.budgets.len();
            if kept >= BUDGETS.1 {
                return Err(CommandError::new(
                    ErrorCode::RateLimited,
                    "too many clients in too short a time",
                ));
            }
            self.sweep_at.store((kept * 2).clamp(BUDGETS.0, BUDGETS.1), Ordering::Relaxed);
        }
        self.budgets.check_key(who).map_err(|until| {
            let burst = u64::from(until.quota().burst_size().get());
            let wait = until.wait_time_from(DefaultClock::default().now());
            CommandError::new(ErrorCode::RateLimited, "too many messages in too short a time")
                .limit(burst, burst + 1)
                .retry_after(wait)
        })
    }
}

fn draining() -> CommandError {
    CommandError::new(ErrorCode::Draining, "the server is about to stop")
}

impl Who {
    fn is(identity: &Identity, address: Option<IpAddr>) -> Self {
        match (&identity.user, address) {
            (Some(user), _) => Self::User(user.clone()),
            (None, Some(IpAddr::V6(address))) => {
                let network = u128::from(address) >> 64 << 64;
                Self::Address(Ipv6Addr::from(network).into())
            }
            (None, Some(address)) => Self::Address(address),
            (None, None) => Self::Unknown,
        }
    }
}

/// A client that has been let in for one message.
pub struct Visitor {
    broker: Broker,
    client: Client,
    expires: Option<Instant>,
    _presence: Presence,
}

impl Visitor {
    /// The client as hooks see it: its name is this message's own.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Publishes the message. Ready when the backend has accepted it.
    ///
    /// # Errors
    ///
    /// As the reply to [`Command::Publish`](super::Command::Publish) would tell a connection. All but `timeout`, and an
    /// `internal` of the backend, mean that it was not accepted.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the message is committed, nothing happened; after, everything.
    pub async fn publish(self, command: PublishCommand) -> Result<Published, CommandError> {
        let (parts, also) = self.checked(command).await?;
        Ok(self.broker.inner().commit(parts, also).await?.await?)
    }

    /// The same, and waits for the fan-out on this node as well.
    ///
    /// # Errors
    ///
    /// As for [`publish`](Self::publish).
    ///
    /// # Cancel safety
    ///
    /// As for [`publish`](Self::publish).
    pub async fn report(self, command: PublishCommand) -> Result<Report, CommandError> {
        let (parts, also) = self.checked(command).await?;
        Ok(self.broker.inner().report(parts, also).await?)
    }

    async fn checked(&self, command: PublishCommand) -> Result<(MessageParts, Vec<TopicName>), CommandError> {
        let inner = self.broker.inner();
        if inner.is_draining() {
            return Err(draining());
        }
        if self.expires.is_some_and(|at| at <= Instant::now()) {
            return Err(CommandError::new(ErrorCode::TokenExpired, "the token has expired"));
        }
        checked(inner, &self.client, command).await
    }
}

/// How many messages of each are being served.
#[derive(Default)]
struct Present(Mutex<HashMap<Who, usize>>);

impl Present {
    fn enter(self: &Arc<Self>, who: Who, limit: usize) -> Result<Presence, CommandError> {
        let mut present = self.0.lock();
        if present.get(&who).copied().unwrap_or_default() >= limit {
            let message = "too many messages at once: wait for the answers";
            let mut error =
                CommandError::new(ErrorCode::LimitExceeded, message).limit(limit as u64, limit as u64 + 1);
            error.retry = true;
            return Err(error);
        }
        *present.entry(who.clone()).or_default() += 1;
        Ok(Presence { present: self.clone(), who })
    }
}

/// One message that is being served.
struct Presence {
    present: Arc<Present>,
    who: Who,
}

impl Drop for Presence {
    fn drop(&mut self) {
        let mut present = self.present.0.lock();
        if let Some(count) = present.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                present.remove(&self.who);
            }
        }
    }
}

impl fmt::Debug for Visitors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitors").field("budgets", &self.budgets.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Visitor").field("client", &self.client).finish_non_exhaustive()
    }
}
