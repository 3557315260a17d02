//! What a client knows of its subscriptions, and what came of what it published.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use fanfare::{
    message::{Gap, Message, Position},
    session::{Start, Subscribed},
};

use super::format::Connected;
use crate::soak::{
    ledger::{Fate, Wrong},
    nodes::Node,
    people::is_room,
    roster::Place,
    topics::{TOPICS, index},
    track::{Track, Wanted},
    uid::Uid,
    world::World,
};

/// The topic under which losses of what was addressed to a client are told.
const DIRECT: &str = "$direct";

/// What one connection knows.
pub(super) struct Books {
    world: Arc<World>,
    who: String,
    pub(super) client: String,
    node: Node,
    /// By topic.
    places: BTreeMap<String, Place>,
    /// What was asked for, by the number of the command.
    asked: HashMap<u64, Asked>,
    /// By topic.
    streams: HashMap<usize, u32>,
    /// Who is in the rooms that it watches.
    rooms: BTreeMap<String, BTreeSet<String>>,
}

enum Asked {
    Subscribe(Wanted),
    Unsubscribe(String),
    Publish(Uid),
    /// The answer has to be this.
    Call(String),
    Other,
}

impl Books {
    pub(super) fn new(world: &Arc<World>, who: &str, node: &Node) -> Self {
        Self {
            world: world.clone(),
            who: who.to_owned(),
            client: String::new(),
            node: node.clone(),
            places: BTreeMap::new(),
            asked: HashMap::new(),
            streams: HashMap::new(),
            rooms: BTreeMap::new(),
        }
    }

    /// The connection has its name and its addresses.
    pub(super) fn connected(&mut self, connected: &Connected, user: usize) -> Result<(), Wrong> {
        self.client.clone_from(&connected.client);
        self.world.people.came(&self.client);
        for name in ["$all".to_owned(), format!("$user.{user}")] {
            self.begin(live(&name), Subscribed::new(None, None), "by its connection")?;
        }
        Ok(())
    }

    /// The connection has the subscriptions that it asked for, and those of its session.
    pub(super) fn begun(&mut self, connected: &Connected, wanted: &[Wanted]) -> Result<(), Wrong> {
        for (name, outcome) in &connected.subscribed {
            let asked = wanted.iter().find(|wanted| wanted.name == *name);
            match outcome {
                Ok(outcome) => match asked {
                    Some(asked) => self.begin(asked.clone(), *outcome, "by connecting")?,
                    None if connected.resumed => self.begin_parked(name, *outcome)?,
                    None => return Err(format!("{name} was not asked for")),
                },
                Err(code) => self.world.counts.add(&format!("client subscribe: {code}")),
            }
        }
        Ok(())
    }

    /// What the server had subscribed it to, and brings back from a position that only the server knows.
    fn begin_parked(&mut self, name: &str, outcome: Subscribed) -> Result<(), Wrong> {
        let mut wanted = live(name);
        if let (Some(_), Some(position)) = (outcome.recovered, outcome.position) {
            wanted.start = Start::After(position);
        }
        let outcome = match outcome.recovered {
            // Where the gap is that comes is not known here.
            Some(false) => return self.begin_blind(wanted),
            _ => outcome,
        };
        self.begin(wanted, outcome, "by its session")
    }

    fn begin_blind(&mut self, wanted: Wanted) -> Result<(), Wrong> {
        self.world.counts.add("parked subscriptions with a gap");
        self.places.remove(&wanted.name);
        self.rooms.remove(&wanted.name);
        self.blind(&wanted.name);
        Ok(())
    }

    /// A subscription that is not looked at.
    fn blind(&mut self, name: &str) {
        self.rooms.insert(format!("blind {name}"), BTreeSet::new());
    }

    fn is_blind(&self, name: &str) -> bool {
        self.rooms.contains_key(&format!("blind {name}"))
    }

    fn begin(&mut self, wanted: Wanted, outcome: Subscribed, how: &str) -> Result<(), Wrong> {
        let since = self.world.ledger.tick();
        let track = Track::new(&wanted, outcome, since)?;
        let name = wanted.name.clone();
        let who = format!("{} as {}", self.who, self.client);
        let began = format!("on node {} (run {}) {how}, {outcome:?}", self.node.slot, self.node.run);
        self.rooms.remove(&format!("blind {name}"));
        self.places.insert(name.clone(), Place::take(&self.world, who, &wanted, track, began));
        if is_room(&name) {
            self.world.people.entered(&self.client, &name);
        }
        Ok(())
    }

    pub(super) fn asked_to_subscribe(&mut self, id: u64, wanted: Wanted) {
        self.asked.insert(id, Asked::Subscribe(wanted));
    }

    pub(super) fn asked_to_unsubscribe(&mut self, id: u64, name: &str) {
        self.asked.insert(id, Asked::Unsubscribe(name.to_owned()));
    }

    pub(super) fn asked_to_publish(&mut self, id: u64, uid: Uid) {
        self.asked.insert(id, Asked::Publish(uid));
    }

    pub(super) fn called(&mut self, id: u64, answer: String) {
        self.asked.insert(id, Asked::Call(answer));
    }

    pub(super) fn asked_else(&mut self, id: u64) {
        self.asked.insert(id, Asked::Other);
    }

    /// A message that is about to be published.
    pub(super) fn next(&mut self, topic: usize, key: Option<u8>) -> Option<Uid> {
        let ledger = &self.world.ledger;
        let stream = *self.streams.entry(topic).or_insert_with(|| ledger.open(topic, &self.node));
        ledger.begin(stream, key)
    }

    pub(super) fn subscribed(&mut self, id: u64, outcome: Subscribed) -> Result<(), Wrong> {
        match self.asked.remove(&id) {
            Some(Asked::Subscribe(wanted)) => self.begin(wanted, outcome, "by asking"),
            _ => Err(format!("{id} is answered as a subscribe")),
        }
    }

    pub(super) fn by_server(&mut self, name: &str, outcome: Subscribed) -> Result<(), Wrong> {
        self.world.counts.add("subscribed by the server");
        self.begin(live(name), outcome, "by the server")
    }

    pub(super) fn ended(&mut self, name: &str) {
        self.places.remove(name);
        self.rooms.remove(name);
        self.world.people.quit(&self.client, name);
        self.publish_rooms();
    }

    pub(super) fn done(&mut self, id: u64, at: Option<Position>) -> Result<(), Wrong> {
        match self.asked.remove(&id) {
            Some(Asked::Publish(uid)) => self.world.ledger.settle(uid, Fate::Accepted, at, true),
            Some(Asked::Unsubscribe(name)) => {
                self.ended(&name);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn answered(&mut self, id: u64, answer: Option<&str>) -> Result<(), Wrong> {
        self.world.counts.add("calls to the server");
        match self.asked.remove(&id) {
            Some(Asked::Call(wanted)) if answer == Some(&wanted) => Ok(()),
            Some(Asked::Call(wanted)) => {
                Err(format!("a call is answered with {answer:?} in place of {wanted:?}"))
            }
            _ => Err(format!("{id} is answered as a call")),
        }
    }

    pub(super) fn failed(&mut self, id: u64, code: &str) -> Result<(), Wrong> {
        let asked = self.asked.remove(&id);
        let (what, uid) = match &asked {
            Some(Asked::Publish(uid)) => ("publish", Some(*uid)),
            Some(Asked::Subscribe(_)) => ("subscribe", None),
            Some(Asked::Unsubscribe(_)) => ("unsubscribe", None),
            Some(Asked::Call(_)) => ("call", None),
            _ => ("command", None),
        };
        self.world.counts.add(&format!("client {what}: {code}"));
        let Some(uid) = uid else { return Ok(()) };
        let is_logged =
            self.streams.iter().any(|(topic, stream)| *stream == uid.stream && TOPICS[*topic].logged);
        let fate = match code {
            "timeout" | "kicked" | "internal" => Fate::Unknown,
            // The subscribers of this node have it.
            "backend_unavailable" if !is_logged => Fate::Unknown,
            _ => Fate::Never,
        };
        self.world.ledger.settle(uid, fate, None, true)
    }

    pub(super) fn message(&self, message: &Message) -> Result<(), Wrong> {
        let name = message.topic().as_str();
        match self.places.get(name) {
            Some(place) => place.message(message),
            None if self.is_blind(name) => {}
            None => return Err(format!("a message of {name}, which is not subscribed")),
        }
        Ok(())
    }

    pub(super) fn gap(&self, name: &str, gap: &Gap) -> Result<(), Wrong> {
        if name == DIRECT {
            for (_, place) in self.places.iter().filter(|(name, _)| name.starts_with('$')) {
                place.gap(gap);
            }
            return Ok(());
        }
        match self.places.get(name) {
            Some(place) => place.gap(gap),
            None if self.is_blind(name) => {}
            None => return Err(format!("a gap of {name}, which is not subscribed: {gap:?}")),
        }
        Ok(())
    }

    pub(super) fn live(&self, name: &str, at: Position) -> Result<(), Wrong> {
        match self.places.get(name) {
            Some(place) => place.live(at),
            None if self.is_blind(name) => {}
            None => return Err(format!("{name} is live, which is not subscribed")),
        }
        Ok(())
    }

    pub(super) fn present(&mut self, name: &str, members: Vec<String>) {
        self.world.counts.add("presence snapshots");
        self.rooms.insert(name.to_owned(), members.into_iter().collect());
        self.publish_rooms();
    }

    pub(super) fn changed(&mut self, name: &str, joined: Vec<String>, left: &[String]) {
        self.world.counts.add("presence changes");
        if let Some(members) = self.rooms.get_mut(name) {
            for client in left {
                members.remove(client);
            }
            members.extend(joined);
        }
        self.publish_rooms();
    }

    /// What this client believes, for the quiet point.
    fn publish_rooms(&self) {
        let rooms = self.rooms.iter().filter(|(name, _)| is_room(name));
        self.world
            .beliefs
            .lock()
            .insert(self.client.clone(), rooms.map(|(a, b)| (a.clone(), b.clone())).collect());
    }

    /// The topics and where each stands.
    pub(super) fn positions(&self) -> Vec<(String, Option<Position>)> {
        let ours = self.places.iter().filter(|(name, _)| !name.starts_with('$'));
        ours.map(|(name, place)| (name.clone(), place.position())).collect()
    }

    /// Whether it is subscribed to a topic.
    pub(super) fn has(&self, name: &str) -> bool {
        self.places.contains_key(name)
            || self.is_blind(name)
            || self
                .asked
                .values()
                .any(|asked| matches!(asked, Asked::Subscribe(wanted) if wanted.name == name))
    }
}

/// The connection is over: nobody is told any more what became of what was under way.
impl Drop for Books {
    fn drop(&mut self) {
        for asked in self.asked.values() {
            if let Asked::Publish(uid) = asked
                && let Err(wrong) = self.world.ledger.settle(*uid, Fate::Unknown, None, false)
            {
                self.world.verdict.wrong(&self.who, wrong, String::new);
            }
        }
        for stream in self.streams.values() {
            self.world.ledger.close(*stream);
        }
        self.world.beliefs.lock().remove(&self.client);
        self.world.people.left(&self.client);
    }
}

/// A subscription that begins with the next message, under the topic's own policy.
pub(super) fn live(name: &str) -> Wanted {
    let conflates = index(name).is_some_and(|index| TOPICS[index].keyed && !TOPICS[index].logged);
    Wanted { name: name.to_owned(), start: Start::Live, conflates }
}
