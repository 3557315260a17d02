//! What the server sends, as a client would read it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::presence::{Someone, Who};

/// Any object of the server, at any depth, as a client would read it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Object<'a> {
    pub(crate) id: Option<u64>,
    pub(crate) ok: Option<Box<Object<'a>>>,
    pub(crate) error: Option<Box<Object<'a>>>,
    pub(crate) gap: Option<Box<Object<'a>>>,
    pub(crate) close: Option<Box<Object<'a>>>,
    pub(crate) call: Option<Box<Object<'a>>>,
    pub(crate) token: Option<Box<Object<'a>>>,
    pub(crate) unsubscribed: Option<Box<Object<'a>>>,
    pub(crate) presence: Option<Who<'a>>,
    pub(crate) live: Option<bool>,
    // Messages.
    pub(crate) topic: Option<Cow<'a, str>>,
    pub(crate) pos: Option<&'a str>,
    pub(crate) event: Option<&'a str>,
    pub(crate) key: Option<&'a str>,
    pub(crate) from: Option<Box<Object<'a>>>,
    pub(crate) time: Option<u64>,
    pub(crate) message_id: Option<&'a str>,
    pub(crate) text: Option<bool>,
    #[serde(borrow)]
    pub(crate) data: Option<&'a RawValue>,
    pub(crate) base64: Option<&'a str>,
    // Replies.
    pub(crate) client: Option<&'a str>,
    pub(crate) user: Option<&'a str>,
    pub(crate) ping_ms: Option<u64>,
    pub(crate) expires_ms: Option<u64>,
    #[serde(borrow)]
    pub(crate) subscribed: Option<OneOrMany<'a>>,
    pub(crate) session: Option<&'a str>,
    pub(crate) resumed: Option<bool>,
    pub(crate) recovered: Option<bool>,
    pub(crate) duplicate: Option<bool>,
    pub(crate) messages: Option<Vec<Object<'a>>>,
    pub(crate) more: Option<bool>,
    pub(crate) members: Option<Vec<Someone<'a>>>,
    pub(crate) clients: Option<u64>,
    pub(crate) users: Option<u64>,
    // Calls.
    pub(crate) call_id: Option<&'a str>,
    pub(crate) method: Option<&'a str>,
    pub(crate) timeout_ms: Option<u64>,
    // Gaps.
    pub(crate) missed: Option<u64>,
    pub(crate) last: Option<&'a str>,
    pub(crate) next: Option<&'a str>,
    pub(crate) reason: Option<&'a str>,
    // Errors and the last word.
    pub(crate) code: Option<serde_json::Value>,
    pub(crate) name: Option<&'a str>,
    pub(crate) message: Option<Cow<'a, str>>,
    pub(crate) field: Option<&'a str>,
    pub(crate) limit: Option<u64>,
    pub(crate) value: Option<u64>,
    pub(crate) retry: Option<bool>,
    pub(crate) retry_ms: Option<u64>,
}

/// `subscribed` of a reply to `connect`, and of what the server does.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany<'a> {
    Many(#[serde(borrow)] Vec<Object<'a>>),
    One(#[serde(borrow)] Box<Object<'a>>),
}
