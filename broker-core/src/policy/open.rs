//! Everybody may do everything.

use async_trait::async_trait;

use super::{Action, Admission, Identity, Policy, Verdict};
use crate::{
    session::{Handshake, Refusal},
    topic::Address,
};

/// Admits everybody, anonymously, and allows everything but to publish to all connections at once, `$all`. For demonstrations,
/// and for servers that only trusted machines can reach.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

#[async_trait]
impl Policy for Open {
    async fn connect(&self, _: &Handshake) -> Result<Admission, Refusal> {
        Ok(Admission::Accept(Identity::anonymous()))
    }

    fn authorize<'a>(&'a self, _: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        match action {
            Action::PublishTo(Address::All) => {
                Verdict::deny(Refusal::forbidden("clients do not publish to everybody"))
            }
            _ => Verdict::allow(),
        }
    }
}
