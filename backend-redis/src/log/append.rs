//! Appends to a log, and opens one.

use std::time::Duration;

use fanfare_core::{
    backend::{Accepted, Outgoing, Retention, envelope::Envelope},
    message::{Epoch, Position},
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

/// A log is remembered at least this long after it was last written to or opened, and one that
/// keeps last values for longer: positions stay valid.
const REMEMBERED: Duration = Duration::from_secs(24 * 3600);
const VALUES_REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);

/// How often a log that somebody listens to, but nobody writes to, is opened anew, so that it is remembered.
pub(crate) const REOPENED_EVERY: Duration = Duration::from_secs(6 * 3600);

/// The largest number that the server and its scripts take for what it is.
const MOST: u64 = 1 << 50;

/// The call that appends a message.
pub(crate) fn append(
    scripts: &Scripts,
    names: &Names,
    outgoing: &Outgoing,
    retention: Retention,
    publish: &str,
    also_to: Option<&str>,
    is_cluster: bool,
) -> Packed {
    let message = &outgoing.message;
    let topic = &message.topic;
    let keys = names.keys(topic);
    let id = message.message_id.as_deref().map(|id| names.id(topic, &message.id_scope(), id));
    let mut all_keys: Vec<&[u8]> =
        [&keys.meta, &keys.log, &keys.values, &keys.order].map(|key| key.as_bytes()).into();
    all_keys.extend(id.as_deref().map(str::as_bytes));
    let life = (!is_cluster).then(|| names.life());
    all_keys.extend(life.as_deref().map(str::as_bytes));
    let history = retention.history;
    let label = |label: &Option<std::sync::Arc<str>>| label.as_deref().map_or(0, str::len);
    let size =
        message.payload.len() + label(&message.event) + label(&message.key) + label(&message.message_id);
    let numbers = [
        Epoch::random().value(),
        size as u64,
        (history.messages as u64).min(MOST),
        (history.bytes as u64).min(MOST),
        ms(history.ttl),
        remembered(&retention),
        ms(history.idempotency_window),
        // Without a key there is no last value.
        if message.key.is_some() { (retention.latest_keys as u64).min(MOST) } else { 0 },
    ]
    .map(|number| number.to_string());
    let [epoch, size, messages, bytes, ttl, keep, window, values] = numbers.each_ref().map(|n| n.as_bytes());
    let (envelope, channel) = (Envelope::encode(outgoing), names.topic(topic));
    let arguments: [&[u8]; 13] = [
        &envelope,
        channel.as_bytes(),
        publish.as_bytes(),
        epoch,
        size,
        messages,
        bytes,
        ttl,
        keep,
        window,
        values,
        message.key.as_deref().unwrap_or_default().as_bytes(),
        also_to.unwrap_or_default().as_bytes(),
    ];
    scripts.publish.call_with_runs(&all_keys, &arguments)
}

/// The call that says where a log ends, and begins one where there is none.
pub(crate) fn open(
    scripts: &Scripts,
    names: &Names,
    topic: &TopicName,
    retention: &Retention,
    is_cluster: bool,
) -> Packed {
    let (keys, life) = (names.keys(topic), names.life());
    let mut keys = vec![&keys.meta, &keys.log, &keys.values, &keys.order];
    keys.extend((!is_cluster).then_some(&life));
    let keys: Vec<_> = keys.into_iter().map(|key| key.as_bytes()).collect();
    let (epoch, keep) = (Epoch::random().value().to_string(), remembered(retention).to_string());
    scripts.open.call_with_runs(&keys, &[epoch.as_bytes(), keep.as_bytes()])
}

/// How long a log is remembered: milliseconds.
fn remembered(retention: &Retention) -> u64 {
    let least = if retention.latest_keys > 0 { VALUES_REMEMBERED } else { REMEMBERED };
    ms(retention.history.ttl).saturating_mul(3).max(ms(least))
}

/// Milliseconds, at least one, and no more than a script can count exactly.
fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, MOST)
}

/// The answer of [`append`].
pub(crate) fn parse_accepted(answer: Value) -> Result<Accepted, Unexpected> {
    let answer = value::array(answer).ok_or(Unexpected)?;
    let [position, duplicate] = answer.as_slice() else { return Err(Unexpected) };
    let position = parse_position(position)?;
    match value::number(duplicate) {
        Some(0) => Ok(Accepted::at(position)),
        Some(_) => Ok(Accepted::duplicate_of(position)),
        None => Err(Unexpected),
    }
}

/// `epoch:offset`, decimal.
pub(crate) fn parse_position(answer: &Value) -> Result<Position, Unexpected> {
    let (epoch, offset) = value::text(answer).and_then(|text| text.split_once(':')).ok_or(Unexpected)?;
    let epoch = Epoch::new(epoch.parse().map_err(|_| Unexpected)?);
    Ok(Position::new(epoch, offset.parse().map_err(|_| Unexpected)?))
}
