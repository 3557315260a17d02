//! What is published again, because nobody knows whether it arrived.

use std::collections::BTreeSet;

use fanfare::{BrokerBuilder, topic::TopicConfig};
use fanfare_testkit::proxy::{ChaosProxy, Direction};
use serde_json::{Value, json};

use super::harness::{Backend, Client, Site, on_every_backend};

on_every_backend! {
    a_publish_that_is_sent_again_is_applied_once
}

const TOPIC: &str = "orders";

fn with_log(builder: BrokerBuilder) -> BrokerBuilder {
    builder.topic(TOPIC, TopicConfig::new().history(100))
}

fn order(message_id: &str, data: impl Into<Value>) -> Value {
    json!({ "publish": { "topic": TOPIC, "message_id": message_id, "data": data.into() } })
}

/// Sends an order on a connection that breaks before the reply: what has arrived is seen by the one who looks.
async fn lose_the_reply(site: &Site, watcher: &mut Client) -> Value {
    let proxy = ChaosProxy::start(site.node(0).address.parse().unwrap()).await.unwrap();
    let mut ann = Client::of_user(&proxy.addr().to_string(), "ann").await;
    proxy.half_open(Direction::ToClient);
    ann.command(order("m-1", "one book")).await;
    let arrived = watcher.expect(TOPIC, "one book").await;
    proxy.reset();
    assert_eq!(ann.ended().await, (None, vec![]), "there was a reply");
    arrived["pos"].clone()
}

async fn a_publish_that_is_sent_again_is_applied_once(backend: Backend) {
    let Some(site) = Site::start(backend, with_log).await else { return };
    let mut watchers = site.people(["gus", "hal"]).await;
    for watcher in &mut watchers {
        watcher.subscribe(TOPIC).await;
    }
    let [first, other] = &mut watchers;
    let position = lose_the_reply(&site, first).await;
    assert_eq!(other.expect(TOPIC, "one book").await["pos"], position);

    // Again on either node, also with something else in it: the first one counts.
    let mut anns = site.people(["ann", "ann"]).await;
    for ann in &mut anns {
        for data in ["one book", "two books"] {
            let again = ann.ask(order("m-1", data)).await;
            assert_eq!(again, json!({ "pos": position, "duplicate": true }));
        }
    }
    // On both at once.
    let [one, two] = &mut anns;
    for round in 0..10 {
        let (id, data) = (format!("at-once-{round}"), format!("at once {round}"));
        let (here, there) = tokio::join!(one.ask(order(&id, &data[..])), two.ask(order(&id, &data[..])));
        assert_eq!(here["pos"], there["pos"]);
        let first: BTreeSet<_> = [&here, &there].map(|ok| ok.get("duplicate").is_some()).into();
        assert_eq!(first, BTreeSet::from([false, true]), "{here} {there}");
    }
    // Another user's name for a message is another one.
    let mut ben = site.node(1).client("ben").await;
    let bens = ben.ask(order("m-1", "ben's book")).await;
    assert!(bens["pos"] != position && bens.get("duplicate").is_none(), "{bens}");
    ben.ask(order("last", "last")).await;

    let mut expected: Vec<_> = (0..10).map(|round| json!(format!("at once {round}"))).collect();
    expected.extend([json!("ben's book"), json!("last")]);
    for watcher in &mut watchers {
        for data in &expected {
            watcher.expect(TOPIC, data.clone()).await;
        }
    }
    expected.insert(0, json!("one book"));
    for ann in &mut anns {
        let page = ann.ask(json!({ "history": { "topic": TOPIC, "limit": 100 } })).await;
        let kept: Vec<_> =
            page["messages"].as_array().unwrap().iter().map(|message| &message["data"]).collect();
        assert_eq!(kept, expected.iter().collect::<Vec<_>>());
        // What keeps nothing cannot know.
        let typing = json!({ "publish": { "topic": "typing", "message_id": "m-2", "data": 1 } });
        assert_eq!(ann.try_ask(typing).await.unwrap_err()["code"], "bad_request");
    }
}
