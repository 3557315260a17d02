//! Asking the policy.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::{CommandError, ErrorCode, Refusal};
use crate::{
    broker::Inner,
    policy::{Action, Grant, Identity, Verdict},
};

/// Asks the policy; one that panics refuses. System topics are not the clients'.
pub(in crate::session) async fn authorize(
    broker: &Inner,
    identity: &Identity,
    action: Action<'_>,
) -> Result<Grant, CommandError> {
    let is_system = match action {
        Action::Subscribe(topic)
        | Action::Publish(topic)
        | Action::History(topic)
        | Action::Presence(topic) => topic.is_system(),
        Action::Call(method) => method.is_system(),
        Action::SubscribePattern(pattern) => pattern.as_str().starts_with('$'),
        Action::PublishTo(_) | Action::Keep(_) | Action::KeepPattern(_) => false,
    };
    let field = if matches!(action, Action::Call(_)) { "method" } else { "topic" };
    if is_system {
        let error = CommandError::new(ErrorCode::Forbidden, "names that begin with `$` are the system's");
        return Err(error.field(field));
    }
    let decide = async {
        let mut granted: Option<Grant> = None;
        for policy in broker.policies.of(action) {
            let grant = match policy.authorize(identity, action) {
                Verdict::Now(verdict) => verdict?,
                Verdict::Later(verdict) => verdict.await?,
            };
            granted = Some(match granted {
                Some(before) => before.and(grant),
                None => grant,
            });
        }
        Ok(granted.unwrap_or_default())
    };
    match AssertUnwindSafe(decide).catch_unwind().await {
        Ok(verdict) => verdict.map_err(|refusal: Refusal| CommandError::from(refusal).field(field)),
        Err(_) => {
            tracing::error!(target: "fanfare::policy", "the policy panicked in `authorize`");
            Err(CommandError::new(ErrorCode::Internal, "the server failed to decide"))
        }
    }
}
