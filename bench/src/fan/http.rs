//! Answers of HTTP/1.1 (RFC 9112): the head of a stream, and whole answers to publishes.

use anyhow::{Result, bail, ensure};

use super::chunked::Chunks;

/// The longest head that is taken, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head<'a> {
    /// Bytes, the blank line included.
    pub(super) size: usize,
    /// The first line: version, status, reason.
    pub(super) line: &'a str,
    pub(super) status: u16,
    fields: &'a str,
}

impl<'a> Head<'a> {
    /// Reads the head at the start of `bytes`; `None` while it is incomplete.
    pub(super) fn parse(bytes: &'a [u8]) -> Result<Option<Self>> {
        let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
            ensure!(bytes.len() <= MAX_HEAD, "the head of an answer has no end");
            return Ok(None);
        };
        let Ok(text) = std::str::from_utf8(&bytes[..end]) else { bail!("the head of an answer is no text") };
        let (line, fields) = text.split_once("\r\n").unwrap_or((text, ""));
        let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5)?.parse().ok());
        let Some(status) = status else { bail!("not an answer of HTTP/1.1: {line}") };
        Ok(Some(Self { size: end + 4, line, status, fields }))
    }

    /// The value of the first field of that name.
    pub(super) fn field(&self, name: &str) -> Option<&'a str> {
        self.fields.split("\r\n").find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(super) fn is_chunked(&self) -> bool {
        self.field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Bytes of head and body.
    pub(super) size: usize,
    /// Status line and body, when the status is not one of success.
    pub(super) refusal: Option<String>,
}

/// The first answer in `bytes`; `None` while it is incomplete.
pub(super) fn answer(bytes: &[u8]) -> Result<Option<Answer>> {
    let Some(head) = Head::parse(bytes)? else { return Ok(None) };
    let rest = &bytes[head.size..];
    let decoded;
    let (body, size) = if head.is_chunked() {
        let (mut chunks, mut copy) = (Chunks::new(), rest.to_vec());
        let found = chunks.decode(&mut copy, 0..0).map_err(anyhow::Error::msg)?;
        if !chunks.is_over() {
            return Ok(None);
        }
        copy.truncate(found.data.end);
        decoded = copy.split_off(found.data.start);
        (&decoded[..], found.used)
    } else {
        let length = match head.field("content-length") {
            Some(length) => length.parse()?,
            None if head.status == 204 => 0,
            None => bail!("an answer has no length: {}", head.line),
        };
        let Some(body) = rest.get(..length) else { return Ok(None) };
        (body, length)
    };
    let refusal = (!(200..300).contains(&head.status))
        .then(|| format!("{} {}", head.line, String::from_utf8_lossy(body)));
    Ok(Some(Answer { size: head.size + size, refusal }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads() {
        let bytes =
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTRANSFER-ENCODING: Chunked\r\n\r\n5\r\n";
        let head = Head::parse(bytes).unwrap().unwrap();
        assert_eq!((head.size, head.status, head.line), (bytes.len() - 3, 200, "HTTP/1.1 200 OK"));
        assert_eq!(head.field("content-type"), Some("text/event-stream"));
        assert!(head.is_chunked());
        assert!(Head::parse(&bytes[..40]).unwrap().is_none());
        let bare = Head::parse(b"HTTP/1.0 404 Not Found\r\n\r\n").unwrap().unwrap();
        assert_eq!((bare.status, bare.field("content-length"), bare.is_chunked()), (404, None, false));
        assert!(Head::parse(b"SSH-2.0\r\n\r\n").is_err());
        assert!(Head::parse(&[b'a'; MAX_HEAD + 1]).is_err());
    }

    #[test]
    fn answers_one_after_the_other() {
        let good = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}";
        let bad = b"HTTP/1.1 429 Too Many Requests\r\ntransfer-encoding: chunked\r\n\r\n4\r\nslow\r\n2\r\ner\r\n0\r\n\r\n";
        let both = [&good[..], bad].concat();
        let first = answer(&both).unwrap().unwrap();
        assert_eq!((first.size, first.refusal), (good.len(), None));
        let second = answer(&both[first.size..]).unwrap().unwrap();
        assert_eq!(second.size, bad.len());
        assert_eq!(second.refusal.as_deref(), Some("HTTP/1.1 429 Too Many Requests slower"));
        for whole in [&good[..], bad] {
            for cut in 0..whole.len() {
                assert!(answer(&whole[..cut]).unwrap().is_none(), "{cut}");
            }
        }
        assert!(answer(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
        assert!(answer(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap().is_some());
    }
}
