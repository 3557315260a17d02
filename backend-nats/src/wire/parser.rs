//! What a server says: frames of the NATS client protocol.
//!
//! ```text
//! INFO {..}                                            MSG subject sid [reply] #bytes CRLF payload
//! PING, PONG, +OK, -ERR 'text'                         HMSG subject sid [reply] #headers #all CRLF headers payload
//! ```

use bytes::{Buf, Bytes, BytesMut};

/// How long a line may be: INFO names all servers of a cluster.
const MAX_LINE: usize = 1 << 20;

/// What lines begin with.
const BEGINNINGS: [u8; 6] = *b"IPMH+-";

/// How large a message may be: a server takes no larger ones, however it is configured.
const MAX_MESSAGE: usize = 65 << 20;

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    Info(Bytes),
    Message(Message),
    Ping,
    Pong,
    Ok,
    Error(String),
}

/// A message, as it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) sid: u64,
    pub(crate) subject: String,
    pub(crate) reply: Option<String>,
    pub(crate) headers: Bytes,
    pub(crate) payload: Bytes,
}

/// The bytes are none of the protocol's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// Takes the next frame out of what has been read; `None` where it is not all there.
pub(crate) fn next(buffer: &mut BytesMut) -> Result<Option<Frame>, Malformed> {
    let Some(end) = memchr::memchr(b'\n', buffer) else {
        // What is no text of NATS's may never end its line.
        let is_theirs = buffer.first().is_none_or(|first| BEGINNINGS.contains(&first.to_ascii_uppercase()));
        return if buffer.len() > MAX_LINE || !is_theirs { Err(Malformed) } else { Ok(None) };
    };
    if end > MAX_LINE {
        return Err(Malformed);
    }
    let line = buffer[..end].strip_suffix(b"\r").unwrap_or(&buffer[..end]);
    let (verb, rest) = match line.iter().position(|byte| matches!(byte, b' ' | b'\t')) {
        Some(at) => (&line[..at], line[at..].trim_ascii()),
        None => (line, &b""[..]),
    };
    if verb.eq_ignore_ascii_case(b"MSG") || verb.eq_ignore_ascii_case(b"HMSG") {
        let has_headers = verb.len() == 4;
        let head = Head::parse(rest, has_headers)?;
        let all = end + 1 + head.all + 2;
        if buffer.len() < all {
            buffer.reserve(all - buffer.len());
            return Ok(None);
        }
        buffer.advance(end + 1);
        let headers = buffer.split_to(head.headers).freeze();
        let payload = buffer.split_to(head.all - head.headers).freeze();
        if !buffer.starts_with(b"\r\n") {
            return Err(Malformed);
        }
        buffer.advance(2);
        let Head { sid, subject, reply, .. } = head;
        return Ok(Some(Frame::Message(Message { sid, subject, reply, headers, payload })));
    }
    let frame = if verb.eq_ignore_ascii_case(b"PING") {
        Frame::Ping
    } else if verb.eq_ignore_ascii_case(b"PONG") {
        Frame::Pong
    } else if verb.eq_ignore_ascii_case(b"+OK") {
        Frame::Ok
    } else if verb.eq_ignore_ascii_case(b"-ERR") {
        let text = String::from_utf8_lossy(rest);
        Frame::Error(text.trim_matches('\'').to_owned())
    } else if verb.eq_ignore_ascii_case(b"INFO") {
        Frame::Info(Bytes::copy_from_slice(rest))
    } else {
        return Err(Malformed);
    };
    buffer.advance(end + 1);
    Ok(Some(frame))
}

struct Head {
    subject: String,
    sid: u64,
    reply: Option<String>,
    headers: usize,
    all: usize,
}

impl Head {
    fn parse(arguments: &[u8], has_headers: bool) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(arguments).map_err(|_| Malformed)?;
        // Blanks alone part arguments: a subject may hold any other character.
        let mut words = text.split([' ', '\t']).filter(|word| !word.is_empty());
        let mut last = words.next_back().ok_or(Malformed)?;
        let all = number(last)?;
        let headers = if has_headers {
            last = words.next_back().ok_or(Malformed)?;
            number(last)?
        } else {
            0
        };
        let subject = words.next().ok_or(Malformed)?.to_owned();
        let sid = words.next().and_then(|sid| sid.parse().ok()).ok_or(Malformed)?;
        let reply = words.next().map(str::to_owned);
        if headers > all || all > MAX_MESSAGE || words.next().is_some() {
            return Err(Malformed);
        }
        Ok(Self { subject, sid, reply, headers, all })
    }
}

fn number(text: &str) -> Result<usize, Malformed> {
    text.parse().map_err(|_| Malformed)
}

impl Message {
    /// The value of a header, by its exact name. Values have no line breaks.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let headers = std::str::from_utf8(&self.headers).ok()?;
        headers.split("\r\n").skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (found == name).then(|| value.trim())
        })
    }

    /// A header that is a number.
    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.parse().ok()
    }

    /// The status that a server puts in place of a message: `NATS/1.0 503`.
    pub(crate) fn status(&self) -> Option<u16> {
        let line = self.headers.split(|byte| *byte == b'\r').next()?;
        let status = std::str::from_utf8(line.strip_prefix(b"NATS/1.0")?).ok()?;
        status.split_whitespace().next()?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &[u8] = b"INFO {\"a\":1}\r\nPING\r\n+OK\r\nMSG a.\xc3\xa9 7 5\r\nhel\r\n\r\nHMSG a 8 re.ply 25 27\r\nNATS/1.0 \
503\r\nA: b c \r\n\r\nhi\r\n-ERR 'Slow Consumer'\r\nPONG\r\n";

    fn frames(buffer: &mut BytesMut) -> Vec<Frame> {
        std::iter::from_fn(|| next(buffer).unwrap()).collect()
    }

    #[test]
    fn frames_are_read_wherever_they_are_cut() {
        let mut whole = BytesMut::from(SAID);
        let all = frames(&mut whole);
        assert!(whole.is_empty());
        assert_eq!(all.len(), 7);
        let Frame::Message(plain) = &all[3] else { panic!("{all:?}") };
        assert_eq!((plain.subject.as_str(), plain.sid, &plain.payload[..]), ("a.é", 7, &b"hel\r\n"[..]));
        let Frame::Message(message) = &all[4] else { panic!("{all:?}") };
        assert_eq!((message.reply.as_deref(), &message.payload[..]), (Some("re.ply"), &b"hi"[..]));
        assert_eq!((message.status(), message.header("A")), (Some(503), Some("b c")));
        assert_eq!(all[5], Frame::Error("Slow Consumer".into()));
        for cut in 0..SAID.len() {
            let mut buffer = BytesMut::from(&SAID[..cut]);
            let mut got = frames(&mut buffer);
            buffer.extend_from_slice(&SAID[cut..]);
            got.extend(frames(&mut buffer));
            assert_eq!(got, all, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\r\n",
            b"MSG a\r\n",
            b"MSG a x 5\r\n",
            b"MSG a 1 -5\r\n",
            b"MSG a 1 99999999999\r\n",
            b"MSG a 1 b c 1\r\n",
            b"MSG a 1 1\r\nxyz",
            b"HMSG a 1 5 4\r\n",
            b"MSG \xff 1 1\r\n",
        ] {
            assert_eq!(next(&mut BytesMut::from(bytes)), Err(Malformed), "{bytes:?}");
        }
        assert_eq!(next(&mut BytesMut::from(&vec![b'x'; MAX_LINE + 1][..])), Err(Malformed));
    }
}
