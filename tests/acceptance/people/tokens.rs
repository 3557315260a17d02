//! Tokens that end, and rights that are taken back.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use fanfare::{
    BrokerBuilder,
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{Handshake, Refusal},
    topic::TopicConfig,
};
use serde_json::{Value, json};

use super::harness::{Backend, Client, Site};

/// Whoever says `NAME` or `NAME:MS` is the user of this name, for so long; what the staff says is for the staff.
#[derive(Clone)]
struct Badges {
    staff: Arc<Mutex<BTreeSet<String>>>,
}

impl Badges {
    fn new(staff: &[&str]) -> Self {
        Self { staff: Arc::new(Mutex::new(staff.iter().map(|&name| name.to_owned()).collect())) }
    }

    fn fire(&self, name: &str) {
        assert!(self.staff.lock().unwrap().remove(name));
    }

    async fn site(&self) -> Site {
        let build = |builder: BrokerBuilder| {
            let log = TopicConfig::new().history(100);
            builder.policy(self.clone()).topic("room", log.clone()).topic("staff.news", log)
        };
        Site::start(Backend::Memory, build).await.unwrap()
    }
}

#[async_trait]
impl Policy for Badges {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        let Some(token) = handshake.credential() else { return Ok(Admission::AwaitConnect) };
        let (name, time) = token.split_once(':').unwrap_or((token, ""));
        if name.is_empty() {
            return Err(Refusal::unauthenticated("the token names nobody"));
        }
        let identity = Identity::user(name);
        Ok(Admission::Accept(match time.parse() {
            Ok(ms) => identity.expires_in(Duration::from_millis(ms)),
            Err(_) => identity,
        }))
    }

    fn authorize<'a>(&'a self, who: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        let topic = match action {
            Action::Subscribe(topic)
            | Action::Publish(topic)
            | Action::History(topic)
            | Action::Keep(topic) => topic,
            _ => return Verdict::deny(Refusal::forbidden("no patterns here")),
        };
        let is_staff = self.staff.lock().unwrap().contains(who.user.as_deref().unwrap_or_default());
        if topic.as_str().starts_with("staff.") && !is_staff {
            return Verdict::deny(Refusal::forbidden("staff only"));
        }
        Verdict::allow()
    }
}

/// Where a subscription begins, by the entry of a reply that tells of it.
fn after(entry: &Value) -> Value {
    json!({ "topic": entry["topic"], "after": entry["pos"] })
}

fn entry<'a>(welcome: &'a Value, topic: &str) -> &'a Value {
    welcome["subscribed"].as_array().unwrap().iter().find(|entry| entry["topic"] == topic).unwrap()
}

fn remaining(frame: &Value) -> u64 {
    frame["expires_ms"].as_u64().unwrap_or_else(|| panic!("{frame}"))
}

/// It is told in time, cut, and comes back with its session, in which everything is authorized anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_expires_is_announced_the_connection_is_cut_and_recovery_asks_again() {
    let badges = Badges::new(&["ann"]);
    let site = badges.site().await;
    let address = &site.node(0).address;
    let subscribe = json!([{ "topic": "room" }, { "topic": "staff.news" }]);
    let mut ann = Client::entering(address, json!({ "token": "ann:1500", "subscribe": subscribe })).await;
    assert!((1..=1500).contains(&remaining(&ann.welcome)));
    let (code, frames) = ann.ended().await;
    assert_eq!(code, Some(4004));
    let [announced, close] = &frames[..] else { panic!("{frames:?}") };
    assert!((1..=300).contains(&remaining(&announced["token"])));
    assert_eq!(close["close"]["name"], "token_expired");

    // While nobody is there, something is said, and a right is gone.
    for topic in ["room", "staff.news"] {
        site.broker().publish(topic, "missed").await.unwrap();
    }
    badges.fire("ann");
    let mut subscribe = ["room", "staff.news"].map(|topic| after(entry(&ann.welcome, topic)));
    // The secret alone is not enough, whoever shows it.
    let mut nobody = Client::open(address).await;
    nobody
        .command(json!({ "connect": { "token": ":", "session": ann.session(), "subscribe": subscribe } }))
        .await;
    let (code, frames) = nobody.ended().await;
    assert_eq!((code, frames.len()), (Some(4001), 1), "{frames:?}");
    let thief = Client::entering(address, json!({ "token": "mal", "session": ann.session() })).await;
    assert_eq!(thief.welcome.get("resumed"), None);
    assert_eq!(thief.welcome.get("subscribed"), None, "{}", thief.welcome);

    let connect = json!({ "token": "ann", "session": ann.session(), "subscribe": subscribe });
    let mut back = Client::entering(address, connect).await;
    assert_eq!((&back.welcome["resumed"], back.name()), (&json!(true), ann.name()));
    assert_eq!(entry(&back.welcome, "room")["recovered"], true);
    let refused = entry(&back.welcome, "staff.news");
    assert_eq!((&refused["error"]["code"], refused.get("pos")), (&json!("forbidden"), None), "{refused}");
    back.expect("room", "missed").await;
    assert_eq!(back.next().await["live"], true);
    for topic in ["staff.news", "room"] {
        site.broker().publish(topic, "marker").await.unwrap();
    }
    back.nothing_before("room", "marker").await;

    // What was refused is not brought back by coming back once more.
    subscribe[0] = json!({ "topic": "room" });
    let connect = json!({ "token": "ann", "session": back.session() });
    back.vanish();
    let back = Client::entering(address, connect).await;
    assert_eq!(back.welcome["resumed"], true);
    let subscribed: Vec<_> =
        back.welcome["subscribed"].as_array().unwrap().iter().map(|e| &e["topic"]).collect();
    assert_eq!(subscribed, ["room"]);
}

/// A token's whole life passes, and the connection stays; with somebody else's token nothing is won.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_refreshed_in_time_keeps_the_connection() {
    let site = Badges::new(&["ann"]).site().await;
    let mut ann = site.node(0).client("ann:10000").await;
    ann.subscribe("staff.news").await;
    // Has the same time, and a moment later: when it is closed, hers would be.
    let mut careless = site.node(0).client("ben:10000").await;

    let announced = ann.next().await;
    assert!((1..=2000).contains(&remaining(&announced["token"])), "{announced}");
    for (token, code) in [("ben", "forbidden"), (":", "unauthenticated")] {
        let error = ann.try_ask(json!({ "refresh": { "token": token } })).await.unwrap_err();
        assert_eq!(error["code"], code);
    }
    let refreshed = ann.ask(json!({ "refresh": { "token": "ann:3600000" } })).await;
    assert!((3_590_000..=3_600_000).contains(&remaining(&refreshed)));

    let (code, frames) = careless.ended().await;
    assert_eq!((code, frames.len()), (Some(4004), 2), "{frames:?}");
    site.broker().publish("staff.news", "marker").await.unwrap();
    ann.nothing_before("staff.news", "marker").await;
}

/// The subscription ends with a word, nothing more of it is heard, and no way leads back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_taken_back_ends_the_subscription_and_recovery_asks_again() {
    let badges = Badges::new(&["ann", "ben"]);
    let site = badges.site().await;
    let [mut ann, mut ben] = site.people(["ann", "ben"]).await;
    let mut begun = Value::Null;
    for person in [&mut ann, &mut ben] {
        person.subscribe("room").await;
        begun = person.subscribe("staff.news").await;
    }
    badges.fire("ann");
    let revoked = site.broker().clients().user("ann").revoke("staff.>").await.unwrap();
    assert_eq!((revoked.clients, revoked.changed), (1, 1));
    let ended = json!({ "topic": "staff.news", "code": "revoked", "retry": false });
    assert_eq!(ann.next().await, json!({ "unsubscribed": ended }));
    for topic in ["staff.news", "room"] {
        site.broker().publish(topic, "said").await.unwrap();
        ben.expect(topic, "said").await;
    }
    ann.nothing_before("room", "said").await;
    for command in [
        json!({ "subscribe": { "topic": "staff.news", "after": begun["pos"] } }),
        json!({ "history": { "topic": "staff.news", "limit": 10 } }),
        json!({ "publish": { "topic": "staff.news", "data": 1 } }),
    ] {
        assert_eq!(ann.try_ask(command).await.unwrap_err()["code"], "forbidden");
    }

    let news = json!({ "topic": "staff.news", "after": begun["pos"] });
    let connect = json!({ "token": "ann", "session": ann.session(), "subscribe": [news] });
    ann.vanish();
    let mut back = Client::entering(&site.node(0).address, connect).await;
    assert_eq!(back.welcome["resumed"], true);
    assert_eq!(entry(&back.welcome, "staff.news")["error"]["code"], "forbidden");
    // The room was named without a cursor: it comes from where it began.
    assert_eq!(entry(&back.welcome, "room")["recovered"], true);
    back.expect("room", "said").await;
    assert_eq!(back.next().await["live"], true);
    for topic in ["staff.news", "room"] {
        site.broker().publish(topic, "marker").await.unwrap();
        ben.expect(topic, "marker").await;
    }
    back.nothing_before("room", "marker").await;
    let still = site.broker().clients().user("ben").topic("staff.news").count().await.unwrap();
    assert_eq!(still.total, 1, "nobody else's right was taken");
}
