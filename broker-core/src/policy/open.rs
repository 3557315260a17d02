//! Everybody may do everything.

use async_trait::async_trait;

use super::{Action, Admission, Identity, Policy, Verdict};
use crate::session::{Handshake, Refusal};

/// Admits everybody, anonymously, and allows everything. For demonstrations,
/// and for servers that only trusted machines can reach.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open;

#[async_trait]
impl Policy for Open {
    async fn connect(&self, _: &Handshake) -> Result<Admission, Refusal> {
        Ok(Admission::Accept(Identity::anonymous()))
    }

    fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
        Verdict::allow()
    }
}
