//! Too many subscriptions.

use std::net::SocketAddr;

use serde_json::json;

use crate::client::Client;
use crate::refusal::{are_refused, text};
use crate::server::undisturbed;

/// The default limit.
const LIMIT: usize = 128;

/// A command that subscribes to so many topics at once.
pub(crate) fn connect(prefix: &str, count: usize) -> String {
    let topics: Vec<_> = (0..count).map(|n| json!({ "topic": format!("{prefix}.{n}") })).collect();
    format!(r#"{{"id":9,"connect":{{"subscribe":{}}}}}"#, json!(topics))
}

pub(crate) fn all(address: SocketAddr) {
    for count in [LIMIT + 1, 2000] {
        let refused = text(connect("t", count), "limit_exceeded").field("subscribe");
        are_refused(address, &[refused.over(LIMIT as u64, count as u64)]);
    }
    let mut client = Client::v1(address);
    let reply = client.ask(&connect("t", LIMIT));
    assert_eq!(reply["ok"]["subscribed"].as_array().map(Vec::len), Some(LIMIT), "{reply}");
    let reply = client.ask(r#"{"id":1,"subscribe":{"topic":"more"}}"#);
    assert_eq!(reply["error"]["code"], "limit_exceeded", "{reply}");
    assert_eq!(reply["error"]["field"], "topic");
    assert_eq!((&reply["error"]["limit"], &reply["error"]["value"]), (&json!(LIMIT), &json!(LIMIT + 1)));
    // One that is held already counts once, and one that is given up makes room.
    client.subscribe("t.0");
    assert_eq!(client.ask(r#"{"id":2,"unsubscribe":{"topic":"t.1"}}"#), json!({"id":2,"ok":{}}));
    client.subscribe("more");
    let again = client.ask(r#"{"id":3,"connect":{}}"#);
    assert_eq!(
        (&again["error"]["code"], &again["error"]["field"]),
        (&json!("bad_request"), &json!("connect"))
    );
}

#[test]
fn subscriptions_are_limited() {
    undisturbed(&[], |server| all(server.address));
}
