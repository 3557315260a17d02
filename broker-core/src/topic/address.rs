//! Addresses: for whom a message is, rather than what it is about.

use std::sync::Arc;

use super::{InvalidTopic, Raw, Topic, TopicName, escape};
use crate::{message::Payload, session::ClientId};

/// For whom a message is: one connection, all connections of a user, or everybody, on whichever nodes they are.
///
/// An address is published to as a topic is, and as little is kept of it as of an ephemeral one: who is connected gets the
/// message, once, whatever it is subscribed to. Nobody subscribes to an address. As text it is a name of the system's:
///
/// | address | name |
/// | --- | --- |
/// | one connection | `$client.ID`, as [`ClientId`] is written |
/// | all connections of a user | `$user.NAME`, the name escaped as by [`TopicName::join`] |
/// | all connections | `$all` |
///
/// ```
/// # use fanfare_core::{Broker, policy::Open, topic::Address};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let broker = Broker::builder().policy(Open).start().await?;
/// broker.publish("$user.ann", "your table is ready").await?;
/// // Names that come from elsewhere are escaped:
/// broker.publish(&Address::user("ann.lee@example.com"), "your table is ready").event("table").await?;
/// broker.publish("$all", "we close in ten minutes").await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// One connection.
    Client(ClientId),
    /// All connections of the user of this name: [`Identity::user`](crate::policy::Identity::user).
    User(Arc<str>),
    /// All connections.
    All,
}

const NODES: &str = "$nodes";

const DIRECT: &str = "$direct";
/// In front of a topic's name: what the watchers of its presence are told on this node.
const PRESENCE: &str = "$presence";

const ALL: &str = "$all";
const USER: &str = "$user";
const CLIENT: &str = "$client";

impl Address {
    /// All connections of a user.
    pub fn user(name: impl Into<Arc<str>>) -> Self {
        Self::User(name.into())
    }

    /// One connection.
    #[must_use]
    pub const fn client(id: ClientId) -> Self {
        Self::Client(id)
    }

    /// The address that a topic's name is, if it is one.
    #[must_use]
    pub fn of(name: &TopicName) -> Option<Self> {
        if !name.is_system() {
            return None;
        }
        match name.as_str().split_once('.') {
            None => (name.as_str() == ALL).then_some(Self::All),
            Some((USER, user)) => TopicName::unescape_segment(user).ok().map(|user| Self::User(user.into())),
            Some((CLIENT, id)) => id.parse().ok().map(Self::Client),
            Some(_) => None,
        }
    }

    /// Whether a name is kept for addresses and what belongs to them: as a topic it is of no use.
    pub(crate) fn is_reserved(name: &TopicName) -> bool {
        let first = name.as_str().split('.').next().unwrap_or_default();
        [ALL, USER, CLIENT, NODES, DIRECT, PRESENCE].contains(&first)
    }
}

impl TopicName {
    /// The topic of what nodes carry for each other.
    pub(crate) fn nodes() -> Self {
        Self::from_checked(NODES.into())
    }

    /// The topic on which this node's watchers are told who is there on another one. It may be longer than other names: nobody
    /// else reads it.
    pub(crate) fn of_presence(topic: &Self) -> Self {
        Self::from_checked(format!("{PRESENCE}.{topic}").into())
    }

    /// What losses of messages to a connection are told of.
    pub(crate) fn direct() -> Self {
        Self::from_checked(DIRECT.into())
    }
}

impl From<ClientId> for Address {
    fn from(id: ClientId) -> Self {
        Self::Client(id)
    }
}

impl Topic for Address {
    type Payload = Payload;
    type Codec = Raw;

    fn name(&self) -> Result<TopicName, InvalidTopic> {
        let name = match self {
            Self::All => ALL.to_owned(),
            Self::Client(id) => format!("{CLIENT}.{id}"),
            Self::User(user) => {
                let mut name = format!("{USER}.");
                let len = name.len() + escape::escaped_len(user, false);
                if len > TopicName::MAX_LEN {
                    return Err(InvalidTopic::TooLong { limit: TopicName::MAX_LEN, len });
                }
                escape::escape_into(user, false, &mut name);
                name
            }
        };
        Ok(TopicName::from_checked(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> TopicName {
        TopicName::new(text).unwrap()
    }

    #[test]
    fn an_address_survives_its_name() {
        let id = ClientId::new(0x1234_5678_9abc_def0);
        for address in [Address::All, Address::client(id), Address::user("ann"), Address::user("")] {
            assert_eq!(Address::of(&address.name().unwrap()), Some(address));
        }
        for user in ["a.b", "a b", "*", ">", "$all", "%", "ä\n", "all"] {
            let address = Address::user(user);
            let written = address.name().unwrap();
            assert_eq!(written.segments().count(), 2, "{user} adds no segment");
            assert_eq!(TopicName::new(written.as_str()), Ok(written.clone()), "{user} makes a legal name");
            assert_eq!(Address::of(&written), Some(address));
        }
        assert_eq!(Address::of(&name("$user.ann")), Some(Address::user("ann")));
        assert_eq!(Address::user("x".repeat(249)).name().unwrap().as_str().len(), 255);
        let too_long = InvalidTopic::TooLong { limit: 255, len: 256 };
        assert_eq!(Address::user("x".repeat(250)).name(), Err(too_long));
    }

    #[test]
    fn what_is_none_is_reserved() {
        let none = [
            "$all.x",
            "$user",
            "$user.a.b",
            "$user.%41",
            "$client",
            "$client.x",
            "$nodes",
            "$direct",
            "$presence.t",
        ];
        for text in none {
            assert_eq!(Address::of(&name(text)), None, "{text}");
            assert!(Address::is_reserved(&name(text)), "{text}");
        }
        for text in ["all", "user.ann", "$system.t", "$allx", "$userx.a"] {
            assert_eq!(Address::of(&name(text)), None, "{text}");
            assert!(!Address::is_reserved(&name(text)), "{text}");
        }
    }
}
