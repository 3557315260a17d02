//! What a subscriber took for true, to be held against the truth once that is known.

use std::collections::{BTreeMap, HashSet};

use fanfare::message::Epoch;

use super::{
    Fate, Tick, Wrong,
    log::Log,
    stream::{Sent, Stream},
};
use crate::soak::topics::TOPICS;

/// What a subscriber took for true.
#[derive(Clone, Debug)]
pub(crate) enum Claim {
    /// Between two offsets of a log stands nothing that was not superseded by a later one of its key.
    Nothing { topic: usize, epoch: Epoch, after: u64, before: u64, conflates: bool },
    /// Between two offsets of a log stand so many that were lost.
    Lost { topic: usize, epoch: Epoch, after: u64, before: u64, told: u64, conflates: bool },
    /// Between two numbers of a stream nothing was accepted that was published after a moment.
    NothingSent { stream: u32, after: u32, before: u32, since: Tick, conflates: bool },
}

impl Claim {
    pub(super) fn check(&self, logs: &[Log], streams: &BTreeMap<u32, Stream>) -> Result<(), Wrong> {
        match *self {
            Self::Nothing { topic, epoch, after, before, conflates } => {
                let Some((_, surely)) = lost(&logs[topic], streams, epoch, after, before, conflates) else {
                    return Ok(());
                };
                if surely == 0 {
                    return Ok(());
                }
                let between = logs[topic].between(epoch, after, before);
                let name = TOPICS[topic].name;
                Err(format!("{name}: nothing was told between {after} and {before}, where stand {between:?}"))
            }
            Self::Lost { topic, epoch, after, before, told, conflates } => {
                let Some((all, surely)) = lost(&logs[topic], streams, epoch, after, before, conflates) else {
                    return Ok(());
                };
                let of_topic = streams.values().filter(|stream| stream.topic == topic);
                let unknown: u64 = of_topic.map(Stream::unknown).sum();
                if (surely..=all + unknown).contains(&told) {
                    return Ok(());
                }
                let name = TOPICS[topic].name;
                Err(format!(
                    "{name}: {told} were told to be lost between {after} and {before}, where {all} stand \
                     ({surely} surely missing, {unknown} may be stored)"
                ))
            }
            Self::NothingSent { stream, after, before, since, conflates } => {
                let Some(sender) = streams.get(&stream) else { return Ok(()) };
                let is_lost = |sent: &&Sent| {
                    let is_superseded = conflates && sent.key.is_some();
                    sent.fate == Fate::Accepted && sent.started > since && !is_superseded
                };
                let Some((n, sent)) =
                    (after + 1..before).find_map(|n| Some((n, sender.sent(n).filter(is_lost)?)))
                else {
                    return Ok(());
                };
                let (name, through, at) = (TOPICS[sender.topic].name, &sender.through, sent.at);
                Err(format!(
                    "{name}: {stream}.{n} of {at:.3} s through {through} was accepted, never came before {before}, and \
                     nothing was told"
                ))
            }
        }
    }
}

/// How many stand there, and how many of them are not superseded by their key; `None` where that is not known any more.
fn lost(
    log: &Log,
    streams: &BTreeMap<u32, Stream>,
    epoch: Epoch,
    after: u64,
    before: u64,
    conflates: bool,
) -> Option<(u64, u64)> {
    let entries = log.between(epoch, after, before)?;
    let all = entries.len() as u64;
    if !conflates {
        return Some((all, all));
    }
    let key = |uid: crate::soak::uid::Uid| streams.get(&uid.stream)?.sent(uid.n)?.key;
    let later = log.between(epoch, before - 1, u64::MAX)?;
    let mut keys: HashSet<u8> = later.into_iter().filter_map(|(_, uid)| key(uid)).collect();
    let surely = entries.into_iter().rev().filter(|(_, uid)| key(*uid).is_none_or(|key| keys.insert(key)));
    Some((all, surely.count() as u64))
}
