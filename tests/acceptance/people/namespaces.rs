//! Namespaces: parts of the topics with rules of their own.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use fanfare::{
    Broker, BrokerBuilder, Namespace,
    message::Payload,
    policy::{Action, Admission, Identity, Policy, Verdict},
    presence::PresenceConfig,
    session::{Handshake, Refusal},
    topic::TopicConfig,
};
use serde_json::{Value, json};

use super::harness::{Backend, Names, Site, on_every_backend, until};

on_every_backend! {
    two_namespaces_on_one_connection_leak_nothing_into_each_other
    namespaces_by_pattern_are_freed_when_they_are_empty
}

/// Who may do something in a namespace: those whom a function names for a topic.
struct Members(fn(user: &str, topic: &str) -> bool);

#[async_trait]
impl Policy for Members {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        Names.connect(handshake).await
    }

    fn authorize<'a>(&'a self, who: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        let topic = match action {
            Action::Subscribe(topic)
            | Action::Publish(topic)
            | Action::History(topic)
            | Action::Presence(topic) => topic.as_str(),
            Action::SubscribePattern(pattern) => pattern.as_str(),
            _ => return Verdict::deny(Refusal::forbidden("nothing else")),
        };
        if (self.0)(who.user.as_deref().unwrap_or_default(), topic) {
            Verdict::allow()
        } else {
            Verdict::deny(Refusal::forbidden("not a member"))
        }
    }
}

/// What the hooks of a namespace have heard.
type Heard = Arc<Mutex<Vec<String>>>;

fn heard(heard: &Heard) -> Vec<String> {
    let mut heard = heard.lock().unwrap().clone();
    heard.sort();
    heard
}

/// A namespace whose hooks tell what they hear, and sign what is published.
fn namespace(name: &'static str, told: &Heard) -> Namespace {
    let (subscribed, unsubscribed) = (told.clone(), told.clone());
    Namespace::new()
        .on_subscribed(move |client, topic| {
            subscribed.lock().unwrap().push(format!("+{} {topic}", client.user().unwrap_or_default()));
            async {}
        })
        .on_unsubscribed(move |client, topic, _| {
            unsubscribed.lock().unwrap().push(format!("-{} {topic}", client.user().unwrap_or_default()));
            async {}
        })
        .on_publish(move |mut publish| async move {
            let data: Value = publish.payload.parse_json()?;
            publish.payload = Payload::json(&json!({ "in": name, "data": data }))?;
            Ok(publish)
        })
}

async fn two_namespaces_on_one_connection_leak_nothing_into_each_other(backend: Backend) {
    let (of_chat, of_staff) = (Heard::default(), Heard::default());
    let started = Site::start(backend, |builder| {
        let staff = Members(|user, _| user == "ann");
        builder
            .namespace("chat.>", namespace("chat", &of_chat))
            .namespace("staff.>", namespace("staff", &of_staff).policy(staff))
    });
    let Some(site) = started.await else { return };
    let [mut ann, mut ben] = site.people(["ann", "ben"]).await;
    for topic in ["chat.lobby", "staff.lobby"] {
        ann.subscribe(topic).await;
    }
    ben.subscribe("chat.lobby").await;
    // No right in one namespace is a right in the other, nor does a pattern that reaches into it go around its policy.
    for topic in ["staff.lobby", "staff.*", ">", "*.lobby"] {
        let error = ben.try_ask(json!({ "subscribe": { "topic": topic } })).await.unwrap_err();
        assert_eq!(error["code"], "forbidden", "{topic}");
    }
    let refused = json!({ "publish": { "topic": "staff.lobby", "data": "from ben" } });
    assert_eq!(ben.try_ask(refused).await.unwrap_err()["code"], "forbidden");
    let refused = json!({ "publish": { "topics": ["chat.lobby", "staff.lobby"], "data": "from ben" } });
    assert_eq!(ben.try_ask(refused).await.unwrap_err()["code"], "forbidden");

    for n in 0..20 {
        ann.publish("staff.lobby", n).await;
        ann.publish("chat.lobby", 100 + n).await;
    }
    // Ann's messages of each namespace are in order; between topics there is none.
    let (mut chat, mut staff) = (Vec::new(), Vec::new());
    for _ in 0..40 {
        let message = ann.next().await;
        match message["topic"].as_str().unwrap() {
            "chat.lobby" => chat.push(message["data"].clone()),
            "staff.lobby" => staff.push(message["data"].clone()),
            _ => panic!("{message}"),
        }
    }
    let signed = |name: &str, first: u64| -> Vec<Value> {
        (first..first + 20).map(|n| json!({ "in": name, "data": n })).collect()
    };
    assert_eq!((chat, staff), (signed("chat", 100), signed("staff", 0)));
    for data in signed("chat", 100) {
        ben.expect("chat.lobby", data).await;
    }
    // Of a message of the staff nobody is told but ann: this many it was offered to, on the node where ben is.
    let ben_is_there = site.node(1).broker.publish("staff.lobby", "to the staff").report().await.unwrap();
    let ann_is_there = usize::from(backend == Backend::Memory);
    assert_eq!(ben_is_there.matched, ann_is_there as u64);
    ann.expect("staff.lobby", "to the staff").await;

    // Leaving one is not leaving the other.
    ann.unsubscribe("chat.lobby").await;
    ann.publish("chat.lobby", "marker").await;
    ben.nothing_before("chat.lobby", json!({ "in": "chat", "data": "marker" })).await;
    ann.publish("staff.lobby", "marker").await;
    ann.nothing_before("staff.lobby", json!({ "in": "staff", "data": "marker" })).await;
    ann.leave().await;
    ben.leave().await;
    until("the hooks have heard of all", || heard(&of_chat).len() == 4 && heard(&of_staff).len() == 2).await;
    assert_eq!(heard(&of_chat), ["+ann chat.lobby", "+ben chat.lobby", "-ann chat.lobby", "-ben chat.lobby"]);
    assert_eq!(heard(&of_staff), ["+ann staff.lobby", "-ann staff.lobby"]);
}

/// How many tenants there are.
const TENANTS: usize = 40;

/// Of each tenant so many people are connected.
const PEOPLE: usize = 3;

fn tenants(builder: BrokerBuilder, told: &Heard) -> BrokerBuilder {
    // The people of a tenant have its name as theirs: acme's are `acme/1`, `acme/2`.
    let own = Members(|user, topic| topic.split('.').nth(1) == user.split('/').next());
    let presence = PresenceConfig::new().grace(std::time::Duration::from_millis(200));
    let tenants = namespace("tenant", told).policy(own).topic(TopicConfig::new().presence(presence));
    builder.namespace("tenant.*", tenants)
}

async fn namespaces_by_pattern_are_freed_when_they_are_empty(backend: Backend) {
    let told = Heard::default();
    let Some(site) = Site::start(backend, |builder| tenants(builder, &told)).await else { return };
    let before: Vec<_> = site.nodes.iter().map(|node| held(&node.broker)).collect();
    for _ in 0..2 {
        let mut people = Vec::new();
        for tenant in 0..TENANTS {
            for person in 0..PEOPLE {
                let mut client = site.node(person).client(&format!("t{tenant}/{person}")).await;
                let topic = format!("tenant.t{tenant}");
                client.ask(json!({ "subscribe": { "topic": topic, "presence": true } })).await;
                let other = format!("tenant.t{}", (tenant + 1) % TENANTS);
                let error = client.try_ask(json!({ "subscribe": { "topic": other } })).await.unwrap_err();
                assert_eq!(error["code"], "forbidden");
                people.push((topic, client));
            }
        }
        for (topic, client) in people.iter_mut().step_by(PEOPLE) {
            client.publish(topic, topic.as_str()).await;
        }
        for (topic, client) in &mut people {
            let message = loop {
                let frame = client.next().await;
                assert_eq!(frame["topic"], *topic);
                if frame.get("presence").is_none() {
                    break frame;
                }
            };
            assert_eq!(message["data"], json!({ "in": "tenant", "data": topic }));
        }
        assert!(site.nodes.iter().all(|node| node.broker.topics().len() >= TENANTS));
        // All go, each in one of the ways of going.
        for (number, (topic, mut client)) in people.into_iter().enumerate() {
            match number / PEOPLE % 3 {
                0 => client.leave().await,
                1 => {
                    client.unsubscribe(&topic).await;
                    client.leave().await;
                }
                _ => client.vanish(),
            }
        }
        until("nothing is held for anybody", || {
            site.nodes.iter().zip(&before).all(|(node, before)| held(&node.broker) == *before)
        })
        .await;
    }
    let all = 2 * TENANTS * PEOPLE;
    until("the hooks have heard of all", || heard(&told).len() == 2 * all).await;
    assert_eq!(heard(&told).iter().filter(|line| line.starts_with('+')).count(), all);
}

/// What a node holds: the names of its topics, and how much of what is there for a client.
fn held(broker: &Broker) -> (Vec<String>, [usize; 4]) {
    let mut topics: Vec<_> = broker.topics().iter().map(|topic| topic.topic.as_str().to_owned()).collect();
    topics.sort();
    let stats = broker.stats();
    let queued = usize::try_from(stats.queued).unwrap();
    (topics, [stats.topics, stats.subscriptions, stats.connections, queued])
}
