//! A policy that refuses in every way.

use std::time::Duration;

use async_trait::async_trait;
use fanfare_core::{
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{Handshake, Refusal},
};

/// Knows the tokens `ann` and `bob`, and `brief`, which soon expires; without one it waits for `connect`. `secret` is closed to all.
pub(crate) struct Tokens;

#[async_trait]
impl Policy for Tokens {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        match handshake.credential() {
            None => Ok(Admission::AwaitConnect),
            Some("brief") => {
                Ok(Admission::Accept(Identity::user("eve").expires_in(Duration::from_millis(200))))
            }
            Some(user @ ("ann" | "bob")) => Ok(Admission::Accept(Identity::user(user))),
            Some("mallory") => Err(Refusal::forbidden("you are known here")),
            Some(_) => Err(Refusal::unauthenticated("no such token")),
        }
    }

    fn authorize<'a>(&'a self, _: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        match action {
            Action::Subscribe(topic) | Action::Publish(topic) if topic.as_str() == "secret" => {
                Verdict::deny(Refusal::forbidden("this is closed"))
            }
            _ => Verdict::allow(),
        }
    }
}
