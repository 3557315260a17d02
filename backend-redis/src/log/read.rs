//! Reads logs.

use std::sync::Arc;

use fanfare_core::{
    backend::{Page, envelope::Envelope},
    message::{Epoch, LogPlace, Message, Position},
    topic::TopicName,
};
use redis::Value;

use super::Scripts;
use crate::{
    names::Names,
    wire::{
        Packed,
        value::{self, Unexpected},
    },
};

/// How much one answer holds, the message that goes beyond included: bytes.
const PAGE_BYTES: usize = 1 << 20;

/// How many last values one answer holds.
const VALUES_AT_ONCE: usize = 256;

/// Where a page begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum After {
    After(u64),
    Before(Option<u64>),
}

/// The call that reads a part of a log.
pub(crate) fn read(scripts: &Scripts, names: &Names, topic: &TopicName, from: After, limit: usize) -> Packed {
    let keys = names.keys(topic);
    let (direction, offset) = match from {
        After::After(offset) => ("after", offset.to_string()),
        After::Before(Some(offset)) => ("before", offset.to_string()),
        After::Before(None) => ("before", "-1".to_owned()),
    };
    let (limit, bytes) = (limit.to_string(), PAGE_BYTES.to_string());
    let arguments = [direction, &offset, &limit, &bytes].map(str::as_bytes);
    scripts.history.call(&[keys.meta.as_bytes(), keys.log.as_bytes()], &arguments)
}

/// The call that reads the last values that were written after an offset.
pub(crate) fn latest(scripts: &Scripts, names: &Names, topic: &TopicName, after: u64) -> Packed {
    let keys = names.keys(topic);
    let keys = [&keys.meta, &keys.values, &keys.order].map(|key| key.as_bytes());
    let (after, limit, bytes) = (after.to_string(), VALUES_AT_ONCE.to_string(), PAGE_BYTES.to_string());
    scripts.latest.call(&keys, &[&after, &limit, &bytes].map(|argument| argument.as_bytes()))
}

/// The answer of [`read`], in the log's order.
pub(crate) fn parse_page(answer: Value, from: After) -> Result<Page, Unexpected> {
    let answer = value::array(answer).ok_or(Unexpected)?;
    let Ok([epoch, floor, last, more, entries]) = <[Value; 5]>::try_from(answer) else {
        return Err(Unexpected);
    };
    let number = |value: &Value| value::number(value).ok_or(Unexpected);
    let epoch = Epoch::new(number(&epoch)?);
    let entries = value::array(entries).ok_or(Unexpected)?;
    let messages = entries.into_iter().map(|entry| message(entry, epoch));
    let mut messages = messages.collect::<Result<Vec<_>, _>>()?;
    if matches!(from, After::Before(_)) {
        messages.reverse();
    }
    Ok(Page::new(epoch, number(&floor)?, number(&last)?, messages, number(&more)? != 0))
}

/// An entry: its number, `offset-time`, and the message.
fn message(entry: Value, epoch: Epoch) -> Result<Arc<Message>, Unexpected> {
    let entry = value::array(entry).ok_or(Unexpected)?;
    let Ok([id, bytes]) = <[Value; 2]>::try_from(entry) else { return Err(Unexpected) };
    let offset = value::text(&id).and_then(|id| id.split_once('-')).ok_or(Unexpected)?.0;
    let offset: u64 = offset.parse().map_err(|_| Unexpected)?;
    let place =
        LogPlace { position: Position::new(epoch, offset), prev: offset.checked_sub(1).ok_or(Unexpected)? };
    let bytes = value::bytes(bytes).ok_or(Unexpected)?;
    let envelope = Envelope::decode(bytes.into()).map_err(|_| Unexpected)?;
    envelope.at(place).into_message().map_err(|_| Unexpected)
}

/// The answer of [`latest`], and the offset after which there may be more.
pub(crate) fn parse_latest(answer: Value) -> Result<(Page, Option<u64>), Unexpected> {
    let answer = value::array(answer).ok_or(Unexpected)?;
    let Ok([epoch, last, through, values]) = <[Value; 4]>::try_from(answer) else { return Err(Unexpected) };
    let number = |value: &Value| value::number(value).ok_or(Unexpected);
    let (epoch, last) = (Epoch::new(number(&epoch)?), number(&last)?);
    let through = match value::text(&through) {
        Some("") => None,
        _ => Some(number(&through)?),
    };
    let values = value::array(values).ok_or(Unexpected)?;
    let messages = values.into_iter().filter_map(value::bytes).map(|bytes| {
        let envelope = Envelope::decode(bytes.into()).map_err(|_| Unexpected)?;
        envelope.into_message().map_err(|_| Unexpected)
    });
    Ok((Page::new(epoch, last, last, messages.collect::<Result<_, _>>()?, false), through))
}
