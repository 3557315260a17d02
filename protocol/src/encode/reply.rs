//! Answers to commands.

use bytes::{BufMut, BytesMut};
use fanfare_core::{
    message::{Payload, PayloadKind},
    session::{CommandError, Connected, HistoryPage, Published, Reply, RequestId, Subscribed},
};

use super::{Kind, json::Object, message, presence};

pub(super) fn reply(id: Option<RequestId>, reply: &Reply, out: &mut BytesMut) -> Kind {
    let failure = match reply {
        Reply::Error(failure) => Some(failure),
        _ => None,
    };
    if id.is_none() && failure.is_none() {
        // A command without a number is answered only by an error.
        return Kind::Nothing;
    }
    if let Reply::Called(payload) = reply {
        return called(id, payload, out);
    }
    let mut object = Object::begin(out);
    object.optional_number("id", id.map(RequestId::value));
    let mut inner = object.object(if failure.is_some() { "error" } else { "ok" });
    match reply {
        Reply::Connected(reply) => connected(reply, &mut inner),
        Reply::Subscribed(reply) => subscribed(*reply, &mut inner),
        Reply::Refreshed { expires: Some(expires) } => inner.milliseconds("expires_ms", *expires),
        Reply::Published(reply) => published(*reply, &mut inner),
        Reply::History(page) => history(page, &mut inner),
        Reply::Presence(page) => presence::page("members", page, &mut inner),
        Reply::Error(failure) => error(failure, &mut inner),
        // The answer is that there is one.
        _ => {}
    }
    inner.end();
    object.end();
    Kind::Text
}

/// What a method answered; a binary answer stands behind the reply.
fn called(id: Option<RequestId>, payload: &Payload, out: &mut BytesMut) -> Kind {
    let header = |out: &mut BytesMut| {
        let mut object = Object::begin(out);
        object.optional_number("id", id.map(RequestId::value));
        let mut ok = object.object("ok");
        message::embed(payload, &mut ok);
        ok.end();
        object.end();
    };
    if payload.kind() == PayloadKind::Binary {
        return message::behind_header(payload, out, header);
    }
    header(out);
    Kind::Text
}

fn connected(reply: &Connected, ok: &mut Object<'_>) {
    ok.client("client", reply.client);
    ok.optional_text("user", reply.user.as_deref());
    ok.optional_text("session", reply.session.as_deref());
    if reply.resumed {
        ok.flag("resumed", true);
    }
    ok.milliseconds("ping_ms", reply.ping);
    if let Some(expires) = reply.expires {
        ok.milliseconds("expires_ms", expires);
    }
    if reply.subscribed.is_empty() {
        return;
    }
    let out = ok.key("subscribed");
    out.put_u8(b'[');
    for (index, (topic, outcome)) in reply.subscribed.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        let mut entry = Object::begin(out);
        entry.text("topic", topic);
        match outcome {
            Ok(reply) => subscribed(*reply, &mut entry),
            Err(failure) => {
                let mut inner = entry.object("error");
                error(failure, &mut inner);
                inner.end();
            }
        }
        entry.end();
    }
    out.put_u8(b']');
}

pub(super) fn subscribed(reply: Subscribed, ok: &mut Object<'_>) {
    if let Some(recovered) = reply.recovered {
        ok.flag("recovered", recovered);
    }
    ok.position("pos", reply.position);
}

fn published(reply: Published, ok: &mut Object<'_>) {
    ok.position("pos", reply.position);
    if reply.duplicate {
        ok.flag("duplicate", true);
    }
}

fn history(page: &HistoryPage, ok: &mut Object<'_>) {
    message::array(page.messages.iter().map(AsRef::as_ref), ok.key("messages"));
    ok.flag("more", page.more);
}

fn error(failure: &CommandError, inner: &mut Object<'_>) {
    inner.text("code", failure.code.as_str());
    inner.text("message", &failure.message);
    inner.optional_text("field", failure.field);
    inner.optional_number("limit", failure.limit);
    inner.optional_number("value", failure.value);
    inner.flag("retry", failure.retry);
    if let Some(after) = failure.retry_after {
        inner.milliseconds("retry_ms", after);
    }
}
