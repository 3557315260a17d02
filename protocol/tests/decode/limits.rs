//! Frames that are too much.

use fanfare_core::session::{CommandError, ErrorCode};
use fanfare_protocol::{DecodeLimits, decode_text};

use crate::{publish, refused};

#[test]
fn what_is_over_a_limit_is_named_with_the_limit_and_the_value() {
    let named = |frame: &str| {
        let CommandError { code, field, limit, value, .. } = decode_text(frame).unwrap_err().error;
        (code, field, limit, value)
    };
    for field in ["event", "key", "message_id"] {
        let frame = |text: &str| format!(r#"{{"publish":{{"topic":"t","data":1,"{field}":"{text}"}}}}"#);
        assert!(decode_text(&frame(&"x".repeat(255))).is_ok());
        // Bytes count, escapes do not.
        assert!(decode_text(&frame(&"\\u0041".repeat(255))).is_ok());
        assert_eq!(named(&frame(&"é".repeat(128))), (ErrorCode::TooLarge, Some(field), Some(255), Some(256)));
    }
    let topics = |n| format!(r#"{{"publish":{{"topics":[{}],"data":1}}}}"#, vec!["\"t\""; n].join(","));
    assert_eq!(publish(&topics(16)).topics.len(), 16);
    assert_eq!(named(&topics(17)), (ErrorCode::LimitExceeded, Some("topics"), Some(16), Some(17)));
    assert_eq!(named(&topics(9_000)), (ErrorCode::LimitExceeded, Some("topics"), Some(16), Some(9_000)));
    let entries = |n| format!(r#"{{"connect":{{"subscribe":[{}]}}}}"#, vec![r#"{"topic":"t"}"#; n].join(","));
    assert!(decode_text(&entries(128)).is_ok());
    assert_eq!(named(&entries(129)), (ErrorCode::LimitExceeded, Some("subscribe"), Some(128), Some(129)));
    let small = DecodeLimits { subscribe: 1, ..DecodeLimits::default() };
    assert!(small.decode_text(&entries(1)).is_ok());
    assert!(small.decode_text(&entries(2)).is_err());
}

#[test]
fn deep_nesting_neither_overflows_nor_reaches_a_subscriber() {
    const DEEP: usize = 60 * 1024;
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let frame = |data: &str| format!(r#"{{"id":1,"publish":{{"topic":"t","data":{data}}}}}"#);
    for open in ["[", "{\"a\":", "[{\"a\":"] {
        let deep = open.repeat(DEEP / open.len());
        assert!(decode_text(&deep).is_err());
        assert!(decode_text(&frame(&deep)).is_err());
        for key in ["ping", "x", "id", "call", "publish", "connect"] {
            assert!(decode_text(&format!(r#"{{"{key}":{deep}"#)).is_err());
        }
    }
    // Where nothing is kept, depth does no harm.
    assert!(decode_text(&format!(r#"{{"ping":{{}},"x":{}}}"#, nested(DEEP))).is_ok());
    assert!(decode_text(&format!(r#"{{"ping":{{"x":{}}}}}"#, nested(DEEP))).is_ok());
    assert_eq!(refused(&format!(r#"{{"ping":{}}}"#, nested(DEEP))).1, ErrorCode::BadRequest);
    assert_eq!(
        refused(&format!(r#"{{"connect":{{"subscribe":{}}}}}"#, nested(DEEP))).1,
        ErrorCode::BadRequest
    );

    assert!(decode_text(&frame(&nested(100))).is_ok());
    let error = decode_text(&frame(&nested(101))).unwrap_err().error;
    assert_eq!(error.code, ErrorCode::TooLarge);
    assert_eq!((error.field, error.limit, error.value), (Some("data"), Some(100), Some(101)));
    assert_eq!(refused(&frame(&nested(DEEP))).1, ErrorCode::TooLarge);
}
