//! The escape that lets any text be one segment: `%` and two upper-case hexadecimal digits per byte of UTF-8.

use std::borrow::Cow;

use super::InvalidTopic;

/// What an empty segment is written as. No other segment is, since every other `%` is followed by two digits.
const EMPTY: &str = "%";

/// The bytes that [`escape_into`] appends.
pub(super) fn escaped_len(segment: &str, first: bool) -> usize {
    if segment.is_empty() {
        return EMPTY.len();
    }
    let written = |(at, ch): (usize, char)| if must_escape(ch, at, first) { 3 } else { 1 } * ch.len_utf8();
    segment.char_indices().map(written).sum()
}

/// Appends `segment` to `out`; `first` says that it is the first of its name.
pub(super) fn escape_into(segment: &str, first: bool, out: &mut String) {
    if segment.is_empty() {
        out.push_str(EMPTY);
    }
    for (at, ch) in segment.char_indices() {
        if must_escape(ch, at, first) {
            let mut utf8 = [0; 4];
            for byte in ch.encode_utf8(&mut utf8).bytes() {
                out.push('%');
                out.push(hex_digit(byte >> 4));
                out.push(hex_digit(byte & 0xf));
            }
        } else {
            out.push(ch);
        }
    }
}

/// The inverse of [`escape_into`], strict.
pub(super) fn unescape(segment: &str) -> Result<Cow<'_, str>, InvalidTopic> {
    if segment.is_empty() {
        return Err(InvalidTopic::EmptySegment { at: 0 });
    }
    if segment == EMPTY {
        return Ok(Cow::Borrowed(""));
    }
    let text = decode(segment)?;
    // Strict: what was not written by `escape_into` (a raw blank, `%41`, `%2e`) comes out differently.
    let mut canonical = String::with_capacity(segment.len());
    escape_into(&text, segment.starts_with("%24"), &mut canonical);
    if canonical != segment {
        let at = canonical.bytes().zip(segment.bytes()).take_while(|(a, b)| a == b).count();
        return Err(InvalidTopic::Escape { at });
    }
    Ok(if text.len() == segment.len() { Cow::Borrowed(segment) } else { Cow::Owned(text) })
}

fn decode(segment: &str) -> Result<String, InvalidTopic> {
    let bytes = segment.as_bytes();
    let mut text = Vec::with_capacity(bytes.len());
    // Where each decoded byte came from would be needed to place a fault in the UTF-8 exactly; the first
    // escape is near enough for an error that only a forged segment can cause.
    let mut first_escape = None;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte != b'%' {
            text.push(byte);
            at += 1;
            continue;
        }
        first_escape.get_or_insert(at);
        let digit = |offset: usize| bytes.get(at + offset).copied().and_then(hex_value);
        let (Some(high), Some(low)) = (digit(1), digit(2)) else {
            return Err(InvalidTopic::Escape { at });
        };
        text.push(high << 4 | low);
        at += 3;
    }
    String::from_utf8(text).map_err(|_| InvalidTopic::Escape { at: first_escape.unwrap_or(0) })
}

fn must_escape(ch: char, at: usize, first: bool) -> bool {
    match ch {
        '%' | '.' | '*' | '>' => true,
        '$' => first && at == 0,
        _ => ch.is_whitespace() || ch.is_control(),
    }
}

fn hex_digit(value: u8) -> char {
    char::from(if value < 10 { b'0' + value } else { b'A' + value - 10 })
}

fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
