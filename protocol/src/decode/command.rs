//! The command that a method's fields make.

use bytes::Bytes;
use fanfare_core::{
    calls::ClientError,
    message::{Payload, PayloadKind},
    session::{
        AnswerCommand, CallCommand, Command, CommandError, ConnectCommand, ErrorCode, HistoryCommand,
        HistoryFrom, PresenceCommand, PublishCommand, Start, SubscribeCommand,
    },
};

use super::{
    field::{Field, unquote},
    fields::Fields,
    list::List,
    method::{ENTRY_FIELDS, Method},
    payload::check_depth,
};
use crate::{
    DecodeLimits,
    error::{bad_field, over},
};

/// Makes a command; `payload` is what follows the header of a binary frame.
pub(super) fn build(
    method: Method,
    fields: &Fields<'_>,
    payload: Option<&[u8]>,
    limits: &DecodeLimits,
) -> Result<Command, CommandError> {
    if payload.is_some() && !matches!(method, Method::Publish | Method::Call | Method::Answer) {
        return Err(bad_field(method.name(), "a binary frame is a publish, a call or an answer"));
    }
    let names = method.fields();
    match method {
        Method::Connect => connect(fields.named(names)?, limits).map(Command::Connect),
        Method::Subscribe => subscribe(fields.named(names)?).map(Command::Subscribe),
        Method::Unsubscribe => {
            let [topic] = fields.named(names)?;
            Ok(Command::Unsubscribe { topic: topic.required_text()? })
        }
        Method::Publish => publish(fields.named(names)?, payload, limits).map(Command::Publish),
        Method::History => history(fields.named(names)?).map(Command::History),
        Method::Ping => Ok(Command::Ping),
        Method::Refresh => {
            let [token] = fields.named(names)?;
            Ok(Command::Refresh { token: token.required_text()? })
        }
        Method::Call => call(fields.named(names)?, payload, limits).map(Command::Call),
        Method::Presence => presence(fields.named(names)?).map(Command::Presence),
        Method::Answer => answer(fields.named(names)?, payload, limits).map(Command::Answer),
    }
}

fn connect(
    [token, session, subscribe_to]: [Field<'_>; 3],
    limits: &DecodeLimits,
) -> Result<ConnectCommand, CommandError> {
    let mut command = ConnectCommand::default();
    command.token = token.text()?.map(Into::into);
    // What is no session of the server's is one that it does not know.
    command.session = session.text()?.map(Into::into);
    let Some(raw) = subscribe_to.value() else { return Ok(command) };
    let entries = List::read(raw, limits.subscribe).ok_or_else(|| subscribe_to.is_no("an array"))?;
    if entries.count > limits.subscribe {
        return Err(over(ErrorCode::LimitExceeded, subscribe_to.name, limits.subscribe, entries.count));
    }
    for entry in entries.kept {
        let fields = Fields::read(entry, Method::Subscribe.fields())
            .ok_or_else(|| subscribe_to.is_no("an array of objects"))?;
        command.subscribe.push(subscribe(fields.named(ENTRY_FIELDS)?)?);
    }
    Ok(command)
}

fn subscribe(
    [topic, after, last, latest, presence]: [Field<'_>; 5],
) -> Result<SubscribeCommand, CommandError> {
    let starts = [
        after.cursor()?.map(|position| (&after, Start::After(position))),
        last.positive()?.map(|count| (&last, Start::Last(count))),
        latest.flag()?.filter(|wanted| *wanted).map(|_| (&latest, Start::Latest)),
    ];
    let mut starts = starts.into_iter().flatten();
    let start = starts.next().map_or(Start::Live, |(_, start)| start);
    if let Some((field, _)) = starts.next() {
        return Err(bad_field(field.name, "a subscription begins at one of `after`, `last` and `latest`"));
    }
    let mut command = SubscribeCommand::starting(topic.required_text()?, start);
    command.presence = presence.flag()?.unwrap_or(false);
    Ok(command)
}

fn presence([topic, limit, next]: [Field<'_>; 3]) -> Result<PresenceCommand, CommandError> {
    let mut command = PresenceCommand::first(topic.required_text()?);
    command.limit = limit.number()?;
    // What a page said is where the next one begins.
    let after = next.text()?.map(|text| text.parse().map_err(|_| next.is_no("the `next` of a page")));
    command.after = after.transpose()?;
    Ok(command)
}

fn history([topic, before, after, limit]: [Field<'_>; 4]) -> Result<HistoryCommand, CommandError> {
    let mut command = HistoryCommand::newest(topic.required_text()?);
    command.from = match (before.cursor()?, after.cursor()?) {
        (None, None) => HistoryFrom::Newest,
        (Some(position), None) => HistoryFrom::Before(position),
        (None, Some(position)) => HistoryFrom::After(position),
        (Some(_), Some(_)) => {
            return Err(bad_field(after.name, "a page is either `before` or `after` a position"));
        }
    };
    command.limit = limit.positive()?;
    Ok(command)
}

fn publish(
    [topic, data, event, key, message_id, echo, text, topics]: [Field<'_>; 8],
    binary: Option<&[u8]>,
    limits: &DecodeLimits,
) -> Result<PublishCommand, CommandError> {
    let to = destinations(&topic, &topics, limits)?;
    let payload = payload(&data, &text, binary, limits)?.ok_or_else(|| data.is_missing())?;
    let mut command = PublishCommand::to_topics(to, payload);
    command.event = event.short_text(limits.text)?;
    command.key = key.short_text(limits.text)?;
    command.message_id = message_id.short_text(limits.text)?;
    command.echo = echo.flag()?.unwrap_or(true);
    Ok(command)
}

fn destinations(
    topic: &Field<'_>,
    topics: &Field<'_>,
    limits: &DecodeLimits,
) -> Result<Vec<String>, CommandError> {
    let Some(raw) = topics.value() else { return Ok(vec![topic.required_text()?]) };
    if topic.is_present() {
        return Err(bad_field(topics.name, "a publish names either `topic` or `topics`"));
    }
    let not_names = || topics.is_no("an array of strings");
    let names = List::read(raw, limits.topics).ok_or_else(not_names)?;
    if names.count > limits.topics {
        return Err(over(ErrorCode::LimitExceeded, topics.name, limits.topics, names.count));
    }
    if names.count == 0 {
        return Err(bad_field(topics.name, "there is no topic"));
    }
    names.kept.into_iter().map(|raw| unquote(raw).map(Into::into).ok_or_else(not_names)).collect()
}

fn call(
    [method, data, text]: [Field<'_>; 3],
    binary: Option<&[u8]>,
    limits: &DecodeLimits,
) -> Result<CallCommand, CommandError> {
    let name = method.short_text(limits.text)?.ok_or_else(|| method.is_missing())?;
    Ok(CallCommand::new(name, payload(&data, &text, binary, limits)?.map_or_else(null, Ok)?))
}

fn answer(
    [call_id, data, text, error]: [Field<'_>; 4],
    binary: Option<&[u8]>,
    limits: &DecodeLimits,
) -> Result<AnswerCommand, CommandError> {
    let id = call_id.short_text(limits.text)?.ok_or_else(|| call_id.is_missing())?;
    let payload = payload(&data, &text, binary, limits)?;
    let result = match (error.value(), payload) {
        (None, payload) => Ok(payload.map_or_else(null, Ok)?),
        (Some(raw), None) => Err(client_error(raw).ok_or_else(|| error.is_no("an error"))?),
        (Some(_), Some(_)) => return Err(bad_field(error.name, "an answer is either `data` or `error`")),
    };
    Ok(AnswerCommand::new(id, result))
}

/// An object whose `code` and `message`, where they are there, are strings.
fn client_error(raw: &str) -> Option<ClientError> {
    let fields = Fields::read(raw, &["code", "message"])?;
    let [code, message] = fields.named(&["error.code", "error.message"]).ok()?;
    let text = |field: Field<'_>| field.text().ok().map(|text| text.unwrap_or_default().into_owned());
    Some(ClientError::new(text(code)?, text(message)?))
}

/// What a call or an answer without `data` holds.
fn null() -> Result<Payload, CommandError> {
    Payload::parsed_json("null").map_err(|error| CommandError::new(ErrorCode::Internal, error.to_string()))
}

/// The payload of a frame, if it has one: what follows the header of a binary frame, or what its `data` is.
fn payload(
    data: &Field<'_>,
    text: &Field<'_>,
    binary: Option<&[u8]>,
    limits: &DecodeLimits,
) -> Result<Option<Payload>, CommandError> {
    let is_text = text.flag()?.unwrap_or(false);
    match binary {
        Some(_) if data.raw.is_some() || is_text => {
            let field = if is_text { text.name } else { data.name };
            Err(bad_field(field, "the payload of a binary frame follows its header"))
        }
        Some(payload) => Ok(Some(Payload::binary(Bytes::copy_from_slice(payload)))),
        None if data.raw.is_none() && is_text => Err(data.is_missing()),
        // Null is a payload.
        None => data.raw.map(|raw| embedded(data, raw, is_text, limits)).transpose(),
    }
}

/// The payload of a text frame: the value's own bytes, or the text of a string.
fn embedded(
    data: &Field<'_>,
    raw: &str,
    is_text: bool,
    limits: &DecodeLimits,
) -> Result<Payload, CommandError> {
    let invalid = |message: String| CommandError::new(ErrorCode::InvalidPayload, message).field(data.name);
    if is_text {
        let text = unquote(raw).ok_or_else(|| invalid("with `text` the data is a string".into()))?;
        return Ok(Payload::text(text));
    }
    check_depth(raw, limits)?;
    let bytes = Bytes::copy_from_slice(raw.as_bytes());
    Payload::from_parts(PayloadKind::Json, bytes).map_err(|error| invalid(error.to_string()))
}
