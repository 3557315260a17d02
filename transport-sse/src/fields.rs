//! Fields of an event stream (HTML, section 9.2.5 "Parsing an event stream").
//!
//! A line ends with LF, CR or CRLF, and a blank line ends an event: whoever could write one of these into a value could
//! write fields and events of their own. So no value is written but through here.

use std::time::Duration;

use bytes::{BufMut, BytesMut};

/// The end of an event.
pub(crate) const END: &[u8] = b"\n";

/// Writes `id:`. A cursor holds no line break and no NUL, for which a browser would ignore it.
pub(crate) fn id(cursor: impl std::fmt::Display, out: &mut BytesMut) {
    use std::fmt::Write as _;
    // A `BytesMut` grows, so writing to it does not fail.
    let _ = writeln!(out, "id: {cursor}");
}

/// Writes `event:`. The name must be one that [`can_be_name`] admits.
pub(crate) fn event(name: &str, out: &mut BytesMut) {
    debug_assert!(can_be_name(name));
    out.reserve(name.len() + 8);
    out.put_slice(b"event: ");
    out.put_slice(name.as_bytes());
    out.put_u8(b'\n');
}

/// Whether a name can stand in `event:` and be read again as it was.
pub(crate) fn can_be_name(name: &str) -> bool {
    !name.bytes().any(|byte| matches!(byte, b'\r' | b'\n' | 0))
}

/// Writes text as `data:`, a field for each of its lines. The reader joins them with LF, whatever ended them here.
pub(crate) fn data(text: &[u8], out: &mut BytesMut) {
    out.reserve(text.len() + 8);
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b'\r', b'\n', rest) {
        line(&rest[..at], out);
        let is_pair = rest[at] == b'\r' && rest.get(at + 1) == Some(&b'\n');
        rest = &rest[at + 1 + usize::from(is_pair)..];
    }
    // What follows the last line break is a line even when it is empty: an empty payload is an event, too.
    line(rest, out);
}

fn line(line: &[u8], out: &mut BytesMut) {
    out.reserve(line.len() + 7);
    out.put_slice(b"data: ");
    out.put_slice(line);
    out.put_u8(b'\n');
}

/// Writes `retry:`, whole milliseconds.
pub(crate) fn retry(after: Duration, out: &mut BytesMut) {
    let millis = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
    out.put_slice(b"retry: ");
    out.put_slice(itoa::Buffer::new().format(millis).as_bytes());
    out.put_u8(b'\n');
}

/// Writes a comment, which no reader passes on.
pub(crate) fn comment(out: &mut BytesMut) {
    out.put_slice(b":\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn each_line_is_a_field() {
        for (text, fields) in [
            ("", "data: \n"),
            ("a", "data: a\n"),
            (" a", "data:  a\n"),
            ("a\nb", "data: a\ndata: b\n"),
            ("a\r\nb\rc", "data: a\ndata: b\ndata: c\n"),
            ("a\n", "data: a\ndata: \n"),
            ("\n\r", "data: \ndata: \ndata: \n"),
            (
                "a\r\n\r\nid: 1\n\nevent: $close",
                "data: a\ndata: \ndata: id: 1\ndata: \ndata: event: $close\n",
            ),
            ("a\u{2028}b\u{85}c\u{b}d", "data: a\u{2028}b\u{85}c\u{b}d\n"),
        ] {
            assert_eq!(written(|out| data(text.as_bytes(), out)), fields, "{text:?}");
        }
    }

    #[test]
    fn a_name_is_one_line() {
        assert!(can_be_name("") && can_be_name(" a:b ") && can_be_name("grüße\u{2028}"));
        assert!(!can_be_name("a\nb") && !can_be_name("a\r") && !can_be_name("\0"));
    }
}
