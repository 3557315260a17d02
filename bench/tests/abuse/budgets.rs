//! More commands than a connection may send.

use std::net::SocketAddr;

use serde_json::Value;

use crate::client::Client;
use crate::frame::{TEXT, masked};
use crate::server::undisturbed;

/// Commands at once.
const BURST: usize = 200;

/// Sends a flood, and gives the replies before the close: first those of what was within the budget, then errors
/// that say when to come back.
fn flood(address: SocketAddr, path: &str, command: &str) -> Vec<Value> {
    let mut client = Client::open(address, path);
    client.send(&masked(TEXT, command.as_bytes()).repeat(5 * BURST));
    client.closed_with(4101, "rate_limited")
}

fn is_rate_limited(reply: &Value) -> bool {
    reply["error"]["code"] == "rate_limited"
}

fn says_when(reply: &Value, limit: usize) {
    let error = &reply["error"];
    assert!(
        error["retry"] == true && error["retry_ms"].as_u64().is_some_and(|wait| wait <= 10_000),
        "{reply}"
    );
    assert_eq!((&error["limit"], &error["value"]), (&limit.into(), &(limit + 1).into()), "{reply}");
}

pub(crate) fn commands(address: SocketAddr) {
    let good: fn(&Value) -> bool = |reply| reply["ok"].is_object();
    let malformed: fn(&Value) -> bool = |reply| reply["error"]["code"] == "bad_request";
    for (command, is_served) in [(r#"{"id":1,"ping":{}}"#, good), ("{", malformed)] {
        let replies = flood(address, "/ws", command);
        let served = replies.iter().filter(|reply| is_served(reply)).count();
        assert!(served >= BURST && replies[..BURST].iter().all(is_served), "{served} served");
        let refused: Vec<&Value> = replies.iter().filter(|reply| is_rate_limited(reply)).collect();
        assert_eq!(served + refused.len(), replies.len());
        assert!(refused.len() >= BURST, "it was told {} times before it was closed", refused.len());
        refused.into_iter().for_each(|reply| says_when(reply, BURST));
    }
}

/// Nothing is said in plain mode before the close.
pub(crate) fn plain(address: SocketAddr) {
    let mut client = Client::open(address, "/ws?topic=flooded");
    client.send(&masked(TEXT, b"x").repeat(5 * BURST));
    assert_eq!(client.closed().code, Some(4101));
}

/// Subscribing and reading history have budgets of their own; who is over them may go on with other things.
pub(crate) fn own_budgets(address: SocketAddr) {
    // 50 a second, on top of the 128 that it may hold.
    let mut client = Client::v1(address);
    client.send(&masked(TEXT, br#"{"id":1,"subscribe":{"topic":""}}"#).repeat(199));
    let replies: Vec<Value> = (0..199).map(|_| client.json()).collect();
    assert!(replies[..178].iter().all(|reply| reply["error"]["code"] == "invalid_topic"));
    let refused: Vec<&Value> = replies.iter().filter(|reply| is_rate_limited(reply)).collect();
    assert!(!refused.is_empty());
    refused.into_iter().for_each(|reply| says_when(reply, 178));
    client.is_well();

    // 10 a second.
    let mut client = Client::v1(address);
    client.send(&masked(TEXT, br#"{"id":1,"history":{"topic":"t"}}"#).repeat(100));
    let replies: Vec<Value> = (0..100).map(|_| client.json()).collect();
    assert!(!replies[..10].iter().any(is_rate_limited));
    let refused: Vec<&Value> = replies.iter().filter(|reply| is_rate_limited(reply)).collect();
    assert!(refused.len() > 50, "{}", refused.len());
    refused.into_iter().for_each(|reply| says_when(reply, 10));
    client.is_well();
}

pub(crate) fn all(address: SocketAddr) {
    commands(address);
    plain(address);
    own_budgets(address);
}

#[test]
fn floods_of_commands_are_refused_and_then_closed() {
    undisturbed(&[], |server| all(server.address));
}

#[test]
fn the_rate_is_the_one_that_was_set() {
    undisturbed(&["--commands-per-second", "60"], |server| {
        let mut client = Client::v1(server.address);
        client.send(&masked(TEXT, br#"{"id":1,"ping":{}}"#).repeat(1000));
        let replies = client.closed_with(4101, "rate_limited");
        assert!(replies[..120].iter().all(|reply| reply["ok"].is_object()));
        assert!(replies.iter().filter(|reply| is_rate_limited(reply)).count() >= 120);
    });
}
