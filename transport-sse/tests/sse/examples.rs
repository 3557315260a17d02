//! The examples of PROTOCOL.md are streams that this server could write.

use serde_json::Value;

use crate::{parser::Parser, support::app};

#[tokio::test]
async fn each_example_is_a_stream() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../PROTOCOL.md")).unwrap();
    let blocks: Vec<&str> =
        page.split("```events\n").skip(1).map(|rest| rest.split("```\n").next().unwrap()).collect();
    assert_eq!(blocks.len(), 3);
    let app = app().await;
    for block in blocks {
        assert!(block.ends_with("\n\n"), "an event ends with a blank line: {block}");
        let mut parser = Parser::default();
        let mut events = Vec::new();
        for event in block.split_inclusive("\n\n") {
            let read = parser.push(event.as_bytes());
            let is_message = read.first().is_some_and(|event| event.data.starts_with('{'));
            assert!(read.len() <= 1 && (is_message || !event.contains("{")), "{event}");
            if !parser.last_event_id.is_empty() {
                // Nobody refuses a cursor of the page.
                app.resume("topic=a&format=v1", &parser.last_event_id).await.begun().await;
            }
            events.extend(read);
        }
        assert!(events.len() >= 2 && parser.unknown.is_empty(), "{block}");
        for event in events {
            let frame: Option<Value> = serde_json::from_str(&event.data).ok();
            match &*event.name {
                "$gap" => assert!(frame.unwrap()["gap"].is_object()),
                "$live" => {
                    let frame = frame.unwrap();
                    assert_eq!(
                        (&frame["live"], frame["pos"].as_str()),
                        (&true.into(), Some(&*event.last_event_id))
                    );
                }
                "$cursor" => assert!(frame.unwrap()["pos"].is_string()),
                "$close" => {
                    let retry = frame.unwrap()["close"]["retry_ms"].as_u64();
                    assert!(retry.is_some() && parser.retry == retry);
                }
                name => assert!(!name.starts_with('$'), "{name}"),
            }
        }
    }
}
