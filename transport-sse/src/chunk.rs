//! Chunks of a body in HTTP/1.1 (RFC 9112, section 7.1).

use bytes::{BufMut, Bytes, BytesMut};

/// The last chunk, without trailers.
pub(crate) const LAST: &[u8] = b"0\r\n\r\n";

/// Writes a chunk; none for nothing, which would be the last.
pub(crate) fn write(content: &[u8], out: &mut BytesMut) {
    use std::fmt::Write as _;
    if content.is_empty() {
        return;
    }
    out.reserve(content.len() + 12);
    // A `BytesMut` grows, so writing to it does not fail.
    let _ = write!(out, "{:x}\r\n", content.len());
    out.put_slice(content);
    out.put_slice(b"\r\n");
}

/// What is in a chunk that [`write`] wrote, whatever is behind it.
pub(crate) fn content(chunk: &Bytes) -> Bytes {
    let begin = memchr::memchr(b'\n', chunk).map_or(0, |at| at + 1);
    let size = chunk.get(..begin.saturating_sub(2)).and_then(|size| std::str::from_utf8(size).ok());
    let length = size.and_then(|size| usize::from_str_radix(size, 16).ok()).unwrap_or_default();
    chunk.slice(begin..(begin + length).min(chunk.len()))
}
