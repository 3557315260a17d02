//! Who is there: what every node should say, once all has settled.

use std::collections::{BTreeMap, BTreeSet};

use fanfare::message::Payload;
use parking_lot::Mutex;

use super::{
    ledger::Wrong,
    nodes::Node,
    topics::{ROOMS, index},
    world::World,
};

/// More than all members of a room.
const ALL: usize = 1000;

/// The clients that are connected, and the rooms that each is in.
#[derive(Debug, Default)]
pub(super) struct People(Mutex<BTreeMap<String, BTreeSet<String>>>);

impl People {
    pub(super) fn came(&self, client: &str) {
        self.0.lock().entry(client.to_owned()).or_default();
    }

    pub(super) fn left(&self, client: &str) {
        self.0.lock().remove(client);
    }

    pub(super) fn entered(&self, client: &str, room: &str) {
        self.0.lock().entry(client.to_owned()).or_default().insert(room.to_owned());
    }

    pub(super) fn quit(&self, client: &str, room: &str) {
        if let Some(rooms) = self.0.lock().get_mut(client) {
            rooms.remove(room);
        }
    }

    /// All that are connected.
    pub(super) fn all(&self) -> BTreeSet<String> {
        self.0.lock().keys().cloned().collect()
    }

    /// All that are in a room.
    pub(super) fn of(&self, room: &str) -> BTreeSet<String> {
        let people = self.0.lock();
        people.iter().filter(|(_, rooms)| rooms.contains(room)).map(|(client, _)| client.clone()).collect()
    }
}

/// What a node says otherwise than it is.
pub(super) async fn mistaken(world: &World) -> Option<Wrong> {
    for node in world.nodes.all() {
        for room in ROOMS {
            let said = match node.broker.presence(room).page(None, ALL).await {
                Ok(page) => {
                    page.members.iter().map(|member| member.client.to_string()).collect::<BTreeSet<_>>()
                }
                Err(error) => return Some(format!("{room}: {error}")),
            };
            let truth = world.people.of(room);
            if said != truth {
                return Some(differ(&node, &format!("in {room}"), &said, &truth));
            }
        }
        let said = match node.broker.clients().list().await {
            Ok(members) if members.is_complete() => {
                members.clients.iter().map(|member| member.client.to_string()).collect::<BTreeSet<_>>()
            }
            other => return Some(format!("node {} does not know who is connected: {other:?}", node.slot)),
        };
        let truth = world.people.all();
        if said != truth {
            return Some(differ(&node, "connected", &said, &truth));
        }
    }
    None
}

/// A client that was told otherwise than it is.
pub(super) fn believes_wrong(world: &World) -> Option<Wrong> {
    let beliefs = world.beliefs.lock().clone();
    beliefs.into_iter().find_map(|(client, rooms)| {
        let (room, members) = rooms.into_iter().find(|(room, members)| *members != world.people.of(room))?;
        let truth = world.people.of(&room);
        Some(format!("{client} was told that {members:?} are in {room}, and there are {truth:?}"))
    })
}

/// What is wrong with the answers of all clients to a call from each node.
pub(super) async fn silent(world: &World) -> Option<Wrong> {
    for node in world.nodes.all() {
        let asked = format!("is anybody there, asks node {}", node.slot);
        let answers = match node.broker.clients().call("echo", Payload::text(asked.clone())).await {
            Ok(answers) => answers,
            Err(error) => return Some(format!("node {} cannot call: {error}", node.slot)),
        };
        let answered: BTreeSet<_> = answers
            .answers
            .iter()
            .filter(|(_, answer)| answer.as_ref().is_ok_and(|answer| answer.as_str() == Some(&asked)))
            .map(|(client, _)| client.to_string())
            .collect();
        let truth = world.people.all();
        if answered != truth || !answers.is_complete() || answers.answers.len() != truth.len() {
            let told = differ(&node, "answering", &answered, &truth);
            return Some(format!("{told}; {} asked, {} silent nodes", answers.asked, answers.silent_nodes));
        }
    }
    None
}

fn differ(node: &Node, how: &str, said: &BTreeSet<String>, truth: &BTreeSet<String>) -> Wrong {
    let more: Vec<_> = said.difference(truth).collect();
    let less: Vec<_> = truth.difference(said).collect();
    format!("node {} (run {}) says too many {how}: {more:?}, and too few: {less:?}", node.slot, node.run)
}

/// Whether a name is one of a room.
pub(super) fn is_room(name: &str) -> bool {
    index(name).is_some() && ROOMS.contains(&name)
}
