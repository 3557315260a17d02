//! A wire format for people: one line of text for each frame.

use std::fmt::Write;

use bytes::BytesMut;
use fanfare_core::{
    message::{Encoder, Frame, Gap, Message, Position},
    presence::{Member, PresenceEvent, PresencePage},
    session::{CommandError, Reply, Subscribed},
};

/// Writes each frame as one line.
pub(crate) struct Lines;

impl Encoder for Lines {
    fn encode(&self, frame: Frame<'_>, out: &mut BytesMut) {
        let line = match frame {
            Frame::Message(message) => self::message(message),
            Frame::Cursor { topic, position } => format!("{topic}#{} hidden", position.offset),
            Frame::Gap { topic, gap } => format!("{topic} {}", self::gap(gap)),
            Frame::Live { topic, position } => format!("{topic} live #{}", position.offset),
            Frame::Reply { id, reply } => {
                let id = id.map_or_else(|| "-".to_owned(), |id| id.value().to_string());
                format!("{id}: {}", self::reply(reply))
            }
            Frame::Call(call) => {
                let payload = call.payload.as_str().unwrap_or("(binary)");
                format!("call {} {} {payload}", call.id, call.method)
            }
            Frame::Ping => "ping".to_owned(),
            Frame::Subscribed { topic, outcome } => {
                format!("{topic} {} by the server", self::subscribed(outcome))
            }
            Frame::Unsubscribed { topic, code, retry } => {
                format!("{topic} unsubscribed {code}{}", if retry { " retry" } else { "" })
            }
            Frame::Presence { topic, event } => format!("{topic} presence {}", presence(event)),
            Frame::Token { expires } => format!("token expires in {} s", expires.as_secs()),
            Frame::Close(reason) => {
                let retry = if reason.retry_after.is_some() { " retry" } else { "" };
                format!("close {} {}{retry}", reason.code(), reason.name())
            }
            other => format!("{other:?}"),
        };
        writeln!(out, "{line}").unwrap();
    }
}

/// The lines that are messages, gaps, cursors or the beginning of what is live: all but replies.
pub(crate) fn deliveries(lines: Vec<String>) -> Vec<String> {
    lines.into_iter().filter(|line| !line.split(' ').next().unwrap_or_default().ends_with(':')).collect()
}

pub(super) fn message(message: &Message) -> String {
    let payload = message.payload().as_str().unwrap_or("(binary)");
    let mut line = match message.position() {
        Some(position) => format!("{}#{} {payload}", message.topic(), position.offset),
        None => format!("{} {payload}", message.topic()),
    };
    for (label, value) in
        [("event", message.event()), ("key", message.key()), ("message_id", message.message_id())]
    {
        if let Some(value) = value {
            write!(line, " {label}={value}").unwrap();
        }
    }
    line
}

pub(super) fn gap(gap: &Gap) -> String {
    let number = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
    let offset = |position: Option<Position>| number(position.map(|p| p.offset));
    format!(
        "gap missed={} {}..{} {}",
        number(gap.missed),
        offset(gap.last),
        offset(gap.next),
        gap.reason.as_str()
    )
}

fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Connected(connected) => {
            let user = connected.user.as_deref().unwrap_or("anonymous");
            let mut line = format!("connected {user}");
            if connected.resumed {
                line.push_str(" resumed");
            }
            for (topic, outcome) in &connected.subscribed {
                let outcome = match outcome {
                    Ok(subscribed) => self::subscribed(subscribed),
                    Err(error) => self::error(error),
                };
                write!(line, " [{topic}: {outcome}]").unwrap();
            }
            line
        }
        Reply::Subscribed(subscribed) => self::subscribed(subscribed),
        Reply::Unsubscribed => "unsubscribed".to_owned(),
        Reply::Published(published) => {
            let position = published.position.map_or_else(String::new, |p| format!(" #{}", p.offset));
            let duplicate = if published.duplicate { " duplicate" } else { "" };
            format!("published{position}{duplicate}")
        }
        Reply::History(page) => {
            let messages: Vec<_> = page.messages.iter().map(|message| self::message(message)).collect();
            format!("history [{}]{}", messages.join(", "), if page.more { " more" } else { "" })
        }
        Reply::Presence(page) => format!("presence {}", self::page(page)),
        Reply::Pong => "pong".to_owned(),
        Reply::Refreshed { expires } => format!("refreshed for {expires:?}"),
        Reply::Called(payload) => format!("called {}", payload.as_str().unwrap_or("(binary)")),
        Reply::Answered => "answered".to_owned(),
        Reply::Error(error) => self::error(error),
        other => format!("{other:?}"),
    }
}

/// Members are named by their users, those without one by their clients.
fn presence(event: &PresenceEvent) -> String {
    let mut line = match event {
        PresenceEvent::Snapshot(page) => return format!("snapshot {}", self::page(page)),
        PresenceEvent::Changes(changes) => {
            let join = changes.join.iter().map(|member| format!("+{} ", self::member(member)));
            let leave = changes.leave.iter().map(|client| format!("-{client} "));
            let update = changes.update.iter().map(|member| format!("~{} ", self::member(member)));
            join.chain(leave).chain(update).collect()
        }
        PresenceEvent::Counts(_) => "only ".to_owned(),
        other => format!("{other:?}"),
    };
    let counts = event.counts();
    write!(line, "({}, {})", counts.clients, counts.users).unwrap();
    line
}

fn page(page: &PresencePage) -> String {
    let mut members: Vec<_> = page.members.iter().map(member).collect();
    // Clients' names are random.
    members.sort();
    let more = if page.next.is_some() { " more" } else { "" };
    format!("[{}]{more} ({}, {})", members.join(" "), page.counts.clients, page.counts.users)
}

fn member(member: &Member) -> String {
    let name = member.user.as_deref().map_or_else(|| member.client.to_string(), str::to_owned);
    member.meta.as_deref().map_or_else(|| name.clone(), |meta| format!("{name}={meta}"))
}

fn subscribed(subscribed: &Subscribed) -> String {
    let recovered = match subscribed.recovered {
        None => "",
        Some(true) => " recovered",
        Some(false) => " not recovered",
    };
    let position = subscribed.position.map_or_else(String::new, |p| format!(" #{}", p.offset));
    format!("subscribed{recovered}{position}")
}

fn error(error: &CommandError) -> String {
    let mut line = format!("error {}", error.code);
    if let Some(field) = error.field {
        write!(line, " {field}").unwrap();
    }
    if let (Some(limit), Some(value)) = (error.limit, error.value) {
        write!(line, " {value}>{limit}").unwrap();
    }
    if error.retry {
        line.push_str(" retry");
    }
    line
}
