//! The parser under any bytes: for the fuzz targets, and for the tests that need the same.

use std::borrow::Cow;

use super::{Event, Parser, ProtocolError};

/// Messages of more bytes are refused here: small, so that few bytes reach the limit.
const LIMIT: u32 = 2048;

/// Reads arbitrary bytes as a client's stream, at once and in pieces whose sizes the first bytes choose.
///
/// # Panics
///
/// When the two differ, an event breaks a limit, or the parser leaves bytes without a reason.
pub fn frames(data: &[u8]) {
    let (sizes, stream) = data.split_at(data.len().min(8));
    let pieces: Vec<usize> = sizes.iter().cycle().take(4096).map(|&size| usize::from(size)).collect();
    let at_once = feed(&mut Parser::new(LIMIT), stream, &[]);
    let in_pieces = feed(&mut Parser::new(LIMIT), stream, &pieces);
    assert_eq!(at_once, in_pieces);
    for event in at_once.0 {
        match event {
            Event::Text(text) => assert!(text.len() <= LIMIT as usize),
            Event::Binary(bytes) => assert!(bytes.len() <= LIMIT as usize),
            Event::Ping(bytes) | Event::Pong(bytes) => assert!(bytes.len() <= 125),
            Event::Close(close) => assert!(close.is_none_or(|close| close.reason.len() <= 123)),
        }
    }
}

/// Feeds `bytes` in pieces of the given sizes (then the rest), each in a buffer of its own as a socket would.
pub(super) fn feed(
    parser: &mut Parser,
    bytes: &[u8],
    sizes: &[usize],
) -> (Vec<Event<'static>>, Option<ProtocolError>) {
    let mut events = Vec::new();
    let mut rest = bytes;
    let mut sizes = sizes.iter().copied();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(sizes.next().unwrap_or(usize::MAX).clamp(1, rest.len()));
        rest = after;
        let mut buffer = piece.to_vec();
        let mut input = buffer.as_mut_slice();
        loop {
            match parser.next(&mut input) {
                Ok(Some(event)) => events.push(owned(event)),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
        assert!(input.is_empty(), "the parser left {} bytes", input.len());
    }
    (events, None)
}

fn owned(event: Event<'_>) -> Event<'static> {
    match event {
        Event::Text(text) => Event::Text(Cow::Owned(text.into_owned())),
        Event::Binary(bytes) => Event::Binary(Cow::Owned(bytes.into_owned())),
        Event::Ping(bytes) => Event::Ping(Cow::Owned(bytes.into_owned())),
        Event::Pong(bytes) => Event::Pong(Cow::Owned(bytes.into_owned())),
        Event::Close(close) => Event::Close(close),
    }
}
