//! What an envelope survives, and what it does not take.

use proptest::prelude::*;

use super::*;

fn outgoing() -> impl Strategy<Value = Outgoing> {
    let label = || proptest::option::of(".{0,40}".prop_map(Arc::<str>::from));
    let payload = prop_oneof![
        ".{0,200}".prop_map(Payload::text),
        proptest::collection::vec(any::<u8>(), 0..300).prop_map(Payload::binary),
        Just(Payload::parsed_json("{\"a\":1}").unwrap()),
    ];
    let publisher = proptest::option::of((any::<u64>(), label()));
    let except = proptest::option::of(proptest::collection::vec(any::<u64>(), 0..5));
    let also = proptest::collection::vec(("[a-z]{1,9}", any::<u64>(), any::<u64>()), 0..4);
    let origin = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>());
    (payload, label(), label(), label(), publisher, except, also, origin).prop_map(
        |(payload, event, key, message_id, publisher, except, also, (node, stream, seq, time_ms))| {
            let node = NodeId::new(node);
            let mut parts = MessageParts::new(TopicName::new("chat.lobby").unwrap(), payload);
            (parts.event, parts.key, parts.message_id, parts.time_ms) = (event, key, message_id, time_ms);
            parts.publisher =
                publisher.map(|(client, user)| Publisher { client: ClientId::new(client), user });
            parts.except = except.map(|except| except.into_iter().map(ClientId::new).collect());
            let also = also
                .into_iter()
                .map(|(name, stream, seq)| (TopicName::new(name).unwrap(), Origin { node, stream, seq }));
            Outgoing {
                message: parts,
                retention: None,
                origin: Origin { node, stream, seq },
                also: also.collect(),
            }
        },
    )
}

fn assert_same(decoded: &Envelope, outgoing: &Outgoing) {
    // Debug of a payload says its kind and length alone.
    assert_eq!(decoded.message.payload, outgoing.message.payload);
    assert_eq!(format!("{:?}", decoded.message), format!("{:?}", outgoing.message));
    assert_eq!(decoded.origin, outgoing.origin);
    assert_eq!(decoded.also, outgoing.also);
}

proptest! {
    #[test]
    fn a_message_survives_its_envelope(outgoing in outgoing(), place in proptest::option::of((any::<u64>(), 1..u64::MAX))) {
        let place = place.map(|(epoch, offset)| LogPlace {
            position: Position::new(Epoch::new(epoch), offset),
            prev: offset - 1,
        });
        let mut bytes = place.map(Envelope::place_header).unwrap_or_default().into_bytes();
        bytes.extend_from_slice(&Envelope::encode(&outgoing));
        let decoded = Envelope::decode(bytes.into()).unwrap();
        assert_same(&decoded, &outgoing);
        prop_assert_eq!(decoded.place, place);
    }

    #[test]
    fn an_envelope_that_is_cut_short_in_its_head_is_refused(outgoing in outgoing()) {
        let bytes = Envelope::encode(&outgoing);
        for end in 0..bytes.len() - outgoing.message.payload.len() {
            prop_assert!(Envelope::decode(bytes.slice(..end)).is_err(), "{}", end);
        }
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), version: bool) {
        let mut bytes = bytes;
        if version {
            bytes.splice(0..0, [VERSION, 2, 0x7f]);
        }
        // What is taken is written the same way again.
        if let Ok(envelope) = Envelope::decode(bytes.clone().into())
            && envelope.place.is_none()
            && (envelope.also.is_empty() == (bytes[2] & HAS_ALSO == 0))
        {
            let outgoing = Outgoing {
                message: envelope.message, retention: None, origin: envelope.origin, also: envelope.also,
            };
            prop_assert_eq!(Envelope::encode(&outgoing), bytes);
        }
    }

    #[test]
    fn no_text_is_an_envelope(text in "[^0-9].{0,100}") {
        let refused = Envelope::decode(text.into_bytes().into());
        let is_refused = matches!(refused, Err(EnvelopeError::Version { .. }));
        prop_assert!(is_refused);
    }
}

fn plain() -> Bytes {
    let parts = MessageParts::new(TopicName::new("a").unwrap(), "hello");
    Envelope::encode(&Outgoing::ephemeral(parts, Origin { node: NodeId::new(1), stream: 2, seq: 3 }))
}

#[test]
fn the_payload_is_not_copied() {
    let bytes = plain();
    let end = bytes.as_ptr_range().end;
    let decoded = Envelope::decode(bytes.clone()).unwrap();
    assert_eq!(decoded.message.payload.bytes().as_ptr_range().end, end);
}

#[test]
fn the_bytes_are_these() {
    let mut parts = MessageParts::new(TopicName::new("a").unwrap(), "hi");
    parts.time_ms = 1;
    let outgoing = Outgoing::ephemeral(parts, Origin { node: NodeId::new(1), stream: 2, seq: 300 });
    let expected = [
        &[0xF5, 1, 0][..],
        &[0, 0, 0, 0, 0, 0, 0, 1],
        &[0, 0, 0, 0, 0, 0, 0, 1],
        &[0, 0, 0, 0, 0, 0, 0, 2],
        &[0xAC, 0x02],
        &[1, b'a'],
        b"hi",
    ];
    assert_eq!(Envelope::encode(&outgoing), expected.concat());
}

#[test]
fn a_place_that_is_none_is_refused() {
    let headers =
        ["1:2:1", "1:2;", ":2:1;", "1:2:2;", "1:1:2;", "1:18446744073709551616:1;", "1:+2:1;", "1", "1:2:1:"];
    for header in headers {
        let bytes = [header.as_bytes(), &plain()].concat();
        assert!(Envelope::decode(bytes.into()).is_err(), "{header}");
    }
    let bytes = [b"7:2:1;", &plain()[..]].concat();
    let position = Position::new(Epoch::new(7), 2);
    assert_eq!(Envelope::decode(bytes.into()).unwrap().place, Some(LogPlace { position, prev: 1 }));
}

#[test]
fn counts_are_not_believed() {
    let head = [&[VERSION, 2, HAS_EXCEPT][..], &[0; 24], &[1, 1, b'a']].concat();
    // As many clients as a number can say, and none of them there.
    let bytes = [&head[..], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]].concat();
    assert!(matches!(Envelope::decode(bytes.into()), Err(EnvelopeError::Short)));
}
