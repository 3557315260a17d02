//! Orders and their outcomes as bytes. Numbers are big-endian; a text has its length before it, u16.
//!
//! A question is u16 how many conditions there are, each u8 its kind and what belongs to it; then u8 the order and what belongs to it. A node that does not know a
//! condition or an order answers nothing, so that nothing is done to clients that were not meant.

use std::{sync::Arc, time::Duration};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{
    order::Order,
    outcome::{Listed, MemberInfo, Tally},
    selection::{Condition, Selection},
};
use crate::{
    backend::NodeId,
    session::{ClientId, CloseKind, CloseReason},
    topic::{TopicName, TopicPattern},
};

/// How long a list may become: it has to fit a parcel.
const MAX_LIST: usize = 6 << 20;

mod condition {
    pub(super) const CLIENT: u8 = 1;
    pub(super) const USER: u8 = 2;
    pub(super) const TOPIC: u8 = 3;
    pub(super) const EXCEPT: u8 = 4;
}

mod order {
    pub(super) const LIST: u8 = 1;
    pub(super) const SUBSCRIBE: u8 = 2;
    pub(super) const UNSUBSCRIBE: u8 = 3;
    pub(super) const MOVE: u8 = 4;
    pub(super) const DISCONNECT: u8 = 5;
    pub(super) const REVOKE: u8 = 6;
    pub(super) const REAUTHORIZE: u8 = 7;
}

/// `retry_after` of a close reason that has none.
const NEVER: u32 = u32::MAX;

pub(super) fn question(selection: &Selection, order: &Order) -> Bytes {
    let mut out = BytesMut::new();
    put_selection(&mut out, selection);
    put_order(&mut out, order);
    out.freeze()
}

pub(super) fn read_question(mut bytes: Bytes) -> Option<(Selection, Order)> {
    let selection = read_selection(&mut bytes)?;
    Some((selection, read_order(&mut bytes)?))
}

/// Which clients are meant.
pub(crate) fn put_selection(out: &mut BytesMut, selection: &Selection) {
    out.put_u16(u16::try_from(selection.conditions.len()).unwrap_or(u16::MAX));
    for condition in &selection.conditions {
        match condition {
            Condition::Client(client) => {
                out.put_u8(condition::CLIENT);
                out.put_u64(client.value());
            }
            Condition::User(user) => {
                out.put_u8(condition::USER);
                put_text(out, user);
            }
            Condition::Topic(topic) => {
                out.put_u8(condition::TOPIC);
                put_text(out, topic.as_str());
            }
            Condition::Except(client) => {
                out.put_u8(condition::EXCEPT);
                out.put_u64(client.value());
            }
        }
    }
}

/// `None` where the bytes say nothing that is known.
pub(crate) fn read_selection(bytes: &mut Bytes) -> Option<Selection> {
    let mut selection = Selection::default();
    for _ in 0..bytes.try_get_u16().ok()? {
        selection.add(match bytes.try_get_u8().ok()? {
            condition::CLIENT => Condition::Client(ClientId::new(bytes.try_get_u64().ok()?)),
            condition::USER => Condition::User(read_text(bytes)?.into()),
            condition::TOPIC => Condition::Topic(TopicName::new(read_text(bytes)?).ok()?),
            condition::EXCEPT => Condition::Except(ClientId::new(bytes.try_get_u64().ok()?)),
            _ => return None,
        });
    }
    Some(selection)
}

fn put_order(out: &mut BytesMut, order: &Order) {
    match order {
        Order::List { limit } => {
            out.put_u8(order::LIST);
            out.put_u32(*limit);
        }
        Order::Subscribe(topic) => {
            out.put_u8(order::SUBSCRIBE);
            put_text(out, topic.as_str());
        }
        Order::Unsubscribe(topic) => {
            out.put_u8(order::UNSUBSCRIBE);
            put_text(out, topic.as_str());
        }
        Order::Move { from, to } => {
            out.put_u8(order::MOVE);
            put_text(out, from.as_str());
            put_text(out, to.as_str());
        }
        Order::Disconnect(reason) => {
            out.put_u8(order::DISCONNECT);
            out.put_u16(reason.code());
            put_text(out, &reason.message);
            let retry = reason.retry_after.map(|after| u32::try_from(after.as_millis()).unwrap_or(NEVER - 1));
            out.put_u32(retry.unwrap_or(NEVER));
        }
        Order::Revoke(pattern) => {
            out.put_u8(order::REVOKE);
            put_text(out, pattern.as_str());
        }
        Order::Reauthorize => out.put_u8(order::REAUTHORIZE),
    }
}

fn read_order(bytes: &mut Bytes) -> Option<Order> {
    Some(match bytes.try_get_u8().ok()? {
        order::LIST => Order::List { limit: bytes.try_get_u32().ok()? },
        order::SUBSCRIBE => Order::Subscribe(read_pattern(bytes)?),
        order::UNSUBSCRIBE => Order::Unsubscribe(read_pattern(bytes)?),
        order::MOVE => Order::Move { from: read_pattern(bytes)?, to: read_pattern(bytes)? },
        order::DISCONNECT => {
            let code = bytes.try_get_u16().ok()?;
            // One of a newer version is a goodbye all the same.
            let kind = CloseKind::ALL.iter().copied().find(|kind| kind.code() == code);
            let mut reason = CloseReason::with_message(kind.unwrap_or(CloseKind::Kicked), read_text(bytes)?);
            let retry = bytes.try_get_u32().ok()?;
            reason.retry_after = (retry != NEVER).then(|| Duration::from_millis(retry.into()));
            Order::Disconnect(reason)
        }
        order::REVOKE => Order::Revoke(read_pattern(bytes)?),
        order::REAUTHORIZE => Order::Reauthorize,
        _ => return None,
    })
}

impl Tally {
    pub(super) fn encode(self) -> Bytes {
        let mut out = BytesMut::new();
        for count in [self.clients, self.changed, self.failed] {
            out.put_u32(u32::try_from(count).unwrap_or(u32::MAX));
        }
        out.freeze()
    }

    pub(super) fn decode(bytes: &mut Bytes) -> Option<Self> {
        let mut count = || Some(bytes.try_get_u32().ok()? as usize);
        Some(Self { clients: count()?, changed: count()?, failed: count()? })
    }
}

impl Listed {
    /// As many as fit; all are counted.
    pub(super) fn encode(&self) -> Bytes {
        let mut entries = BytesMut::new();
        let mut named: u32 = 0;
        for member in &self.clients {
            if entries.len() >= MAX_LIST {
                break;
            }
            entries.put_u64(member.client.value());
            entries.put_u8(member.user.is_some().into());
            if let Some(user) = &member.user {
                put_text(&mut entries, user);
            }
            put_text(&mut entries, &member.transport);
            named += 1;
        }
        let mut out = BytesMut::with_capacity(8 + entries.len());
        out.put_u32(u32::try_from(self.total).unwrap_or(u32::MAX));
        out.put_u32(named);
        out.put(entries);
        out.freeze()
    }

    pub(super) fn decode(bytes: &mut Bytes, node: NodeId) -> Option<Self> {
        let total = bytes.try_get_u32().ok()? as usize;
        let mut clients = Vec::new();
        // There are few transports, and each has one name.
        let mut transports: Vec<Arc<str>> = Vec::new();
        for _ in 0..bytes.try_get_u32().ok()? {
            let client = ClientId::new(bytes.try_get_u64().ok()?);
            let user = match bytes.try_get_u8().ok()? {
                0 => None,
                _ => Some(read_text(bytes)?.into()),
            };
            let name = read_text(bytes)?;
            let known = transports.iter().find(|known| ***known == *name).cloned();
            let transport = known.unwrap_or_else(|| {
                let new: Arc<str> = name.into();
                transports.push(new.clone());
                new
            });
            clients.push(MemberInfo { client, user, node, transport });
        }
        Some(Self { total, clients })
    }
}

/// What is too long for a text ends early: a close reason's message, or a user's name that nothing else has refused.
fn put_text(out: &mut BytesMut, text: &str) {
    let fits = |end: &usize| text.is_char_boundary(*end);
    let end = (0..=text.len().min(u16::MAX.into())).rev().find(fits).unwrap_or_default();
    let text = &text[..end];
    out.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.put_slice(text.as_bytes());
}

fn read_text(bytes: &mut Bytes) -> Option<String> {
    let length = usize::from(bytes.try_get_u16().ok()?);
    if bytes.len() < length {
        return None;
    }
    String::from_utf8(bytes.split_to(length).into()).ok()
}

fn read_pattern(bytes: &mut Bytes) -> Option<TopicPattern> {
    TopicPattern::new(read_text(bytes)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::new(text).unwrap()
    }

    fn selection() -> Selection {
        let mut selection = Selection::default();
        selection.add(Condition::Client(ClientId::new(7)));
        selection.add(Condition::User("änn".into()));
        selection.add(Condition::Topic(TopicName::new("chat.lobby").unwrap()));
        selection.add(Condition::Except(ClientId::new(u64::MAX)));
        selection
    }

    fn orders() -> Vec<Order> {
        let kicked = CloseReason::with_message(CloseKind::Kicked, "go").retry_after(Duration::from_secs(3));
        vec![
            Order::List { limit: 9 },
            Order::Subscribe(pattern("a.b")),
            Order::Unsubscribe(pattern("a.*")),
            Order::Move { from: pattern("a"), to: pattern("b") },
            Order::Disconnect(kicked),
            Order::Disconnect(CloseKind::Restart.into()),
            Order::Revoke(pattern("staff.>")),
            Order::Reauthorize,
        ]
    }

    #[test]
    fn a_question_survives_its_bytes_and_means_nothing_when_cut_short() {
        for selection in [Selection::default(), selection()] {
            for order in orders() {
                let bytes = question(&selection, &order);
                assert_eq!(read_question(bytes.clone()), Some((selection.clone(), order.clone())));
                for end in 0..bytes.len() {
                    assert_eq!(read_question(bytes.slice(..end)), None, "{order:?} {end}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_known_is_not_done() {
        let mut unknown_condition = BytesMut::new();
        unknown_condition.put_u16(1);
        unknown_condition.put_u8(200);
        put_order(&mut unknown_condition, &Order::Reauthorize);
        assert_eq!(read_question(unknown_condition.freeze()), None, "else it were done to all clients");
        let mut unknown_order = BytesMut::new();
        put_selection(&mut unknown_order, &selection());
        unknown_order.put_u8(200);
        assert_eq!(read_question(unknown_order.freeze()), None);
    }

    #[test]
    fn an_unknown_reason_to_close_is_one_all_the_same() {
        let mut bytes = BytesMut::new();
        bytes.put_u16(0);
        bytes.put_u8(order::DISCONNECT);
        bytes.put_u16(4999);
        put_text(&mut bytes, "new");
        bytes.put_u32(NEVER);
        let expected = Order::Disconnect(CloseReason::with_message(CloseKind::Kicked, "new"));
        assert_eq!(read_question(bytes.freeze()), Some((Selection::default(), expected)));
    }

    #[test]
    fn a_list_survives_its_bytes_and_names_as_many_as_fit() {
        let node = NodeId::new(5);
        let member = |id, user: Option<&str>| MemberInfo {
            client: ClientId::new(id),
            user: user.map(Into::into),
            node,
            transport: "websocket".into(),
        };
        let listed =
            Listed { total: 9, clients: vec![member(1, Some("ann")), member(2, None), member(3, Some(""))] };
        let bytes = listed.encode();
        assert_eq!(Listed::decode(&mut bytes.clone(), node).unwrap(), listed);
        for end in 0..bytes.len() {
            assert_eq!(Listed::decode(&mut bytes.slice(..end), node), None, "{end}");
        }
        let long = "x".repeat(60_000);
        let clients: Vec<_> = (0..200).map(|id| member(id, Some(&long))).collect();
        let bytes = Listed { total: 200, clients }.encode();
        assert!(bytes.len() <= super::super::super::MAX_PARCEL - 64);
        let some = Listed::decode(&mut bytes.clone(), node).unwrap();
        assert_eq!(some.total, 200);
        assert!((100..200).contains(&some.clients.len()));
    }

    #[test]
    fn a_tally_survives_its_bytes() {
        let tally = Tally { clients: 3, changed: 2, failed: 1 };
        assert_eq!(Tally::decode(&mut tally.encode()), Some(tally));
        assert_eq!(Tally::decode(&mut tally.encode().slice(..11)), None);
    }

    #[test]
    fn a_text_that_is_too_long_ends_at_a_character() {
        let mut bytes = BytesMut::new();
        put_text(&mut bytes, &"ä".repeat(40_000));
        let text = read_text(&mut bytes.freeze()).unwrap();
        assert_eq!(text.len(), 65_534);
    }
}
