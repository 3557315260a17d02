//! Who may do what.

use async_trait::async_trait;
use fanfare::{
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{Handshake, Refusal},
    topic::{Address, InvalidTopic, Json, Topic, TopicName},
};
use serde::{Deserialize, Serialize};

/// What is kept for a user: `notify.NAME`. The name may hold anything: it is escaped.
pub(crate) struct Inbox<'a>(pub(crate) &'a str);

/// Something that a user is told.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Note {
    pub(crate) text: String,
}

impl Topic for Inbox<'_> {
    type Payload = Note;
    type Codec = Json;

    fn name(&self) -> Result<TopicName, InvalidTopic> {
        TopicName::join(["notify", self.0])
    }
}

/// Believes everybody who says a name. An app of yours looks at a session's cookie or at a token here, and nothing else changes.
pub(crate) struct Everybody;

#[async_trait]
impl Policy for Everybody {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        match handshake.credential() {
            Some(name) if (1..=40).contains(&name.chars().count()) => {
                Ok(Admission::Accept(Identity::user(name)))
            }
            Some(_) => Err(Refusal::unauthenticated("a name has 1 to 40 characters")),
            None => Ok(Admission::AwaitConnect),
        }
    }

    fn authorize<'a>(&'a self, who: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        let user = who.user.as_deref().unwrap_or_default();
        let is_own = match action {
            Action::Subscribe(topic) | Action::History(topic) => Inbox(user).name().as_ref() == Ok(topic),
            // What one tab has to tell the others of the same user: what has been read.
            Action::PublishTo(Address::User(to)) => **to == *user,
            _ => false,
        };
        if is_own { Verdict::allow() } else { Verdict::deny(Refusal::forbidden("this is somebody else's")) }
    }
}
