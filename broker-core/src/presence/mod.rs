//! Who is there: presence.
//!
//! A topic that is [configured](crate::topic::TopicConfig::presence) to keeps presence: each client that is subscribed to it by its name, on
//! whichever node, is a member, unless its [grant](crate::policy::Grant::hidden) hides it. Clients that subscribe with `presence` are told who is
//! there and who comes and goes, any client may page through the list, and so may the app ([`Broker::presence`](crate::Broker::presence)). It works on every
//! backend: all it needs are control frames.
//!
//! # Who knows what
//!
//! An entry says "this client is there, and this is said of it". It has one writer: the node that has the client's connection. So entries of
//! one node never conflict, and what the nodes keep is a union of sets that each has a single author. That is the simplest case of the
//! observed-remove set without tombstones (ORSWOT; Bieniusa et al., *An optimized conflict-free replicated set*, 2012), which Phoenix.Tracker
//! uses for the same purpose: there, too, a version vector says how much of each replica's additions and removals is known, so that what is known
//! and not there has been removed, and no removal need be remembered. With one writer for each node's part the vector's entry is one number: that of
//! the node's last frame in which the topic changed. A node's name is one run of one process, so an entry never outlives its writer unnoticed.
//!
//! A topic is known on the nodes that *serve* it, which have a member or a watcher of it, or were asked for it within 5 s, and on no other.
//!
//! - *Changes.* A node gathers for 50 ms what changes among its clients and broadcasts it in frames with consecutive numbers. Who does not serve a topic
//!   passes over it. Each change is the client's new state, so applying one twice does no harm.
//! - *Holes.* Whoever sees a number that does not follow has lost frames, and asks the sender for the topics that it serves, naming the version it has of
//!   each; what has not changed is answered in a word. The heartbeats of the [cluster](crate::backend) carry the last number, so that a
//!   lost frame is noticed although none follows: within one heartbeat. This is the delta approach of delta-state CRDTs (Almeida et al., 2014): deltas where
//!   they are consecutive, the state itself where they are not.
//! - *Beginning.* A node that begins to serve a topic asks all the others. The first snapshot waits for their answers, or for 1 s; what comes later comes as changes.
//! - *Away.* Membership is by heartbeat, as in SWIM but without its indirect probes: all nodes hear each other by way of one backend, and
//!   where that does not carry a heartbeat it would not carry a probe. When a node is away its entries are void, at once and on each node by itself; were it only cut
//!   off, it is asked as any node that comes up. So two halves of a cluster that did not hear each other agree again when they do.
//! - *Moving.* A client that takes up its session on another node is there twice for a while, and is one member: the later word is shown. The node that lost it keeps
//!   it for a whole grace after it hears of it elsewhere, so that it is gone nowhere before it is known everywhere; when it leaves there for good, it lets go at once.
//!   What the app has said of it stands in its entry as such: its new node takes it over, in place of what is granted there.
//! - *Stopping.* A node that stops says so, and its members have the grace to come back on another one.
//!
//! Centrifugo keeps presence in Redis, with a time to live that each node renews for each of its clients; that needs no replication, costs writes for as long as clients are
//! connected, and knows a death after the time to live (60 s). Join and leave messages are apart from it there, so that a list and what changes it can disagree. Here
//! they are one: a watcher's list is what a snapshot and the changes after it make, or the model finds out.
//!
//! # What watchers are told
//!
//! What a member was before and what it is now is compared when watchers are told, not when something arrives: who comes and goes in between is not told, nobody joins
//! twice or leaves without having been there. Events have numbers, and take the way of all messages, over a topic of this node alone: encoded once for
//! each wire format, fair to other topics, bounded. A snapshot is as of the last event, shared by all who begin before the next, and handed over by the watcher's
//! shard in the order of events. Where a watcher's queue is full it is emptied, and the watcher begins with a snapshot again: there are no gaps.
//!
//! What is told in a room grows with the square of its size. So changes are gathered longer the more members there are (50 ms and half a millisecond
//! for each member, up to 1 s), and beyond [`listed_members`](PresenceConfig::listed_members) watchers are told the counts alone, once a second.
//!
//! # What it costs
//!
//! A change costs the size of the change: a place in an ordered map, some 30 bytes and what is said of the member on the wire, once for all nodes. A member takes 160 to
//! 190 bytes on each node that serves its topic (measured with 200,000 members of as many users), and 60 more on its own, beside what is said of it. A watcher
//! takes what another subscription of its connection would.
//!
//! # How it is built
//!
//! `room.rs` what is known of one topic, and what watchers know of that; `replica/` one node's knowledge of all topics, without a clock, a lock
//! or a network; `wire.rs` what nodes tell each other; `model/` thousands of random lives of a cluster against it; `service.rs` the replica in the
//! broker; `watchers.rs` who watches on this node; `handle.rs` and `update.rs` what the app asks for.

mod config;
mod event;
mod handle;
mod member;
#[cfg(all(test, not(loom)))]
mod model;
mod replica;
mod room;
mod service;
#[cfg(all(test, not(loom)))]
mod tests;
mod update;
mod watchers;
mod wire;

pub use config::PresenceConfig;
pub(crate) use event::{event_of, is_event_topic};
pub use handle::{PresenceError, TopicPresence, WatchPresence};
pub use member::{Member, PresenceChanges, PresenceCounts, PresenceEvent, PresencePage};
pub(crate) use service::{Behind, Presence};
