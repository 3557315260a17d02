//! Every example of PROTOCOL.md: what a client sends is decoded, and what the server sends is what [`encode`]
//! writes for the same frame, byte for byte.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod frames;
mod object;
mod presence;
mod replies;

use bytes::BytesMut;
use fanfare_core::session::ErrorCode;
use fanfare_protocol::{Kind, decode_binary, decode_text};
use object::Object;

/// What this server answers with `unknown_method`.
const NOT_SERVED: [&str; 1] = ["dance"];

#[test]
fn every_frame_of_a_client_is_decoded() {
    let lines = examples('C');
    assert!(lines.len() >= 25, "only {} examples were found", lines.len());
    for (line, binary) in &lines {
        let decoded = if *binary {
            let length = u32::try_from(line.len()).unwrap().to_be_bytes();
            decode_binary(&[&length, line.as_bytes(), b"\0payload\xff"].concat())
        } else {
            decode_text(line)
        };
        let served = !NOT_SERVED.iter().any(|name| line.contains(&format!("\"{name}\":{{")));
        match decoded {
            Ok(_) => assert!(served, "{line}"),
            Err(error) => {
                assert!(!served && error.error.code == ErrorCode::UnknownMethod, "{line}: {error:?}");
                assert_eq!(error.id.is_some(), line.contains("\"id\""), "{line}");
            }
        }
    }
    for method in [
        "connect",
        "subscribe",
        "unsubscribe",
        "publish",
        "history",
        "ping",
        "refresh",
        "call",
        "answer",
        "presence",
    ] {
        assert!(
            lines.iter().any(|(line, _)| line.contains(&format!("\"{method}\":{{"))),
            "no example of {method}"
        );
    }
}

#[test]
fn every_frame_of_the_server_is_what_encode_writes() {
    let lines = examples('S');
    assert!(lines.len() >= 40, "only {} examples were found", lines.len());
    for (line, binary) in &lines {
        let mut out = BytesMut::new();
        let kind = parse(line).encode(*binary, &mut out);
        if *binary {
            assert_eq!(kind, Kind::Binary, "{line}");
            assert_eq!(out[..4], u32::try_from(line.len()).unwrap().to_be_bytes(), "{line}");
            assert_eq!(std::str::from_utf8(&out[4..]).unwrap(), line);
        } else {
            assert_eq!(kind, Kind::Text, "{line}");
            assert_eq!(std::str::from_utf8(&out).unwrap(), line);
        }
    }
}

/// The lines of one side, and whether each is the header of a binary frame.
fn examples(side: char) -> Vec<(String, bool)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../PROTOCOL.md");
    let page = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut block = None;
    let mut lines = Vec::new();
    for line in page.lines() {
        match (block, line) {
            (None, "```frames") => block = Some(false),
            (None, "```frames-binary") => block = Some(true),
            (Some(_), "```") => block = None,
            (Some(binary), line) => {
                let (prefix, frame) = line.split_once(' ').unwrap_or_else(|| panic!("no example: {line}"));
                assert!(matches!(prefix, "C" | "S"), "no example: {line}");
                assert!(serde_json::from_str::<serde_json::Value>(frame).unwrap().is_object(), "{line}");
                if prefix.starts_with(side) {
                    lines.push((frame.to_owned(), binary));
                }
            }
            (None, _) => {}
        }
    }
    lines
}

fn parse(line: &str) -> Object<'_> {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"))
}
