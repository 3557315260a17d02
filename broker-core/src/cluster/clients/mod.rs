//! What an app does to the clients of all nodes at once: [`Clients`].

mod carry_out;
mod order;
mod outcome;
mod parked;
mod selection;
mod wire;

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
#[cfg(all(test, loom))]
pub(crate) use carry_out::carry_out;
#[cfg(all(test, loom))]
pub(crate) use order::Order;
pub use outcome::{MemberInfo, Members, Reached};
pub(crate) use selection::{Condition, Selection};
pub(crate) use wire::{put_selection, read_selection};

#[cfg(not(all(test, loom)))]
use self::order::Order;
use self::outcome::{Listed, Tally};
use super::{Whom, questions};
use crate::{
    broker::{Broker, Inner},
    session::{ClientId, CloseReason},
    topic::{InvalidTopic, Topic, TopicPattern},
};

/// How many clients a list names at most, unless it is told otherwise.
const MOST_LISTED: usize = 10_000;

/// The clients of all nodes, or those of them that meet all conditions: what [`Broker::clients`] gives.
///
/// ```
/// # use fanfare_core::{Broker, policy::Open, session::{CloseKind, CloseReason}};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let broker = Broker::builder().policy(Open).start().await?;
/// // Who is in the room, whichever nodes they are connected to?
/// let members = broker.clients().topic("chat.lobby").list().await?;
/// println!("{} clients, {} of {} nodes have answered", members.total, members.answered, members.asked);
///
/// // Everybody in the room goes on in another one.
/// broker.clients().topic("chat.lobby").move_to("chat.lobby", "chat.garden").await?;
///
/// // Ann may no longer read what the staff says; and then has to go, with all her tabs.
/// broker.clients().user("ann").revoke("staff.>").await?;
/// broker.clients().user("ann").disconnect(CloseReason::new(CloseKind::Kicked)).await?;
/// # Ok(()) }
/// ```
///
/// # Which clients
///
/// Every condition narrows: `.user("ann").topic("chat.lobby")` are those connections of Ann's that are in the lobby. Meant are the clients that are connected
/// when a node carries the order out. A client that connects meanwhile may be missed, but for one that takes up a session of that node: to keep somebody out, let the
/// [policy](crate::policy::Policy) refuse first, and [`revoke`](Self::revoke) or [`disconnect`](Self::disconnect) then.
///
/// # Answered n of m
///
/// Each operation is carried out by each node at its own clients; this node's part needs no network. The result says how many nodes have answered and how
/// many were asked: all that were known to be up. It is ready as soon as each of them has answered or is known to be away, and after
/// [`within`](Self::within) at the latest. A node that has not answered may have done it all the same. Where no clients of other nodes are concerned, say
/// [`local`](Self::local).
///
/// # Errors
///
/// A topic or a pattern that cannot be one, before anything happens. What fails at single clients is counted in the result.
///
/// # Cancel safety
///
/// The other nodes are asked when the operation is first polled. Dropped after that, their part is done all the same, and this node's part
/// may be done for some of its clients and not for others; the same where a node has not finished within the time. A client that is being
/// moved may be left in both topics.
#[must_use = "nothing happens until an operation is called and awaited"]
#[derive(Clone)]
pub struct Clients {
    pub(crate) broker: Broker,
    pub(crate) selection: Result<Selection, InvalidTopic>,
    pub(crate) is_local: bool,
    pub(crate) within: Duration,
    limit: usize,
}

impl Clients {
    pub(crate) fn all(broker: Broker) -> Self {
        let within = broker.limits().backend_timeout;
        Self { broker, selection: Ok(Selection::default()), is_local: false, within, limit: MOST_LISTED }
    }

    /// Only the client of this name.
    pub fn client(self, client: ClientId) -> Self {
        self.narrow(Condition::Client(client))
    }

    /// Only the connections of this user: all its tabs and devices.
    pub fn user(self, user: impl Into<Arc<str>>) -> Self {
        self.narrow(Condition::User(user.into()))
    }

    /// Only clients that are subscribed to this topic by its name, whoever subscribed them. Who gets the topic's messages by a pattern alone is
    /// not meant.
    pub fn topic<T: Topic + ?Sized>(mut self, topic: &T) -> Self {
        match topic.name() {
            Ok(name) => self.narrow(Condition::Topic(name)),
            Err(error) => {
                self.selection = self.selection.and(Err(error));
                self
            }
        }
    }

    /// Not this client.
    pub fn except(self, client: ClientId) -> Self {
        self.narrow(Condition::Except(client))
    }

    /// Only clients of this node: nobody else is asked.
    pub fn local(mut self) -> Self {
        self.is_local = true;
        self
    }

    /// How long the operation waits for nodes that do not answer: [`Limits::backend_timeout`](crate::Limits::backend_timeout) unless set, ten minutes at
    /// most.
    pub fn within(mut self, time: Duration) -> Self {
        self.within = time;
        self
    }

    /// How many clients [`list`](Self::list) names at most: 10,000 unless set. They are counted all the same.
    pub fn limit(mut self, clients: usize) -> Self {
        self.limit = clients;
        self
    }

    fn narrow(mut self, condition: Condition) -> Self {
        if let Ok(selection) = &mut self.selection {
            selection.add(condition);
        }
        self
    }

    /// Lists the clients, in no order. In Socket.IO's words: `fetchSockets`.
    ///
    /// # Errors
    ///
    /// See [`Clients`].
    pub async fn list(self) -> Result<Members, InvalidTopic> {
        let limit = self.limit;
        let order = Order::List { limit: u32::try_from(limit).unwrap_or(u32::MAX) };
        let mut members = Members::default();
        let (answered, asked) = self
            .each(order, |node, mut answer| {
                let listed = Listed::decode(&mut answer, node).ok_or(Unreadable)?;
                members.total += listed.total;
                members.clients.extend(listed.clients);
                Ok(())
            })
            .await?;
        members.clients.truncate(limit);
        (members.answered, members.asked) = (answered, asked);
        Ok(members)
    }

    /// Counts the clients.
    ///
    /// # Errors
    ///
    /// See [`Clients`].
    pub async fn count(self) -> Result<Members, InvalidTopic> {
        self.limit(0).list().await
    }

    /// Subscribes the clients to a topic or a pattern, from now on; the policy is not asked. Each that was not subscribed to it is told by a frame
    /// `subscribed`, before the first message.
    ///
    /// # Errors
    ///
    /// See [`Clients`].
    pub async fn subscribe(self, topic: &str) -> Result<Reached, InvalidTopic> {
        let topic = TopicPattern::new(topic)?;
        self.order(Order::Subscribe(topic)).await
    }

    /// Ends the clients' subscriptions to exactly this topic or pattern. Each that was subscribed is told by a frame `unsubscribed`, after the last message.
    ///
    /// # Errors
    ///
    /// See [`Clients`].
    pub async fn unsubscribe(self, topic: &str) -> Result<Reached, InvalidTopic> {
        let topic = TopicPattern::new(topic)?;
        self.order(Order::Unsubscribe(topic)).await
    }

    /// Moves those of the clients that are subscribed to one topic (or pattern) to another: each is subscribed to the new one before it leaves the old one, so
    /// that it never misses what is said in both. One that cannot be subscribed to the new one stays.
    ///
    /// # Errors
    ///
    /// See [`Clients`].
    pub async fn move_to(self, from: &str, to: &str) -> Result<Reached, InvalidTopic> {
        let (from, to) = (TopicPattern::new(from)?, TopicPattern::new(to)?);
        self.order(Order::Move { from, to }).await
    }

    /// Ends the clients' connections. With a [kind](crate::session::CloseKind) of 40xx they know not to come back
    /// unchanged.
    ///
    /// From now on no command of theirs is served. What a node has published to them before, it still sends before
    /// the close frame, and nothing after it: `broker.publish("$user.ann", "You are banned.").await` and then this reaches those of Ann's clients that read. They
    /// have the transport's write timeout for all of it, and then the connection ends in any case. To clients of other nodes a message may take
    /// another way than this order, and come too late: what each of them has to be told goes into the
    /// [reason](crate::session::CloseReason::with_message).
    ///
    /// # Errors
    ///
    /// See [`Clients`].
    pub async fn disconnect(self, reason: impl Into<CloseReason>) -> Result<Reached, InvalidTopic> {
        self.order(Order::Disconnect(reason.into())).await
    }

    /// Takes back the right to read what a pattern matches: the clients' subscriptions within it end, those that are being made included, each told by a frame
    /// `unsubscribed` with code `revoked`. Subscriptions to patterns that reach beyond it are authorized anew, and end if the policy refuses them.
    /// So let the policy refuse first.
    ///
    /// # Errors
    ///
    /// See [`Clients`].
    pub async fn revoke(self, pattern: &str) -> Result<Reached, InvalidTopic> {
        let pattern = TopicPattern::new(pattern)?;
        self.order(Order::Revoke(pattern)).await
    }

    /// Asks the policy again for each subscription of the clients, and ends those that it refuses now, with code `revoked`: after rights
    /// have changed in ways that no pattern says.
    ///
    /// # Errors
    ///
    /// See [`Clients`].
    pub async fn reauthorize(self) -> Result<Reached, InvalidTopic> {
        self.order(Order::Reauthorize).await
    }

    async fn order(self, order: Order) -> Result<Reached, InvalidTopic> {
        let mut tally = Tally::default();
        let (answered, asked) = self
            .each(order, |_, mut answer| {
                tally.add(Tally::decode(&mut answer).ok_or(Unreadable)?);
                Ok(())
            })
            .await?;
        let Tally { clients, changed, failed } = tally;
        Ok(Reached { clients, changed, failed, answered, asked })
    }

    /// Has an order carried out, and takes the answers as they come. An answer that cannot be read is none.
    async fn each(
        self,
        order: Order,
        mut take: impl FnMut(crate::backend::NodeId, Bytes) -> Result<(), Unreadable>,
    ) -> Result<(usize, usize), InvalidTopic> {
        let question = wire::question(&self.selection?, &order);
        let inner = self.broker.inner();
        let whom = if self.is_local { Whom::Node(inner.node) } else { Whom::All };
        let mut asking = inner.cluster.ask(inner, whom, questions::CLIENTS, question, self.within);
        let mut unreadable = 0;
        while let Some((node, answer)) = asking.next().await {
            if take(node, answer).is_err() {
                tracing::warn!(target: "fanfare::core", %node, "an answer of another node that cannot be read");
                unreadable += 1;
            }
        }
        let (answered, asked) = asking.counts();
        Ok((answered - unreadable, asked))
    }
}

/// An answer in no known form.
struct Unreadable;

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clients")
            .field("selection", &self.selection)
            .field("is_local", &self.is_local)
            .finish_non_exhaustive()
    }
}

impl Broker {
    /// The clients of all nodes: to list them, to narrow them down, to do something to them. See [`Clients`].
    pub fn clients(&self) -> Clients {
        Clients::all(self.clone())
    }

    /// Who is subscribed to a topic by its name, on all nodes: [`Clients::list`] of [`Clients::topic`].
    ///
    /// # Errors
    ///
    /// When the topic can have no such name.
    pub async fn members<T: Topic + ?Sized>(&self, topic: &T) -> Result<Members, InvalidTopic> {
        self.clients().topic(topic).list().await
    }

    /// The name of this node: this run of this process.
    #[must_use]
    pub fn node(&self) -> crate::backend::NodeId {
        self.inner().node
    }

    /// The other nodes of the cluster that are known to be up, in no order.
    #[must_use]
    pub fn nodes(&self) -> Vec<crate::backend::NodeId> {
        self.inner().cluster.nodes().to_vec()
    }
}

/// Has this node carry out what is asked of it.
pub(super) fn register(cluster: &super::Cluster) {
    cluster.on_question(questions::CLIENTS, |broker: Arc<Inner>, _, question| async move {
        let (selection, order) = wire::read_question(question)?;
        Some(carry_out::carry_out(&broker, &selection, order).await)
    });
}
