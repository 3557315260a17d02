//! Who is who: a client is named by its address, and what begins with `members` is for those who show a token.

use async_trait::async_trait;
use fanfare::{
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{Handshake, Refusal},
};

/// What a member shows, in a header, a cookie or the query.
const TOKEN: &str = "open-sesame";

pub(crate) struct Visitors;

struct Member;

#[async_trait]
impl Policy for Visitors {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        let address = handshake.address.map_or("nowhere".to_owned(), |address| address.to_string());
        let visitor = Identity::user(address);
        Ok(Admission::Accept(match handshake.credential() {
            None => visitor,
            Some(token) if token == TOKEN => visitor.with_data(Member),
            Some(_) => return Err(Refusal::unauthenticated("this is not the token")),
        }))
    }

    fn authorize<'a>(&'a self, who: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        let topic = match action {
            Action::Subscribe(topic) | Action::Publish(topic) | Action::History(topic) => topic.as_str(),
            _ => return Verdict::deny(Refusal::forbidden("no patterns here")),
        };
        if topic.starts_with("members.") && who.data::<Member>().is_none() {
            return Verdict::deny(Refusal::forbidden("members only"));
        }
        Verdict::allow()
    }
}
