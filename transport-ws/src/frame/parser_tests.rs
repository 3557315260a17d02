//! The parser against the reference encoder, and each fault of a client's bytes.

use std::borrow::Cow;

use proptest::prelude::*;

use super::{
    CloseFrame, Event, Opcode, Parser, ProtocolError,
    fuzz::{self, feed},
    reference::masked,
};

const KEY: [u8; 4] = [0xA5, 0x5A, 0x0F, 0xF1];
const LIMIT: u32 = 65_536;

fn fault(frames: &[Vec<u8>]) -> Option<ProtocolError> {
    feed(&mut Parser::new(LIMIT), &frames.concat(), &[]).1
}

fn text(text: &str) -> Event<'static> {
    Event::Text(Cow::Owned(text.to_owned()))
}

/// A message of a conversation: its event, and its frames.
fn message() -> impl Strategy<Value = (Event<'static>, Vec<Vec<u8>>)> {
    let data = prop_oneof![
        ("\\PC{0,200}", prop::collection::vec(0usize..200, 0..5), any::<[u8; 4]>()).prop_map(
            |(body, cuts, key)| {
                let frames = fragments(Opcode::Text, body.as_bytes(), cuts, key);
                (Event::Text(Cow::Owned(body)), frames)
            }
        ),
        (prop::collection::vec(any::<u8>(), 0..70_000usize), prop::collection::vec(0usize..70_000, 0..5))
            .prop_filter("within the limit", |(body, _)| body.len() <= LIMIT as usize)
            .prop_map(|(body, cuts)| {
                let frames = fragments(Opcode::Binary, &body, cuts, KEY);
                (Event::Binary(Cow::Owned(body)), frames)
            }),
    ];
    let control =
        (prop::collection::vec(any::<u8>(), 0..126usize), any::<bool>()).prop_map(|(body, ping)| {
            let opcode = if ping { Opcode::Ping } else { Opcode::Pong };
            let frames = vec![masked(opcode, true, KEY, &body)];
            let body = Cow::Owned(body);
            (if ping { Event::Ping(body) } else { Event::Pong(body) }, frames)
        });
    prop_oneof![data, control]
}

fn fragments(opcode: Opcode, body: &[u8], mut cuts: Vec<usize>, key: [u8; 4]) -> Vec<Vec<u8>> {
    cuts.iter_mut().for_each(|cut| *cut = (*cut).min(body.len()));
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([body.len()]);
    let mut start = 0;
    let count = cuts.len();
    ends.enumerate()
        .map(|(at, end)| {
            let opcode = if at == 0 { opcode } else { Opcode::Continuation };
            let frame = masked(opcode, at == count, key, &body[start..end]);
            start = end;
            frame
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_chunking_gives_the_same_events(
        messages in prop::collection::vec(message(), 1..6),
        sizes in prop::collection::vec(1usize..40_000, 0..40),
        small in prop::collection::vec(1usize..9, 0..200),
    ) {
        let bytes = messages.iter().flat_map(|(_, frames)| frames.concat()).collect::<Vec<_>>();
        let expected = messages.into_iter().map(|(event, _)| event).collect::<Vec<_>>();
        for sizes in [&[][..], &sizes, &small] {
            let mut parser = Parser::new(LIMIT);
            let (events, error) = feed(&mut parser, &bytes, sizes);
            prop_assert_eq!(error, None);
            prop_assert!(events == expected, "other events");
            prop_assert!(parser.is_idle());
        }
    }

    #[test]
    fn any_bytes_give_the_same_in_any_chunks(
        sizes in prop::array::uniform8(0u8..20),
        frames in prop::collection::vec(frame(), 0..20),
        cut in 0usize..30,
    ) {
        let mut bytes = [&sizes[..], &frames.concat()].concat();
        bytes.truncate((bytes.len().saturating_sub(cut)).max(8));
        fuzz::frames(&bytes);
    }
}

/// A frame that is often wrong, and only a little.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop::sample::select(vec![
        Opcode::Continuation,
        Opcode::Continuation,
        Opcode::Text,
        Opcode::Binary,
        Opcode::Ping,
        Opcode::Close,
    ]);
    let body = prop_oneof![
        "\\PC{0,60}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..130),
        (0usize..3000).prop_map(|length| vec![b'x'; length]),
    ];
    let fault = prop::option::weighted(0.1, (0usize..14, any::<u8>()));
    (opcode, any::<bool>(), body, fault).prop_map(|(opcode, fin, body, fault)| {
        let mut frame = masked(opcode, fin || opcode.is_control(), KEY, &body);
        if let Some((at, byte)) = fault
            && let Some(place) = frame.get_mut(at)
        {
            *place = byte;
        }
        frame
    })
}

#[test]
fn a_whole_message_is_not_copied() {
    let mut bytes =
        [masked(Opcode::Text, true, KEY, b"hello"), masked(Opcode::Binary, true, KEY, &[7; 300])].concat();
    let mut parser = Parser::new(LIMIT);
    let mut input = bytes.as_mut_slice();
    assert!(matches!(parser.next(&mut input), Ok(Some(Event::Text(Cow::Borrowed("hello"))))));
    assert!(
        matches!(parser.next(&mut input), Ok(Some(Event::Binary(Cow::Borrowed(body)))) if body == [7; 300])
    );
    assert!(matches!(parser.next(&mut input), Ok(None)));
}

#[test]
fn control_frames_come_between_fragments() {
    let bytes = [
        masked(Opcode::Text, false, KEY, b"one "),
        masked(Opcode::Ping, true, KEY, b"?"),
        masked(Opcode::Continuation, true, KEY, b"two"),
    ]
    .concat();
    for size in 1..bytes.len() {
        let mut parser = Parser::new(LIMIT);
        let (events, error) = feed(&mut parser, &bytes, &vec![size; bytes.len()]);
        assert_eq!(error, None);
        assert_eq!(events, [Event::Ping(Cow::Borrowed(b"?")), text("one two")]);
        assert!(parser.is_idle());
    }
}

#[test]
fn nothing_is_read_after_a_close() {
    let close = masked(Opcode::Close, true, KEY, b"\x0F\xA0over");
    let bytes = [close, masked(Opcode::Text, true, KEY, b"late")].concat();
    let (events, error) = feed(&mut Parser::new(LIMIT), &bytes, &[]);
    assert_eq!(error, None);
    assert_eq!(events, [Event::Close(Some(CloseFrame { code: 4000, reason: "over".into() }))]);
}

#[test]
fn fragments_come_in_order() {
    assert_eq!(
        fault(&[masked(Opcode::Continuation, true, KEY, b"x")]),
        Some(ProtocolError::LoneContinuation)
    );
    let first = masked(Opcode::Text, false, KEY, b"x");
    assert_eq!(
        fault(&[first.clone(), masked(Opcode::Binary, true, KEY, b"y")]),
        Some(ProtocolError::InterruptedMessage)
    );
    let last = masked(Opcode::Continuation, true, KEY, b"y");
    assert_eq!(fault(&[first, last.clone(), last]), Some(ProtocolError::LoneContinuation));
}

#[test]
fn a_long_message_is_refused_before_its_body_is_read() {
    let limit = 100;
    let header_only = |opcode, length| masked(opcode, false, KEY, &vec![0; length])[..6].to_vec();
    let mut parser = Parser::new(limit);
    let too_long = Some(ProtocolError::TooLong { limit: 100 });
    assert_eq!(feed(&mut parser, &header_only(Opcode::Text, 101), &[]).1, too_long);

    // The fragments of one message count together.
    let mut parser = Parser::new(limit);
    let first = masked(Opcode::Binary, false, KEY, &[0; 60]);
    assert_eq!(feed(&mut parser, &first, &[]), (vec![], None));
    assert_eq!(feed(&mut parser, &header_only(Opcode::Continuation, 41), &[]).1, too_long);

    let whole = masked(Opcode::Binary, true, KEY, &[0; 100]);
    assert_eq!(feed(&mut Parser::new(limit), &whole, &[]).1, None);
    let huge = [0x82, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];
    assert_eq!(feed(&mut Parser::new(limit), &huge, &[]).1, too_long);
}

#[test]
fn a_control_frame_is_not_held_against_the_message_limit() {
    let ping = masked(Opcode::Ping, true, KEY, &[1; 125]);
    assert_eq!(feed(&mut Parser::new(10), &ping, &[]).1, None);
}

#[test]
fn endless_fragments_are_refused() {
    let mut parser = Parser::new(LIMIT);
    let mut frames = masked(Opcode::Text, false, KEY, b"");
    for _ in 1..1024 {
        frames.extend(masked(Opcode::Continuation, false, KEY, b""));
    }
    assert_eq!(feed(&mut parser, &frames, &[]), (vec![], None));
    let one_more = masked(Opcode::Continuation, true, KEY, b"");
    let error = feed(&mut parser, &one_more, &[]).1;
    assert_eq!(error, Some(ProtocolError::TooManyFragments { limit: 1024 }));
}

#[test]
fn bad_text_is_found_at_the_frame_or_chunk_that_shows_it() {
    // A surrogate in the first fragment (Autobahn 6.4.1).
    let first = masked(Opcode::Text, false, KEY, b"ok \xED\xA0\x80");
    assert_eq!(fault(&[first]), Some(ProtocolError::InvalidUtf8));

    // The same in the middle of one frame whose end has not come (6.4.3).
    let frame = masked(Opcode::Text, true, KEY, b"ok \xED\xA0\x80 and more");
    let error = feed(&mut Parser::new(LIMIT), &frame[..frame.len() - 9], &[6]).1;
    assert_eq!(error, Some(ProtocolError::InvalidUtf8));

    // Cut at the end of the message, in one frame and in two.
    assert_eq!(fault(&[masked(Opcode::Text, true, KEY, b"ok \xCE")]), Some(ProtocolError::InvalidUtf8));
    let first = masked(Opcode::Text, false, KEY, b"ok \xCE");
    let last = masked(Opcode::Continuation, true, KEY, b"");
    assert_eq!(fault(&[first.clone(), last]), Some(ProtocolError::InvalidUtf8));

    // Cut between two frames of one message, which is no fault.
    let last = masked(Opcode::Continuation, true, KEY, b"\xBA");
    let (events, error) = feed(&mut Parser::new(LIMIT), &[first, last].concat(), &[]);
    assert_eq!((events, error), (vec![text("ok κ")], None));
}

#[test]
fn memory_is_not_reserved_on_the_word_of_a_header() {
    let mut parser = Parser::new(u32::MAX);
    let header = [0x82, 0xFF, 0, 0, 0, 0, 0xFF, 0, 0, 0, 0, 0, 0, 0, 9];
    assert_eq!(feed(&mut parser, &header, &[]), (vec![], None));
    assert!(parser.kept_bytes() < 1024);
}

#[test]
fn an_idle_parser_is_two_words() {
    assert_eq!(size_of::<Parser>(), 16);
}
