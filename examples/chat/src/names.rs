//! Who is who, and who may do what.

use async_trait::async_trait;
use fanfare::{
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{Handshake, Refusal},
    topic::TopicPattern,
};

/// The longest name: characters.
const LONGEST: usize = 24;

/// Believes everybody who says a name: the name is the token, and there is no password. So whoever says "Ann" is Ann, and reads what is
/// meant for her. An app of yours looks at a session's cookie or at a signed token here, and nothing else changes.
pub(crate) struct Names {
    lines: TopicPattern,
    typing: TopicPattern,
}

impl Names {
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Self { lines: "chat.*".parse()?, typing: "typing.*".parse()? })
    }
}

#[async_trait]
impl Policy for Names {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        match handshake.credential() {
            Some(name) if is_name(name) => Ok(Admission::Accept(Identity::user(name))),
            Some(_) => Err(Refusal::unauthenticated(format!("a name has 1 to {LONGEST} characters"))),
            None => Ok(Admission::AwaitConnect),
        }
    }

    /// Everybody may read and write in every room, and see who is there; nobody anything else. Nobody writes to a user by publishing to an address:
    /// that is what the method `whisper` is for, which says whether anybody was there.
    fn authorize<'a>(&'a self, _: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        let allowed = match action {
            Action::Subscribe(topic) | Action::Publish(topic) => {
                self.lines.matches(topic) || self.typing.matches(topic)
            }
            Action::History(topic) | Action::Presence(topic) => self.lines.matches(topic),
            Action::Call(method) => method.as_str() == "whisper",
            _ => false,
        };
        if allowed {
            Verdict::allow()
        } else {
            Verdict::deny(Refusal::forbidden("there are rooms here, and no more"))
        }
    }
}

/// A name as people have them, so that two that look alike are one.
fn is_name(name: &str) -> bool {
    (1..=LONGEST).contains(&name.chars().count())
        && name.split(' ').all(|word| !word.is_empty())
        && !name.chars().any(|char| char.is_control() || (char.is_whitespace() && char != ' '))
}
