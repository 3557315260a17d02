//! The outer object of a frame: the `id` and one method.

use std::fmt;

use fanfare_core::session::{CommandError, ErrorCode, RequestId};
use serde::{
    Deserializer as _,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    Decoded, command,
    fields::{Fields, FieldsSeed},
    method::{Method, RESERVED},
};
use crate::{DecodeError, DecodeLimits, error::bad_field};

/// Reads a frame; `payload` is what follows the header of a binary one.
pub(super) fn decode(
    json: &str,
    payload: Option<&[u8]>,
    limits: &DecodeLimits,
) -> Result<Decoded, DecodeError> {
    let mut outer = Outer::default();
    let mut parser = serde_json::Deserializer::from_str(json);
    let read = parser.deserialize_map(OuterVisitor(&mut outer)).and_then(|()| parser.end());
    let (id, id_fault) = match outer.id.take() {
        None => (None, None),
        Some(Ok(id)) => (Some(id), None),
        Some(Err(error)) => (None, Some(error)),
    };
    let refused = |error| DecodeError { id, error };
    if let Err(error) = read {
        return Err(refused(malformed(&error, outer.reading)));
    }
    if let Some(error) = id_fault {
        return Err(refused(error));
    }
    if outer.methods > 1 {
        return Err(refused(CommandError::new(
            ErrorCode::BadRequest,
            "the frame names more than one method",
        )));
    }
    let Some((method, fields)) = outer.method else {
        return Err(refused(no_method(outer.unknown)));
    };
    let command = fields
        .ok_or_else(|| bad_field(method.name(), "the value of a method is an object"))
        .and_then(|fields| command::build(method, &fields, payload, limits))
        .map_err(refused)?;
    Ok(Decoded { id, command })
}

/// What has been read of the outer object. It outlives a syntax error, so that the answer can carry the `id`.
#[derive(Default)]
struct Outer<'de> {
    id: Option<Result<RequestId, CommandError>>,
    /// The method; `None` for its fields when its value is no object.
    method: Option<(Method, Option<Fields<'de>>)>,
    /// How many methods, reserved ones included.
    methods: usize,
    /// Whether there is a key that is nothing known, or a method that is only reserved.
    unknown: bool,
    /// What is being read, for the error.
    reading: Option<&'static str>,
}

enum Key {
    Id,
    Method(Method),
    Reserved,
    Unknown,
}

struct OuterVisitor<'a, 'de>(&'a mut Outer<'de>);

impl<'de> Visitor<'de> for OuterVisitor<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let outer = self.0;
        while let Some(key) = map.next_key_seed(KeySeed)? {
            match key {
                Key::Id => {
                    outer.reading = Some("id");
                    let raw: &RawValue = map.next_value()?;
                    outer.id = Some(match outer.id {
                        None => request_id(raw.get()),
                        Some(_) => Err(bad_field("id", "the field is there twice")),
                    });
                }
                Key::Method(method) if outer.methods == 0 => {
                    outer.methods = 1;
                    outer.reading = Some(method.name());
                    let seed = FieldsSeed { names: method.fields(), reading: &mut outer.reading };
                    outer.method = Some((method, map.next_value_seed(seed)?));
                }
                Key::Method(_) => {
                    outer.methods += 1;
                    map.next_value::<IgnoredAny>()?;
                }
                Key::Reserved => {
                    outer.methods += 1;
                    outer.unknown = true;
                    map.next_value::<IgnoredAny>()?;
                }
                Key::Unknown => {
                    outer.unknown = true;
                    map.next_value::<IgnoredAny>()?;
                }
            }
            outer.reading = None;
        }
        Ok(())
    }
}

/// Reads a key of the outer object.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(match key {
            "id" => Key::Id,
            _ => match Method::from_name(key) {
                Some(method) => Key::Method(method),
                None if RESERVED.contains(&key) => Key::Reserved,
                None => Key::Unknown,
            },
        })
    }
}

fn request_id(raw: &str) -> Result<RequestId, CommandError> {
    let value: Option<u64> = raw.parse().ok();
    value.and_then(RequestId::new).ok_or_else(|| {
        let error = bad_field("id", "the id is not an integer from 1 to 2^53-1");
        match value {
            Some(value) if value > RequestId::MAX => error.limit(RequestId::MAX, value),
            _ => error,
        }
    })
}

fn no_method(unknown: bool) -> CommandError {
    if unknown {
        CommandError::new(ErrorCode::UnknownMethod, "no method has this name")
    } else {
        CommandError::new(ErrorCode::BadRequest, "the frame names no method")
    }
}

/// The parser's own words can quote the frame, so they are not passed on.
fn malformed(error: &serde_json::Error, reading: Option<&'static str>) -> CommandError {
    use serde_json::error::Category;
    let message = match error.classify() {
        Category::Eof => "the JSON ends too early".into(),
        Category::Data => "the frame is not a JSON object".into(),
        _ => format!("malformed JSON at line {}, byte {}", error.line(), error.column()),
    };
    let mut refused = CommandError::new(ErrorCode::BadRequest, message);
    refused.field = reading;
    refused
}
