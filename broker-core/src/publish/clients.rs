//! Publishing to the clients that an app has chosen.

use super::{Publish, PublishError};
use crate::{
    clients::Clients,
    cluster::clients::Condition,
    message::Payload,
    topic::{Address, InvalidTopic, Topic, TopicName},
};

impl Clients {
    /// Publishes a message to the clients, on all nodes: await the result. See [`Publish`].
    ///
    /// ```
    /// # use fanfare_core::{Broker, policy::Open, session::ClientId};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let broker = Broker::builder().policy(Open).start().await?;
    /// # let this_tab = ClientId::new(1);
    /// broker.clients().user("ann").except(this_tab).publish("read in another tab").event("read").await?;
    /// broker.clients().publish("we close in ten minutes").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// It is the same as publishing to the [`Address`] of one client, of a user or of all, with [`Publish::except`]. To the clients of a
    /// topic it is publishing to the topic: those who are subscribed to it by a pattern get it as well, and a log keeps it.
    ///
    /// # Errors
    ///
    /// When it is awaited: [`PublishError::Unsupported`] for what is no address, more than one of client, user and topic, or
    /// [`local`](Self::local); and all others.
    pub fn publish(self, payload: impl Into<Payload>) -> Publish {
        let Self { broker, selection, is_local, .. } = self;
        let (mut to, mut except, mut several) = (None, Vec::new(), is_local);
        let mut meant = |name: Result<TopicName, InvalidTopic>| several |= to.replace(name).is_some();
        let conditions = selection.map(|selection| selection.conditions);
        let invalid = conditions.as_ref().err().cloned();
        for condition in conditions.into_iter().flatten() {
            match condition {
                Condition::Client(client) => meant(Address::client(client).name()),
                Condition::User(user) => meant(Address::user(user).name()),
                Condition::Topic(topic) => meant(Ok(topic)),
                Condition::Except(client) => except.push(client),
            }
        }
        let to = invalid.map_or_else(|| to.unwrap_or_else(|| Address::All.name()), Err);
        let payload = if several {
            let reason = "publish to one client, one user, one topic or all clients, on all nodes";
            Err(PublishError::Unsupported { field: "topic", reason })
        } else {
            Ok(payload.into())
        };
        except.into_iter().fold(Publish::new(broker, to, payload), Publish::except)
    }
}
