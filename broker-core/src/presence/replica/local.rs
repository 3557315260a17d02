//! The clients of this node.

use tokio::time::Instant;

use super::{Replica, Timer, rooms::Own};
use crate::{
    backend::NodeId,
    presence::{
        PresenceConfig,
        room::{Entry, Info},
        wire::Word,
    },
    session::ClientId,
    topic::TopicName,
};

impl Replica {
    /// A client of this node is there; also one that was lost and is back. `info` is what is granted; what the app has said of it since
    /// it came goes before that. `stamp` is the time, milliseconds since 1970.
    pub(crate) fn join(
        &mut self,
        topic: &TopicName,
        config: PresenceConfig,
        client: ClientId,
        info: Info,
        stamp: u64,
        now: Instant,
    ) {
        let room = self.open(topic, config, now);
        let was = room.own.insert(client, Own::Here);
        self.forget_grace(topic, client, was);
        self.say(topic, client, info, false, stamp, now);
    }

    /// The app says something else of a client of this node, if it is there.
    pub(crate) fn update(
        &mut self,
        topic: &TopicName,
        client: ClientId,
        info: Info,
        stamp: u64,
        now: Instant,
    ) -> bool {
        let is_own = self.rooms.get(topic).is_some_and(|room| room.own.contains_key(&client));
        if is_own {
            self.say(topic, client, info, true, stamp, now);
        }
        is_own
    }

    /// Another node speaks of a client that is here now: what the app has said of it there goes on to be shown.
    pub(super) fn inherit(&mut self, topic: &TopicName, client: ClientId, now: Instant) {
        let Some(room) = self.rooms.get(topic) else { return };
        let (Some(Own::Here), Some(held), Some(amended)) =
            (room.own.get(&client), room.members.said_by(self.node, client), room.members.amended(client))
        else {
            return;
        };
        if !held.is_amended || held.info.meta != amended.info.meta {
            let (info, stamp) = (held.info.clone(), held.stamp);
            self.say(topic, client, info, false, stamp, now);
        }
    }

    fn say(
        &mut self,
        topic: &TopicName,
        client: ClientId,
        mut info: Info,
        mut is_amended: bool,
        stamp: u64,
        now: Instant,
    ) {
        let Some(room) = self.rooms.get(topic) else { return };
        if !is_amended && let Some(amended) = room.members.amended(client) {
            info.meta.clone_from(&amended.info.meta);
            is_amended = true;
        }
        let shown = room.members.shown(client);
        let is_own = |shown: &Entry| shown.owner == self.node;
        if shown.is_some_and(|shown| is_own(shown) && shown.info == info && shown.is_amended == is_amended) {
            return;
        }
        // A later word is later, whatever the clocks say.
        let stamp = shown.map_or(stamp, |shown| stamp.max(shown.stamp.saturating_add(1)));
        let entry = Entry { owner: self.node, stamp, info, is_amended };
        self.set(topic, self.node, client, Some(entry.clone()), now);
        self.tell_others(topic, client, Word::There(entry), now);
    }

    /// What this node says of a client of its own.
    pub(crate) fn own_info(&self, topic: &TopicName, client: ClientId) -> Option<&Info> {
        let room = self.rooms.get(topic).filter(|room| room.own.contains_key(&client))?;
        room.members.said_by(self.node, client).map(|entry| &entry.info)
    }

    /// A client of this node has gone for good.
    pub(crate) fn leave(&mut self, topic: &TopicName, client: ClientId, now: Instant) {
        self.remove(topic, client, Word::Left, now);
    }

    fn remove(&mut self, topic: &TopicName, client: ClientId, word: Word, now: Instant) {
        let Some(was) = self.rooms.get_mut(topic).and_then(|room| room.own.remove(&client)) else { return };
        self.forget_grace(topic, client, Some(was));
        self.set(topic, self.node, client, None, now);
        self.tell_others(topic, client, word, now);
        self.close_if_unused(topic, now);
    }

    /// The connection of a client of this node was lost: it may come back, here or elsewhere.
    pub(crate) fn lose(&mut self, topic: &TopicName, client: ClientId, now: Instant) {
        let Some(room) = self.rooms.get_mut(topic) else { return };
        let until = now + room.config.grace_period();
        if let Some(own @ Own::Here) = room.own.get_mut(&client) {
            *own = Own::Lost(until);
            self.timers.insert((until, Timer::Grace(topic.clone(), client)));
        }
    }

    pub(super) fn grace_is_over(&mut self, topic: &TopicName, client: ClientId, now: Instant) {
        let own = self.rooms.get(topic).and_then(|room| room.own.get(&client));
        // The timer of one that is back, or has another grace, has been taken out.
        if matches!(own, Some(Own::Lost(_))) {
            self.remove(topic, client, Word::Lapsed, now);
        }
    }

    /// Another node says something of a client that may have been lost here. One that is there now stays this node's as
    /// well for another grace, so that nobody sees it leave before the other node's word has reached everybody; one that has
    /// left there is not waited for.
    pub(super) fn heard_elsewhere(
        &mut self,
        topic: &TopicName,
        client: ClientId,
        from: NodeId,
        word: &Word,
        now: Instant,
    ) {
        let Some(room) = self.rooms.get_mut(topic) else { return };
        let until = now + room.config.grace_period();
        let is_news = room.members.said_by(from, client).is_none();
        let Some(own @ Own::Lost(_)) = room.own.get_mut(&client) else { return };
        match word {
            Word::There(_) if is_news => {
                let was = std::mem::replace(own, Own::Lost(until));
                self.forget_grace(topic, client, Some(was));
                self.timers.insert((until, Timer::Grace(topic.clone(), client)));
            }
            Word::Left => self.remove(topic, client, Word::Lapsed, now),
            Word::There(_) | Word::Lapsed => {}
        }
    }

    fn forget_grace(&mut self, topic: &TopicName, client: ClientId, was: Option<Own>) {
        if let Some(Own::Lost(until)) = was {
            self.timers.remove(&(until, Timer::Grace(topic.clone(), client)));
        }
    }
}
