//! Who reads the history, a page after the other, while it is written and trimmed.

use std::sync::Arc;

use fanfare::{
    message::{LogPlace, Message},
    session::{HistoryCommand, HistoryFrom, HistoryPage},
};
use fastrand::Rng;
use tokio::time::sleep;

use super::{
    ledger::{Claim, Wrong},
    topics::{TOPICS, index},
    uid::Uid,
    world::{World, between},
};

/// How many pages are read one after the other at most.
const PAGES: usize = 30;

/// Reads until the end.
pub(super) async fn run(world: Arc<World>, name: String, mut rng: Rng) {
    while let Some(_working) = world.gate.work().await {
        if let Some(wrong) = read(&world, &name, &mut rng).await.err() {
            world.verdict.wrong(&name, wrong, String::new);
        }
        sleep(between(&mut rng, 0, 500)).await;
    }
}

/// From one end of a log towards the other.
async fn read(world: &World, name: &str, rng: &mut Rng) -> Result<(), Wrong> {
    let Some(node) = world.nodes.pick(rng) else { return Ok(()) };
    let logged: Vec<_> = TOPICS.iter().filter(|topic| topic.logged).collect();
    let topic = logged[rng.usize(..logged.len())].name;
    let forward = rng.bool();
    let mut command = HistoryCommand::newest(topic);
    command.limit = Some(rng.u64(1..200));
    let mut last: Option<LogPlace> = None;
    for page in 0..PAGES {
        let top = index(topic).and_then(|index| world.ledger.top(index));
        let read = match node.broker.history(command.clone()).await {
            Ok(read) => read,
            Err(error) => {
                world.counts.add(&format!("history: {error}"));
                return Ok(());
            }
        };
        world.counts.add("pages");
        let places = places(world, topic, &read)?;
        let (Some(first), Some(end)) = (places.first(), places.last()) else {
            let what = format!("an empty page of {topic}, and more to come: {command:?}");
            return if read.more { Err(what) } else { Ok(()) };
        };
        if page == 0 {
            // The newest page ends with the last message that was acknowledged before.
            if let Some(top) =
                top.filter(|top| top.epoch == end.position.epoch && top.offset > end.position.offset)
            {
                return Err(format!("{topic}: {} is the newest, and {top} is acknowledged", end.position));
            }
        }
        let claim = |after: LogPlace, before: LogPlace| Claim::Nothing {
            topic: index(topic).unwrap_or_default(),
            epoch: after.position.epoch,
            after: after.position.offset,
            before: before.position.offset,
            conflates: false,
        };
        match last.replace(if forward { *end } else { *first }) {
            Some(before) if forward && page > 1 && first.position.epoch == before.position.epoch => {
                if first.position.offset <= before.position.offset {
                    return Err(format!("{topic}: a page after {before:?} begins with {first:?}"));
                }
                // Elsewise it was trimmed meanwhile.
                if first.prev <= before.position.offset {
                    world.roster.claims(name, claim(before, *first));
                }
            }
            Some(before) if !forward && end.position.epoch == before.position.epoch => {
                if end.position.offset >= before.position.offset {
                    return Err(format!("{topic}: a page before {before:?} ends with {end:?}"));
                }
                world.roster.claims(name, claim(*end, before));
            }
            _ => {}
        }
        command.from = match (forward, page) {
            // Some way back, and from there on forward.
            (true, 0) => HistoryFrom::After(first.position),
            (true, _) => HistoryFrom::After(end.position),
            (false, _) => HistoryFrom::Before(first.position),
        };
        if !forward && !read.more {
            return Ok(());
        }
    }
    Ok(())
}

/// Where the messages of a page stand: one follows the other.
fn places(world: &World, topic: &str, page: &HistoryPage) -> Result<Vec<LogPlace>, Wrong> {
    let mut places: Vec<LogPlace> = Vec::with_capacity(page.messages.len());
    for message in &page.messages {
        let place = place(world, topic, message)?;
        if let Some(before) = places.last()
            && (before.position.epoch != place.position.epoch
                || before.position.offset >= place.position.offset
                || before.position.offset != place.prev)
            && !is_hole(*before, place)
        {
            return Err(format!("{topic}: {place:?} stands behind {before:?} on a page"));
        }
        places.push(place);
    }
    Ok(places)
}

/// Where the server was restarted, the log may leap, and tells by this what may be lost.
fn is_hole(before: LogPlace, place: LogPlace) -> bool {
    before.position.epoch == place.position.epoch
        && before.position.offset < place.prev
        && place.prev < place.position.offset
}

fn place(world: &World, topic: &str, message: &Message) -> Result<LogPlace, Wrong> {
    let event = message.event().unwrap_or_default();
    let uid: Uid = event.parse().map_err(|()| format!("a page of {topic} holds {event:?}"))?;
    let place = message.place().ok_or_else(|| format!("a page of {topic} holds {uid} without a place"))?;
    if !uid.fits(message.payload()) {
        return Err(format!("a page of {topic} holds {uid} with another payload"));
    }
    let index = index(message.topic().as_str()).filter(|index| TOPICS[*index].name == topic);
    let index = index.ok_or_else(|| format!("a page of {topic} holds a message of {}", message.topic()))?;
    world.ledger.heard(index, uid, Some(place))?;
    Ok(place)
}
