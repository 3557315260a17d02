//! A client arrives.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use thiserror::Error;

use super::{Broker, registry::Full};
use crate::{
    message::Format,
    outbox::Outbox,
    policy::Admission,
    session::{ClientId, CloseKind, CloseReason, ErrorCode, Handshake, Refusal, Session, seat::Seat},
};

/// Why a client is not let in.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The broker is about to stop: 503 in HTTP.
    #[error("the server is about to stop")]
    Draining,
    /// There are as many connections as there may be, in all: 503 in HTTP.
    #[error("the server has {limit} connections, and no more")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The client's user or address has as many connections as it may: 429 in HTTP.
    #[error("more than {limit} connections {what}")]
    TooMany {
        /// Of whom: `of this user` or `from this address`.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
    /// The policy refuses: 401 or 403 in HTTP.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl ConnectError {
    /// The close reason of a transport that accepts a connection in order to say why it refuses it.
    #[must_use]
    pub fn reason(&self) -> CloseReason {
        match self {
            Self::Draining => CloseReason::new(CloseKind::Draining),
            Self::Full { .. } | Self::TooMany { .. } => {
                CloseReason::with_message(CloseKind::ConnectionLimit, self.to_string())
            }
            Self::Refused(refusal) => refused(refusal),
        }
    }
}

impl From<Full> for ConnectError {
    fn from(full: Full) -> Self {
        match full.what {
            Full::IN_ALL => Self::Full { limit: full.limit },
            what => Self::TooMany { what, limit: full.limit },
        }
    }
}

/// The close reason that belongs to a refusal.
pub(crate) fn refused(refusal: &Refusal) -> CloseReason {
    let kind = match refusal.code {
        ErrorCode::Unauthenticated => CloseKind::Unauthenticated,
        ErrorCode::TokenExpired => CloseKind::TokenExpired,
        ErrorCode::RateLimited | ErrorCode::LimitExceeded => CloseKind::ConnectionLimit,
        ErrorCode::Draining => CloseKind::Draining,
        ErrorCode::Internal | ErrorCode::BackendUnavailable | ErrorCode::Timeout => CloseKind::Restart,
        _ => CloseKind::Forbidden,
    };
    let mut reason = CloseReason::with_message(kind, refusal.message.clone());
    reason.retry_after = refusal.retry_after;
    reason
}

impl Broker {
    /// Lets a client in, or refuses it. For transports.
    ///
    /// The session takes the client's commands; the outbox holds what is to be sent to it. A client whom the policy
    /// wants to see a `connect` command of is served nothing before that.
    ///
    /// # Errors
    ///
    /// Why the client is not let in.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped leaves nothing behind.
    pub async fn connect(
        &self,
        handshake: Handshake,
        format: &Format,
    ) -> Result<(Session, Outbox), ConnectError> {
        let inner = self.inner();
        if inner.is_draining() {
            return Err(ConnectError::Draining);
        }
        let mut place = inner.registry.enter(handshake.address)?;
        let admission = inner.admission(&handshake).await?;
        let client = ClientId::random();
        let shard = inner.next_shard();
        let outbox = Outbox::new(inner.outbox(client, shard, Some(format.clone())));
        let seat = Seat::new(inner.clone(), outbox.clone(), shard, handshake.transport);
        place.name(seat.clone());
        // Draining closes those that are known by their names: one that began during the admission may have missed this one.
        if inner.is_draining() {
            return Err(ConnectError::Draining);
        }
        let mut session = Session::new(seat, place, handshake);
        if let Admission::Accept(identity) = admission {
            session.admit(identity).await?;
        }
        Ok((session, outbox))
    }
}

impl super::Inner {
    /// Asks the policy; one that panics refuses.
    pub(crate) async fn admission(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        match AssertUnwindSafe(self.policies.root().connect(handshake)).catch_unwind().await {
            Ok(admission) => admission,
            Err(_) => {
                tracing::error!(target: "fanfare::policy", "the policy panicked in `connect`");
                Err(Refusal::new(ErrorCode::Internal, "the server failed to decide"))
            }
        }
    }
}
