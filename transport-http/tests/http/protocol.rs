//! The examples of PROTOCOL.md are answered as it says.

use fanfare_core::topic::TopicConfig;
use fanfare_http::PublishConfig;
use serde_json::{Map, Value};

use crate::support::{Client, app_with, open};

#[tokio::test]
async fn every_example_is_answered_as_the_page_says() {
    let builder = open().topic("chat.*", TopicConfig::new().history(50));
    let app = app_with(builder, PublishConfig::new()).await;
    let blocks = examples();
    assert!(blocks.len() >= 4, "only {} examples were found", blocks.len());
    for block in blocks {
        let (request, answer) = block.trim_end().rsplit_once("\n\n").unwrap();
        let (head, body) = request.split_once("\n\n").unwrap();
        let (line, headers) = head.split_once('\n').unwrap();
        let sent = format!(
            "{line} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n{}\r\n\r\n{body}",
            body.len(),
            headers.replace('\n', "\r\n")
        );
        let mut client = Client::connect(app.address).await;
        client.send(sent.as_bytes()).await;
        let (status, expected) = answer.split_once(' ').unwrap();
        let expected: Value = serde_json::from_str(expected).unwrap();
        let came = client.answer().await;
        assert_eq!(came.status.to_string(), status, "{block}");
        assert_eq!(comparable(came.body), comparable(expected), "{block}");
    }
}

/// An answer without what differs from run to run, or is for people.
fn comparable(mut answer: Value) -> Value {
    fn blank(fields: &mut Map<String, Value>, name: &str) {
        if let Some(value) = fields.get_mut(name) {
            assert!(value.is_string(), "{value}");
            *value = "..".into();
        }
    }
    let fields = answer.as_object_mut().unwrap();
    blank(fields, "pos");
    if let Some(Value::Object(error)) = fields.get_mut("error") {
        blank(error, "message");
    }
    answer
}

fn examples() -> Vec<String> {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../PROTOCOL.md")).unwrap();
    let blocks = page.split("```publish\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap_or_default().to_owned()).collect()
}
