//! One field of a command: raw JSON until somebody asks for a type.
//!
//! The parser has checked the syntax of every raw value, so its first byte tells its type.

use std::borrow::Cow;

use fanfare_core::{
    message::Position,
    session::{CommandError, ErrorCode},
};

use crate::error::{bad_field, over};

/// A field's name and its value as it stands in the frame.
#[derive(Clone, Copy)]
pub(super) struct Field<'de> {
    pub(super) name: &'static str,
    pub(super) raw: Option<&'de str>,
}

impl<'de> Field<'de> {
    /// The value, raw. Null counts as absent, because many serializers write it for what is not there.
    pub(super) fn value(&self) -> Option<&'de str> {
        self.raw.filter(|raw| *raw != "null")
    }

    pub(super) fn is_present(&self) -> bool {
        self.value().is_some()
    }

    pub(super) fn text(&self) -> Result<Option<Cow<'de, str>>, CommandError> {
        self.value().map(|raw| unquote(raw).ok_or_else(|| self.is_no("a string"))).transpose()
    }

    pub(super) fn required_text(&self) -> Result<String, CommandError> {
        self.text()?.map(Cow::into_owned).ok_or_else(|| self.is_missing())
    }

    /// A text of at most `limit` bytes.
    pub(super) fn short_text(&self, limit: usize) -> Result<Option<String>, CommandError> {
        let Some(text) = self.text()? else { return Ok(None) };
        if text.len() > limit {
            return Err(over(ErrorCode::TooLarge, self.name, limit, text.len()));
        }
        Ok(Some(text.into_owned()))
    }

    pub(super) fn flag(&self) -> Result<Option<bool>, CommandError> {
        match self.value() {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(self.is_no("true or false")),
        }
    }

    /// An integer, 0 or above.
    pub(super) fn number(&self) -> Result<Option<u64>, CommandError> {
        let number = |raw: &str| raw.parse().map_err(|_| self.is_no("an integer, 0 or above"));
        self.value().map(number).transpose()
    }

    /// An integer above 0.
    pub(super) fn positive(&self) -> Result<Option<u64>, CommandError> {
        let Some(raw) = self.value() else { return Ok(None) };
        match raw.parse() {
            Ok(number) if number > 0 => Ok(Some(number)),
            _ => Err(self.is_no("an integer above 0")),
        }
    }

    pub(super) fn cursor(&self) -> Result<Option<Position>, CommandError> {
        self.text()?
            .map(|text| text.parse().map_err(|error| bad_field(self.name, format!("{error}"))))
            .transpose()
    }

    pub(super) fn is_missing(&self) -> CommandError {
        bad_field(self.name, "the field is missing")
    }

    pub(super) fn is_no(&self, expected: &'static str) -> CommandError {
        bad_field(self.name, format!("the value is not {expected}"))
    }
}

/// The text of a raw JSON string. `None` for another type, and for half a surrogate pair, which JSON can write
/// and UTF-8 cannot.
pub(super) fn unquote(raw: &str) -> Option<Cow<'_, str>> {
    let text = raw.strip_prefix('"')?.strip_suffix('"')?;
    if memchr::memchr(b'\\', text.as_bytes()).is_none() {
        return Some(Cow::Borrowed(text));
    }
    serde_json::from_str(raw).ok().map(Cow::Owned)
}
