//! Server-Sent Events (HTML standard, section 9.2.6), read in place.

use std::borrow::Cow;

/// Bytes of the first event in `bytes`, its blank line included; `None` while that is not there.
///
/// A blank line alone is an event without fields. When the bytes end within a CR LF, the LF is such a line later.
pub(super) fn size(bytes: &[u8]) -> Option<usize> {
    let mut line = 0;
    for at in memchr::memchr2_iter(b'\n', b'\r', bytes) {
        if at < line {
            continue; // The LF of a CR LF.
        }
        let next = after_end(bytes, at);
        if at == line {
            return Some(next);
        }
        line = next;
    }
    None
}

/// Whether what is at `at` in an event is in the value of a `data` field.
pub(super) fn is_data(event: &[u8], at: usize) -> bool {
    let line = memchr::memrchr2(b'\n', b'\r', &event[..at]).map_or(0, |end| end + 1);
    event[line..at].starts_with(b"data:")
}

/// What an `EventSource` would dispatch.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Event<'a> {
    /// `message` unless it is named.
    pub(super) name: &'a [u8],
    pub(super) data: Cow<'a, [u8]>,
}

/// Reads one event; `None` when it has no data, so that a page would not see it: comments, `retry` alone.
pub(super) fn parse(mut bytes: &[u8]) -> Option<Event<'_>> {
    let (mut name, mut data) = (&b""[..], None::<Cow<'_, [u8]>>);
    while !bytes.is_empty() {
        let end = memchr::memchr2(b'\n', b'\r', bytes).unwrap_or(bytes.len());
        let (line, rest) = (&bytes[..end], &bytes[after_end(bytes, end)..]);
        bytes = rest;
        let (field, value) = match memchr::memchr(b':', line) {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &b""[..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => name = value,
            b"data" => match &mut data {
                None => data = Some(Cow::Borrowed(value)),
                Some(data) => {
                    data.to_mut().push(b'\n');
                    data.to_mut().extend_from_slice(value);
                }
            },
            _ => {}
        }
    }
    let name = if name.is_empty() { b"message" } else { name };
    Some(Event { name, data: data.filter(|data| !data.is_empty())? })
}

/// Where the line after the one that ends at `end` begins.
fn after_end(bytes: &[u8], end: usize) -> usize {
    match bytes.get(end..) {
        Some([b'\r', b'\n', ..]) => end + 2,
        _ => (end + 1).min(bytes.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_end_with_a_blank_line_of_any_kind() {
        for event in
            ["data: x\n\n", "id: 1\ndata: x\n\n", "data: x\r\n\r\n", "a\rb\r\r", "a\r\nb\r\r\n", "\n"]
        {
            let bytes = [event, "data: next\n"].concat();
            assert_eq!(size(bytes.as_bytes()), Some(event.len()), "{event:?}");
            for cut in 0..event.trim_end_matches(['\r', '\n']).len() {
                assert_eq!(size(&event.as_bytes()[..cut]), None, "{event:?} cut at {cut}");
            }
        }
        assert_eq!(size(b""), None);
        assert_eq!(size(b"data: x\r\n\r"), Some(10));
        assert_eq!(size(b"data: x\r\n"), None);
    }

    #[test]
    fn fields() {
        let event = |text: &'static str| parse(text.as_bytes());
        let plain = Event { name: b"message", data: Cow::Borrowed(b"x") };
        for text in
            ["data:x\n\n", "data: x\n\n", ": hello\nid: 7\ndata: x\nretry: 5\nother\n\n", "data: x\r\n\r\n"]
        {
            assert_eq!(event(text).as_ref(), Some(&plain), "{text:?}");
        }
        let named = event("event: $gap\ndata: {\ndata:  }\ndata\n\n").unwrap();
        assert_eq!((named.name, &*named.data), (&b"$gap"[..], &b"{\n }\n"[..]));
        for nothing in
            [": comment\n\n", "\n", "retry: 100\n\n", "event: $live\n\n", "data:\n\n", "data: \n\n"]
        {
            assert_eq!(event(nothing), None, "{nothing:?}");
        }
    }

    #[test]
    fn only_a_data_field_delivers() {
        for (text, is) in [
            ("data: FAN:", true),
            ("id: 1\r\ndata:{FAN:", true),
            (": FAN:", false),
            ("data: x\nid: FAN:", false),
        ] {
            assert_eq!(is_data(text.as_bytes(), text.len() - 4), is, "{text:?}");
        }
    }
}
