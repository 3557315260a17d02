//! What a request asks for: topics, where to begin, and in which form.

use fanfare_core::{
    message::Position,
    session::{CommandError, ErrorCode, Start, SubscribeCommand},
};
use fanfare_http::{Refused, query};
use http::{StatusCode, request::Parts};

use crate::cursor::{Cursor, InvalidCursor};

/// The header by which an `EventSource` hands its cursor back.
pub(crate) const LAST_EVENT_ID: &str = "Last-Event-ID";

/// A stream as it is asked for.
#[derive(Debug, PartialEq)]
pub(crate) struct Wanted {
    /// Each once; none in a stream of nothing but what is for the reader itself.
    pub(crate) topics: Vec<SubscribeCommand>,
    pub(crate) form: Form,
}

/// How events are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As their payloads: one topic, by its name.
    Raw,
    /// As frames of v1.
    V1,
}

/// The parameters of a query, before they are put together.
#[derive(Default)]
struct Asked {
    topics: Vec<Topic>,
    /// Of all topics.
    cursor: Option<Cursor>,
    last: Option<u64>,
    latest: bool,
    /// To be told who is there.
    presence: bool,
    v1: bool,
}

struct Topic {
    name: String,
    /// What stands behind it in the query.
    after: Option<Position>,
}

impl Wanted {
    /// Reads a request for at most so many topics.
    pub(crate) fn read(request: &Parts, limit: usize) -> Result<Self, Refused> {
        let asked = Asked::read(request, limit)?;
        let came_back = last_event_id(request, limit)?;
        asked.check()?;
        let one = asked.topics.len() == 1;
        if !one && matches!(came_back, Some(Cursor::Topic(_))) {
            return Err(bad(LAST_EVENT_ID, "this is the cursor of one topic, and the stream has several"));
        }
        let is_raw = one && !asked.v1 && asked.topics.iter().all(|topic| !is_pattern(&topic.name));
        let form = if is_raw { Form::Raw } else { Form::V1 };
        Ok(Self { form, topics: asked.subscriptions(came_back.as_ref()) })
    }
}

impl Asked {
    fn read(request: &Parts, limit: usize) -> Result<Self, Refused> {
        let mut asked = Self::default();
        for (name, value) in query(request) {
            match &*name {
                "topic" => asked.topic(value, limit)?,
                "after" => asked.after(&value, limit)?,
                "last" => asked.last = Some(count(&value)?),
                "latest" => asked.latest = flag("latest", &value)?,
                "presence" => asked.presence = flag("presence", &value)?,
                "format" if value == "v1" => asked.v1 = true,
                "format" => return Err(bad("format", "the format is v1, or none is named")),
                // A token, and what keeps caches away.
                _ => {}
            }
        }
        Ok(asked)
    }

    fn topic(&mut self, name: String, limit: usize) -> Result<(), Refused> {
        let count = self.topics.len() + 1;
        if count > limit {
            let error = CommandError::new(ErrorCode::LimitExceeded, "too many topics for one stream");
            let error = error.field("topic").limit(limit as u64, count as u64);
            return Err(Refused::new(StatusCode::BAD_REQUEST, error));
        }
        if self.topics.iter().any(|topic| topic.name == name) {
            return Err(bad("topic", "a topic is named twice"));
        }
        self.topics.push(Topic { name, after: None });
        Ok(())
    }

    /// A position is of the topic that it stands behind; the only one may also come later.
    fn after(&mut self, text: &str, limit: usize) -> Result<(), Refused> {
        let cursor = Cursor::parse(text, limit).map_err(|error| invalid("after", error))?;
        let held = match (&cursor, self.topics.last_mut()) {
            (Cursor::Topic(position), Some(topic)) => topic.after.replace(*position).is_some(),
            _ => self.cursor.replace(cursor).is_some(),
        };
        if held { Err(bad("after", "two cursors are given for the same")) } else { Ok(()) }
    }

    fn check(&self) -> Result<(), Refused> {
        if self.topics.is_empty() && !self.v1 {
            return Err(bad("topic", "name a topic: ?topic=NAME"));
        }
        if self.topics.len() > 1 && matches!(self.cursor, Some(Cursor::Topic(_))) {
            return Err(bad("after", "the cursor of one of several topics stands behind that topic"));
        }
        if self.last.is_some() && self.latest {
            return Err(bad("latest", "a stream begins with `last` or with `latest`"));
        }
        Ok(())
    }

    /// What the reader came back with goes before what its address says.
    fn subscriptions(self, came_back: Option<&Cursor>) -> Vec<SubscribeCommand> {
        let begin = match self.last {
            Some(count) => Start::Last(count),
            None if self.latest => Start::Latest,
            None => Start::Live,
        };
        let only_patterns = self.topics.iter().all(|topic| is_pattern(&topic.name));
        let subscription = |Topic { name, after }: Topic| {
            let of = |cursor: Option<&Cursor>| cursor.and_then(|cursor| cursor.position(&name));
            let start = match of(came_back).or(after).or_else(|| of(self.cursor.as_ref())) {
                Some(position) => Start::After(position),
                // `last` and `latest` are of the topics that have a past.
                None if is_pattern(&name) && !only_patterns => Start::Live,
                None => begin,
            };
            let presence = self.presence && !is_pattern(&name);
            let mut command = SubscribeCommand::starting(name, start);
            command.presence = presence;
            command
        };
        self.topics.into_iter().map(subscription).collect()
    }
}

fn last_event_id(request: &Parts, limit: usize) -> Result<Option<Cursor>, Refused> {
    let Some(value) = request.headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let text = value.to_str().map_err(|_| invalid(LAST_EVENT_ID, InvalidCursor::Malformed))?;
    if text.is_empty() {
        return Ok(None);
    }
    Cursor::parse(text, limit).map(Some).map_err(|error| invalid(LAST_EVENT_ID, error))
}

fn is_pattern(topic: &str) -> bool {
    topic.contains(['*', '>'])
}

fn count(value: &str) -> Result<u64, Refused> {
    value.parse().ok().filter(|count| *count > 0).ok_or_else(|| bad("last", "an integer above 0"))
}

fn flag(field: &'static str, value: &str) -> Result<bool, Refused> {
    match value {
        "" | "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(bad(field, "true or false")),
    }
}

fn bad(field: &'static str, message: &'static str) -> Refused {
    CommandError::new(ErrorCode::BadRequest, message).field(field).into()
}

fn invalid(field: &'static str, error: InvalidCursor) -> Refused {
    let refused = CommandError::new(ErrorCode::BadRequest, error.to_string()).field(field);
    match error {
        InvalidCursor::Malformed => refused.into(),
        InvalidCursor::TooLong { limit, length } => {
            let mut refused = refused.limit(limit as u64, length as u64);
            refused.code = ErrorCode::TooLarge;
            Refused::new(StatusCode::BAD_REQUEST, refused)
        }
    }
}

#[cfg(test)]
mod tests;
