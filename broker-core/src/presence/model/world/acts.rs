//! What befalls clients and nodes.

use std::time::Duration;

use super::{GRACE, Packet, TOPICS, World};
use crate::{
    presence::{
        model::{truth::Place, watcher::Watcher},
        room::Info,
    },
    session::ClientId,
};

impl World {
    fn any_node(&mut self) -> Option<usize> {
        let nodes: Vec<_> = self.nodes.keys().copied().collect();
        self.rng.choice(nodes)
    }

    fn any_client(&mut self) -> Option<(usize, ClientId, Place)> {
        let all: Vec<_> = self.truth.all().map(|(t, c, p)| (t, c, p.clone())).collect();
        self.rng.choice(all)
    }

    pub(super) fn act(&mut self) {
        self.truth.lapse(self.now);
        self.stamp += 1;
        match self.rng.u8(..100) {
            0..25 => self.join(),
            25..35 => self.leave_one(),
            35..45 => self.lose_one(),
            45..57 => self.resume_one(),
            57..65 => self.update_one(),
            65..75 => self.watch(),
            75..79 => self.unwatch(),
            79..84 => self.overflow(),
            84..86 => self.ask(),
            86..88 if self.nodes.len() < 5 => self.start(),
            88..90 => self.stop(),
            90..93 if !self.is_calm => self.crash(),
            93..97 if !self.is_calm => self.cut(),
            97..100 => self.mend(),
            _ => {}
        }
    }

    fn info(&mut self, client: ClientId) -> (Option<String>, Option<String>) {
        let user = (!client.value().is_multiple_of(3)).then(|| format!("user{}", client.value() % 4));
        let mut meta = (self.is_wordy || self.rng.bool()).then(|| self.rng.u8(..).to_string());
        if self.is_wordy
            && let Some(meta) = &mut meta
        {
            meta.push_str(&" ".repeat(15_000));
        }
        (user, meta)
    }

    fn put(&mut self, node: usize, topic: usize, client: ClientId, said: (Option<String>, Option<String>)) {
        let (user, meta) = said;
        let info = Info { user: user.as_deref().map(Into::into), meta: meta.as_deref().map(Into::into) };
        if let Some(there) = self.nodes.get_mut(&node) {
            there.replica.join(&self.topics[topic], self.config, client, info, self.stamp, self.now);
            let place = Place { node, user, meta, lost_until: None };
            self.truth.put(topic, client, place, self.now);
        }
        self.work(node);
    }

    fn join(&mut self) {
        let Some(node) = self.any_node() else { return };
        let client = ClientId::new(self.next_client);
        self.next_client += 1;
        let topic = self.rng.usize(..TOPICS);
        let said = self.info(client);
        self.put(node, topic, client, said);
    }

    fn leave_one(&mut self) {
        let Some((topic, client, place)) = self.any_client().filter(|(.., p)| p.lost_until.is_none()) else {
            return;
        };
        if let Some(node) = self.nodes.get_mut(&place.node) {
            node.replica.leave(&self.topics[topic], client, self.now);
        }
        self.truth.remove(topic, client, self.now);
        self.work(place.node);
    }

    fn lose_one(&mut self) {
        let Some((topic, client, place)) = self.any_client() else { return };
        self.lose(topic, client, place);
    }

    fn lose(&mut self, topic: usize, client: ClientId, mut place: Place) {
        if place.lost_until.is_some() {
            return;
        }
        if let Some(node) = self.nodes.get_mut(&place.node) {
            node.replica.lose(&self.topics[topic], client, self.now);
        }
        let node = place.node;
        place.lost_until = Some(self.now + GRACE);
        self.truth.put(topic, client, place, self.now);
        self.work(node);
    }

    /// A client comes back, on any node, in time; or moves without having been seen to be lost.
    fn resume_one(&mut self) {
        let (Some((topic, client, place)), Some(node)) = (self.any_client(), self.any_node()) else { return };
        if place.lost_until.is_some_and(|until| until < self.now + Duration::from_millis(300)) {
            return;
        }
        self.lose(topic, client, place.clone());
        let said = if self.rng.bool() { (place.user, place.meta) } else { self.info(client) };
        self.put(node, topic, client, said);
    }

    fn update_one(&mut self) {
        let Some((topic, client, place)) = self.any_client().filter(|(.., p)| p.lost_until.is_none()) else {
            return;
        };
        let said = self.info(client);
        self.put(place.node, topic, client, said);
    }

    fn watch(&mut self) {
        let Some(index) = self.any_node() else { return };
        let topic = self.rng.usize(..TOPICS);
        if let Some(node) = self.nodes.get_mut(&index) {
            node.replica.watch(&self.topics[topic], self.config, self.now);
            node.watchers.entry(topic).or_default().push(Watcher::default());
        }
        self.work(index);
        self.serve_waiting(index, topic);
    }

    fn unwatch(&mut self) {
        let Some(index) = self.any_node() else { return };
        let topic = self.rng.usize(..TOPICS);
        if let Some(node) = self.nodes.get_mut(&index)
            && node.watchers.get_mut(&topic).and_then(Vec::pop).is_some()
        {
            node.replica.unwatch(&self.topics[topic], self.now);
        }
    }

    /// A watcher has not read for too long: it needs a fresh snapshot, and may wait for it.
    fn overflow(&mut self) {
        let Some(index) = self.any_node() else { return };
        let topic = self.rng.usize(..TOPICS);
        let node = self.nodes.get_mut(&index);
        if let Some(watcher) = node.and_then(|node| node.watchers.get_mut(&topic)?.last_mut()) {
            watcher.knows = None;
        }
        if self.rng.bool() {
            self.serve_waiting(index, topic);
        }
    }

    fn ask(&mut self) {
        let Some(index) = self.any_node() else { return };
        let topic = self.rng.usize(..TOPICS);
        if let Some(node) = self.nodes.get_mut(&index) {
            node.replica.hold(&self.topics[topic], self.config, self.now);
        }
        self.work(index);
    }

    /// A node dies without a word, and its clients with it.
    fn crash(&mut self) {
        let Some(index) = self.any_node().filter(|_| self.nodes.len() > 1) else { return };
        self.nodes.remove(&index);
        let dead: Vec<_> =
            self.truth.all().filter(|(.., p)| p.node == index).map(|(t, c, _)| (t, c)).collect();
        for (topic, client) in dead {
            self.truth.remove(topic, client, self.now);
        }
    }

    /// A node stops in good order: its clients come back elsewhere, or do not.
    fn stop(&mut self) {
        let Some(index) = self.any_node().filter(|_| self.nodes.len() > 1) else { return };
        if let Some(node) = self.nodes.get_mut(&index) {
            node.replica.goodbye();
        }
        self.work(index);
        let others: Vec<_> = self.nodes.keys().copied().filter(|other| *other != index).collect();
        for other in &others {
            self.send(index, *other, Packet::Goodbye);
        }
        self.nodes.remove(&index);
        self.stopped_at = Some(self.now);
        let mut clients = Vec::new();
        let until = self.now + GRACE;
        for (topic, client, place) in self.truth.mut_all().filter(|(.., place)| place.node == index) {
            place.lost_until = Some(place.lost_until.map_or(until, |held| held.max(until)));
            clients.push((topic, client, place.user.clone(), place.meta.clone()));
        }
        for (topic, client, user, meta) in clients {
            if self.rng.bool()
                && let Some(node) = self.rng.choice(&others).copied()
            {
                self.put(node, topic, client, (user, meta));
            }
        }
    }

    fn cut(&mut self) {
        let (Some(a), Some(b)) = (self.any_node(), self.any_node()) else { return };
        self.cuts.push((a, b));
        if self.rng.bool() {
            self.cuts.push((b, a));
        }
    }

    fn mend(&mut self) {
        if !self.cuts.is_empty() {
            let index = self.rng.usize(..self.cuts.len());
            self.cuts.swap_remove(index);
        }
    }
}
