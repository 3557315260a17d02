//! Half a minute without a network, as in a tunnel.

use std::{collections::BTreeMap, time::Duration};

use fanfare::{BrokerBuilder, topic::TopicConfig};
use fanfare_testkit::proxy::ChaosProxy;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::harness::{Backend, Client, Site};

const AWAY: Duration = Duration::from_secs(30);

/// How many messages each topic has before the network goes, and while it is gone.
const BEFORE: u64 = 10;
const MEANWHILE: u64 = 60;

/// How many messages a topic keeps that does not keep all.
const KEPT: u64 = 20;

/// What becomes of the connection on the server meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Silence {
    /// It is there still: the next ping would be too late.
    Unnoticed,
    /// A ping was not answered, and the session waits for its client.
    Noticed,
}

impl Silence {
    fn ping(self) -> Duration {
        match self {
            Self::Unnoticed => Duration::from_secs(25),
            // And ten more until it counts as unanswered.
            Self::Noticed => Duration::from_secs(5),
        }
    }
}

/// Once with a network that is back after half a minute, before the server has noticed that it was gone, and once after; on each backend, all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_thirty_seconds_without_network_what_was_missed_arrives_once_in_order_or_a_gap_is_shown() {
    let backends = [Backend::Memory, Backend::Redis, Backend::Nats];
    let unnoticed = backends.map(|backend| is_away(backend, Silence::Unnoticed));
    let noticed = backends.map(|backend| is_away(backend, Silence::Noticed));
    tokio::join!(join_all(unnoticed), join_all(noticed));
}

async fn is_away(backend: Backend, silence: Silence) {
    let build = |builder: BrokerBuilder| {
        let (all, some) = (TopicConfig::new().history(1000), TopicConfig::new().history(KEPT as usize));
        builder
            .topic("news", all.clone())
            .topic("orders", all)
            .topic("brief", some)
            .ping_interval(silence.ping())
    };
    let Some(site) = Site::start(backend, build).await else { return };
    let near = &site.node(0);
    let proxy = ChaosProxy::start(near.address.parse().unwrap()).await.unwrap();
    let mut ann = Client::of_user(&proxy.addr().to_string(), "ann").await;
    let mut ben = site.node(1).client("ben").await;
    let mut cursors = BTreeMap::new();
    for topic in ["news", "brief", "typing"] {
        cursors.insert(topic, ann.subscribe(topic).await["pos"].clone());
    }
    let made = near.broker.clients().user("ann").subscribe("orders").await.unwrap();
    assert_eq!(made.changed, 1);
    assert_eq!(ann.next().await["subscribed"]["topic"], "orders");
    for n in 0..BEFORE {
        ben.publish("news", n).await;
        cursors.insert("news", ann.expect("news", n).await["pos"].clone());
    }

    proxy.blackhole();
    for n in BEFORE..BEFORE + MEANWHILE {
        for topic in ["news", "brief", "typing", "orders"] {
            ben.publish(topic, n).await;
        }
        tokio::time::sleep(AWAY / MEANWHILE as u32).await;
    }
    let parked = near.broker.stats().parked_sessions;
    assert_eq!(parked, usize::from(silence == Silence::Noticed), "{backend:?} {silence:?}");

    let wanted = ["news", "brief", "typing"].map(|topic| json!({ "topic": topic, "after": cursors[topic] }));
    let connect = json!({ "token": "ann", "session": ann.session(), "subscribe": wanted });
    let mut back = match silence {
        // By another network, on another node, while the old connection seems to be there still.
        Silence::Unnoticed => Client::entering(&site.node(1).address, connect).await,
        // By the same.
        Silence::Noticed => {
            proxy.heal();
            Client::entering(&proxy.addr().to_string(), connect).await
        }
    };
    assert_eq!((&back.welcome["resumed"], back.name()), (&json!(true), ann.name()), "{}", back.welcome);
    for topic in ["news", "brief", "typing", "orders"] {
        ben.publish(topic, "marker").await;
    }
    hears_what_was_missed(&mut back, &format!("{backend:?} {silence:?}")).await;
    if silence == Silence::Unnoticed {
        proxy.heal();
        assert_eq!(
            ann.ended().await.0,
            Some(4203),
            "the old connection ends when its session goes on elsewhere"
        );
    }
}

/// What is said of one topic, up to the marker.
#[derive(Default)]
struct Heard {
    data: Vec<u64>,
    gaps: Vec<Value>,
    is_over: bool,
}

async fn hears_what_was_missed(back: &mut Client, what: &str) {
    let mut heard: BTreeMap<String, Heard> = BTreeMap::new();
    while heard.values().filter(|heard| heard.is_over).count() < 4 {
        let frame = back.next().await;
        let heard = heard.entry(frame["topic"].as_str().unwrap().to_owned()).or_default();
        assert!(!heard.is_over || frame["live"] == true, "{what}: something comes after the end: {frame}");
        if let Some(gap) = frame.get("gap") {
            assert!(heard.data.is_empty(), "{what}: a gap in the wrong place: {frame}");
            heard.gaps.push(gap.clone());
        } else if frame["data"] == "marker" {
            heard.is_over = true;
        } else if let Some(n) = frame["data"].as_u64() {
            heard.data.push(n);
        } else {
            assert_eq!(frame["live"], true, "{what}: {frame}");
        }
    }

    let missed: Vec<_> = (BEFORE..BEFORE + MEANWHILE).collect();
    for topic in ["news", "orders"] {
        assert_eq!((&heard[topic].data, &heard[topic].gaps[..]), (&missed, &[][..]), "{what} {topic}");
    }
    // What the log has given up is told, and the rest is there. The marker may push one more out of it while that is read.
    let brief = &heard["brief"];
    let (gap, pushed_out) = match &brief.gaps[..] {
        [gap] => (gap, None),
        [gap, pushed_out] => (gap, Some(pushed_out)),
        gaps => panic!("{what}: {gaps:?}"),
    };
    assert_eq!(gap["reason"], "history", "{what}");
    if let Some(pushed_out) = pushed_out {
        assert_eq!(pushed_out["reason"], "slow", "{what}");
        assert_eq!(pushed_out["missed"].as_u64().unwrap_or(1), 1, "{what}: {pushed_out}");
    }
    let lost = missed.len() - brief.data.len();
    let told = lost - usize::from(pushed_out.is_some());
    // Not every backend can count what is gone.
    assert!(gap.get("missed").is_none_or(|count| *count == told), "{what}: {told} and {gap}");
    assert_eq!(brief.data, missed[lost..], "{what}");
    assert!(told > 0 && brief.data.len() as u64 + 1 >= KEPT, "{what}: {gap}");
    // What nobody keeps is told as lost, once.
    let typing = &heard["typing"];
    assert!(typing.data.is_empty(), "{what}");
    assert_eq!(typing.gaps, [json!({ "reason": "history" })], "{what}");
}
