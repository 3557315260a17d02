//! Messages for somebody.

use serde_json::json;

use super::harness::{Backend, Client, Site, on_every_backend};

on_every_backend! {
    a_private_message_reaches_all_tabs_of_its_user_and_nobody_else
}

/// Users whose names could be taken for each other's.
const OTHERS: [&str; 5] = ["ben", "anna", "ann.x", "Ann", "*"];

async fn a_private_message_reaches_all_tabs_of_its_user_and_nobody_else(backend: Backend) {
    let Some(site) = Site::start(backend, |builder| builder).await else { return };
    let mut tabs = site.people(["ann", "ann", "ann"]).await;
    let mut others = site.people(OTHERS).await;
    for person in tabs.iter_mut().chain(&mut others) {
        // Whatever they are subscribed to, it has nothing to do with it.
        for topic in [">", "*", "user.ann", "ann"] {
            person.subscribe(topic).await;
        }
    }
    let mut stream = site.node(1).events("ann", "format=v1").await;
    let mut others_stream = site.node(0).events("ben", "format=v1").await;
    // A tab that has gone is not missed.
    site.node(1).client("ann").await.leave().await;

    for n in 0..20 {
        if n % 2 == 0 {
            site.broker().publish_json("$user.ann", &n).await.unwrap();
        } else {
            site.broker().clients().user("ann").publish(json!(n).to_string()).await.unwrap();
        }
    }
    // The same way, and behind it.
    mark(&site, "ann").await;
    for other in OTHERS {
        mark(&site, other).await;
    }
    for tab in &mut tabs {
        for n in 0..20_i32 {
            let data = if n % 2 == 0 { json!(n) } else { json!(n.to_string()) };
            tab.expect("$user.ann", data).await;
        }
        tab.nothing_before("$user.ann", "marker").await;
    }
    for n in 0..20_i32 {
        let data = if n % 2 == 0 { json!(n) } else { json!(n.to_string()) };
        let message = stream.message().await;
        assert_eq!((&message["topic"], &message["data"]), (&json!("$user.ann"), &data));
    }
    assert_eq!(stream.message().await["data"], "marker");
    for (other, name) in others.iter_mut().zip(OTHERS) {
        other.nothing_before(&address(name), "marker").await;
    }
    assert_eq!(others_stream.message().await["data"], "marker");

    from_one_to_another(&mut others, &mut tabs).await;
}

/// A client may as well, where the policy allows it.
async fn from_one_to_another(others: &mut [Client], tabs: &mut [Client]) {
    let [ben, rest @ ..] = others else { panic!("nobody") };
    let [sender, tabs @ ..] = tabs else { panic!("nobody") };
    sender.publish("$user.ben", "from ann").await;
    let message = ben.expect("$user.ben", "from ann").await;
    assert_eq!(message["from"], json!({ "client": sender.name(), "user": "ann" }));
    ben.publish("$user.ann", "back").await;
    for tab in tabs.iter_mut().chain([&mut *sender]) {
        tab.expect("$user.ann", "back").await;
    }
    // To one of the tabs, by its name.
    ben.publish(&format!("$client.{}", sender.name()), "for you").await;
    ben.publish("$user.ann", "for all").await;
    let name = sender.name().to_owned();
    sender.expect(&format!("$client.{name}"), "for you").await;
    for tab in tabs.iter_mut().chain([sender]) {
        tab.nothing_before("$user.ann", "for all").await;
    }
    for (other, name) in rest.iter_mut().zip(&OTHERS[1..]) {
        ben.publish(&address(name), "second marker").await;
        other.nothing_before(&address(name), "second marker").await;
    }
}

async fn mark(site: &Site, user: &str) {
    site.broker().publish(&address(user)[..], "marker").await.unwrap();
}

/// A user's address, with the name escaped as a segment is.
fn address(user: &str) -> String {
    let mut escaped = String::new();
    for letter in user.chars() {
        match letter {
            '.' => escaped.push_str("%2E"),
            '*' => escaped.push_str("%2A"),
            other => escaped.push(other),
        }
    }
    format!("$user.{escaped}")
}
