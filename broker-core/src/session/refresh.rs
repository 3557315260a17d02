//! A new credential on a connection that stays.

use std::time::Duration;

use tokio::time::Instant;

use super::{CommandError, ErrorCode, Handshake, Reply, RequestId, serve::SessionState};
use crate::policy::Admission;

impl SessionState {
    pub(super) async fn refresh(&mut self, id: Option<RequestId>, token: String) {
        let reply = match self.admit_again(token).await {
            Ok(expires) => Reply::Refreshed { expires },
            Err(error) => error.into(),
        };
        self.reply(id, reply).await;
    }

    /// Asks the policy who brings the token, and, when it is the same user, what the client may do from now on.
    async fn admit_again(&mut self, token: String) -> Result<Option<Duration>, CommandError> {
        let Some(before) = self.seat.identity() else {
            return Err(CommandError::new(ErrorCode::Unauthenticated, "send `connect` first"));
        };
        let handshake = Handshake::new(self.seat.transport).with_token(token).refreshing(before.clone());
        let identity = match self.seat.broker.admission(&handshake).await? {
            Admission::Accept(identity) => identity,
            Admission::AwaitConnect => {
                return Err(CommandError::new(ErrorCode::Unauthenticated, "the token is not accepted"));
            }
        };
        if identity.user != before.user {
            let error = CommandError::new(ErrorCode::Forbidden, "the token is another user's");
            return Err(error.field("token"));
        }
        self.seat.admit(identity);
        // The new token may allow less than the old one did.
        self.seat.reauthorize().await;
        Ok(self.seat.expires().map(|at| at.saturating_duration_since(Instant::now())))
    }
}
