use bytes::BytesMut;
use fanfare_core::subscriber::SubscriptionId;

use super::{ids::Place, *};

fn at(epoch: u64, offset: u64) -> Position {
    Position::new(Epoch::new(epoch), offset)
}

fn text(places: &[(&str, Option<Position>)]) -> String {
    let places = places.iter().enumerate();
    let places = places.map(|(n, (topic, position))| Place::new(SubscriptionId(n as u32), topic, *position));
    let mut out = BytesMut::new();
    Ids::new(places.collect()).write(&mut out);
    let line = String::from_utf8(out.to_vec()).unwrap();
    line.strip_prefix("id: ").unwrap_or_default().trim_end_matches('\n').to_owned()
}

#[test]
fn each_topic_is_found_wherever_it_is_named() {
    let cursor = text(&[
        ("a", Some(at(7, 1))),
        ("b", None),
        ("c", Some(at(7, 300))),
        ("d", Some(at(u64::MAX, u64::MAX))),
    ]);
    let cursor = Cursor::parse(&cursor, 4).unwrap();
    assert_eq!(cursor.position("d"), Some(at(u64::MAX, u64::MAX)));
    assert_eq!(cursor.position("c"), Some(at(7, 300)));
    assert_eq!(cursor.position("a"), Some(at(7, 1)));
    assert_eq!(cursor.position("b"), None);
    assert_eq!(cursor.position("e"), None);
}

/// Names can be made to meet in one hash. Their cursor is one that was given out: refused, no browser would come back.
#[test]
fn names_that_meet_are_nowhere() {
    let cursor = text(&[("a", Some(at(7, 1))), ("a", Some(at(7, 2))), ("b", Some(at(7, 3)))]);
    let read = Cursor::parse(&cursor, 3).unwrap();
    assert_eq!((read.position("a"), read.position("b")), (Some(at(0, 0)), Some(at(7, 3))));
    assert!(Cursor::parse(&cursor, 1).is_err());
}

#[test]
fn a_cursor_of_one_topic_is_its_position() {
    let position = at(942_933, 42);
    let cursor = text(&[("a", Some(position))]);
    assert_eq!(cursor, position.to_string());
    assert_eq!(Cursor::parse(&cursor, 1), Ok(Cursor::Topic(position)));
    assert_eq!(text(&[("a", None)]), "");
    assert_eq!(text(&[("a", None), ("b", None)]), "");
}

#[test]
fn the_hash_is_what_earlier_versions_wrote() {
    assert_eq!(
        text(&[("chat.lobby", Some(at(1, 2))), ("news", Some(at(1, 3)))]),
        "AQEBUYm8XeUyAAJbuqA6gG8AAw"
    );
}

#[test]
fn no_cursor_is_longer_than_its_limit() {
    for topics in [1, 2, 64, 200] {
        let names: Vec<String> = (0..topics).map(|n| format!("topic.{n}")).collect();
        let places: Vec<_> = names
            .iter()
            .enumerate()
            .map(|(n, name)| (&**name, Some(at(u64::MAX - n as u64, u64::MAX))))
            .collect();
        let cursor = text(&places);
        assert!(cursor.len() <= longest(topics), "{topics}: {}", cursor.len());
        let read = Cursor::parse(&cursor, topics).unwrap();
        assert!(places.iter().all(|(name, position)| read.position(name) == *position));
        if topics > 1 {
            assert!(Cursor::parse(&cursor, topics - 1).is_err());
        }
    }
    // What nginx takes of one header unless told otherwise, its name included.
    assert!(longest(200) + "Last-Event-ID: \r\n".len() <= 8 * 1024);
}

#[test]
fn what_is_no_cursor_is_refused() {
    let good = text(&[("a", Some(at(7, 1))), ("b", Some(at(8, 300)))]);
    assert!(Cursor::parse(&good, 2).is_ok());
    let malformed = |text: &str| assert_eq!(Cursor::parse(text, 2), Err(InvalidCursor::Malformed), "{text}");
    for text in
        ["", "A", "AQ=", "AQ==", "AQ", "Ag", "!", "a:", "A:1", "a:1:2", " k3f9:4", "AQEB53nHm6Y", "\u{20ac}"]
    {
        malformed(text);
    }
    for cut in 1..good.len() {
        // An entry less is a cursor still; half of one is none.
        if let Ok(Cursor::Topics(places)) = Cursor::parse(&good[..cut], 2) {
            assert!(places.len() < 2);
        }
    }
    malformed(&format!("{good}AA"));
    let limit = longest(2);
    let long = "A".repeat(limit + 1);
    assert_eq!(Cursor::parse(&long, 2), Err(InvalidCursor::TooLong { limit, length: limit + 1 }));
}
