//! Who is there.

use bytes::{BufMut, BytesMut};
use fanfare_core::presence::{Member, PresenceCounts, PresenceEvent, PresencePage};

use super::{
    Kind,
    json::{Object, quoted},
};

pub(super) fn event(topic: &str, event: &PresenceEvent, out: &mut BytesMut) -> Kind {
    let mut object = Object::begin(out);
    object.text("topic", topic);
    let mut inner = object.object("presence");
    match event {
        PresenceEvent::Snapshot(all) => page("snapshot", all, &mut inner),
        PresenceEvent::Changes(changes) => {
            some_members("join", &changes.join, &mut inner);
            if !changes.leave.is_empty() {
                array(&changes.leave, inner.key("leave"), |client, out| quoted(client, out));
            }
            some_members("update", &changes.update, &mut inner);
            counts(changes.counts, &mut inner);
        }
        other => counts(other.counts(), &mut inner),
    }
    inner.end();
    object.end();
    Kind::Text
}

/// A part of the list.
pub(super) fn page(key: &'static str, page: &PresencePage, inner: &mut Object<'_>) {
    array(&page.members, inner.key(key), member);
    counts(page.counts, inner);
    if let Some(next) = page.next {
        inner.client("next", next);
    }
}

fn counts(counts: PresenceCounts, inner: &mut Object<'_>) {
    inner.number("clients", counts.clients);
    inner.number("users", counts.users);
}

fn some_members(key: &'static str, members: &[Member], inner: &mut Object<'_>) {
    if !members.is_empty() {
        array(members, inner.key(key), member);
    }
}

fn member(member: &Member, out: &mut BytesMut) {
    let mut object = Object::begin(out);
    object.client("client", member.client);
    object.optional_text("user", member.user.as_deref());
    if let Some(meta) = &member.meta {
        // JSON, as the app gave it.
        object.key("meta").put_slice(meta.as_bytes());
    }
    object.end();
}

fn array<T>(items: &[T], out: &mut BytesMut, write: impl Fn(&T, &mut BytesMut)) {
    out.put_u8(b'[');
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        write(item, out);
    }
    out.put_u8(b']');
}
