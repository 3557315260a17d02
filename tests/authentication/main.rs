//! The policy of the guide on authentication, as the guide shows it, over real WebSocket frames.
#![allow(clippy::unwrap_used)]

#[allow(unreachable_pub, reason = "it is shown as an app would write it")]
mod members;

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use fanfare::{Broker, session::CloseKind, topic::TopicConfig};
use fanfare_testkit::{TestBroker, TestClient, transport::Event};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use members::{Claims, DenyList, Members};
use serde_json::json;

const SECRET: &[u8] = b"a secret of 32 bytes, at the least";

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Claims of a user who belongs to the team "a.b", for so many seconds.
fn claims(sub: &str, seconds: u64) -> Claims {
    Claims {
        sub: sub.to_owned(),
        aud: "fanfare".to_owned(),
        exp: now() + seconds,
        jti: format!("{sub}-1"),
        teams: vec!["a.b".to_owned()],
    }
}

fn signed(claims: &Claims) -> String {
    encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(SECRET)).unwrap()
}

async fn start() -> (TestBroker, Arc<DenyList>) {
    let denied = Arc::new(DenyList::default());
    let policy = Members::new(SECRET, denied.clone());
    (
        TestBroker::start(Broker::builder().policy(policy).topic("team.>", TopicConfig::new().history(10)))
            .await,
        denied,
    )
}

/// The name of the close code.
async fn refused(broker: &TestBroker, token: &str) -> String {
    broker.try_connect_as(token).await.expect_err("the token was taken").0.trim_matches('"').to_owned()
}

async fn forbidden(client: &mut TestClient, topic: &str) {
    assert_eq!(client.try_subscribe(topic).await.unwrap_err()["code"], "forbidden", "{topic}");
}

#[test]
fn the_guide_shows_what_is_tested() {
    let guide = include_str!("../../docs/authentication.md");
    assert!(guide.contains(include_str!("members.rs")), "docs/authentication.md shows another policy");
}

#[tokio::test]
async fn a_good_token_is_a_user_with_rights() {
    let (broker, _) = start().await;
    let mut ann = broker.connect_as(&signed(&claims("ann", 600))).await;
    ann.subscribe("news.today").await;
    ann.subscribe("team.a%2Eb.plans").await;
    for topic in ["team.a.b", "team.a", "team", "team.b.plans", "elsewhere", "team.*", "team.*.plans", ">"] {
        forbidden(&mut ann, topic).await;
    }
    ann.publish("team.a%2Eb.plans", "ours").await;
    let message = ann.message().await;
    assert_eq!(message.text(), "ours");
    let denied = ann.try_publish(json!({ "topic": "news.today", "data": 1 })).await;
    assert_eq!(denied.unwrap_err()["code"], "forbidden");
}

#[tokio::test]
async fn a_private_message_reaches_a_user_and_not_everybody() {
    let (broker, _) = start().await;
    let mut ann = broker.connect_as(&signed(&claims("ann", 600))).await;
    let mut tabs = [
        broker.connect_as(&signed(&claims("ben", 600))).await,
        broker.connect_as(&signed(&claims("ben", 600))).await,
    ];
    ann.publish("$user.ben", "psst").await;
    for tab in &mut tabs {
        assert_eq!(tab.message().await.text(), "psst");
    }
    for address in ["$all", "$nodes"] {
        let denied = ann.try_publish(json!({ "topic": address, "data": 1 })).await.unwrap_err();
        assert!(["forbidden", "invalid_topic"].contains(&denied["code"].as_str().unwrap()), "{denied}");
    }
}

#[tokio::test]
async fn a_token_that_is_none_of_ours_is_refused() {
    let (broker, denied) = start().await;
    let good = claims("ann", 600);
    let (key, header) =
        (EncodingKey::from_secret(b"another secret, not the one of ours"), Header::new(Algorithm::HS256));
    let forged = encode(&header, &good, &key).unwrap();
    let other_algorithm =
        encode(&Header::new(Algorithm::HS512), &good, &EncodingKey::from_secret(SECRET)).unwrap();
    let unsigned = {
        let token = signed(&good);
        let (_, rest) = token.split_once('.').unwrap();
        let (claims, _) = rest.split_once('.').unwrap();
        format!("eyJhbGciOiJub25lIn0.{claims}.") // {"alg":"none"}
    };
    let changed = {
        let (token, other) = (signed(&good), signed(&claims("root", 600)));
        let (mine, theirs): (Vec<_>, Vec<_>) = (token.split('.').collect(), other.split('.').collect());
        [mine[0], theirs[1], mine[2]].join(".")
    };
    let elsewhere = signed(&Claims { aud: "shop".to_owned(), ..claims("ann", 600) });
    for token in [&forged, &other_algorithm, &unsigned, &changed, &elsewhere, "no token"] {
        assert_eq!(refused(&broker, token).await, "unauthenticated", "{token}");
    }
    let expired = signed(&Claims { exp: now() - 1, ..claims("ann", 0) });
    assert_eq!(refused(&broker, &expired).await, "token_expired");

    drop(broker.connect_as(&signed(&good)).await);
    denied.add(&good.jti, good.exp);
    assert_eq!(refused(&broker, &signed(&good)).await, "unauthenticated");
    drop(broker.connect_as(&signed(&claims("ben", 600))).await);
}

#[tokio::test]
async fn a_token_ends_or_is_refreshed_on_the_connection() {
    let (broker, denied) = start().await;
    let mut ann = broker.connect_as(&signed(&claims("ann", 60))).await;
    let mut ben = broker.connect_as(&signed(&claims("ben", 5))).await;
    ann.subscribe("team.a%2Eb.plans").await;
    let answer = ann.refresh(&signed(&claims("ann", 600))).await.unwrap();
    assert!((500_000..=600_000).contains(&answer["expires_ms"].as_u64().unwrap()), "{answer}");
    assert!(matches!(ben.next().await, Event::Token { .. }), "told in time");
    assert_eq!(ben.closed().await, "token_expired");

    ann.publish("team.a%2Eb.plans", "still here").await;
    assert_eq!(ann.message().await.text(), "still here");
    let other = ann.refresh(&signed(&claims("ben", 600))).await.unwrap_err();
    assert_eq!(other["code"], "forbidden", "another user's");
    denied.add("ann-1", now() + 600);
    let taken_back = ann.refresh(&signed(&claims("ann", 600))).await.unwrap_err();
    assert_eq!(taken_back["code"], "unauthenticated");

    // A new token with fewer rights ends what it does not allow.
    let fewer = Claims { teams: Vec::new(), jti: "ann-2".to_owned(), ..claims("ann", 600) };
    ann.refresh(&signed(&fewer)).await.unwrap();
    let (topic, code) = ann.unsubscribed_by_server().await;
    assert_eq!((&*topic, &*code), ("team.a%2Eb.plans", "revoked"));
}

#[tokio::test]
async fn what_was_given_is_taken_back() {
    let (broker, _) = start().await;
    let mut ann = broker.connect_as(&signed(&claims("ann", 600))).await;
    ann.subscribe("team.a%2Eb.plans").await;
    ann.subscribe("news.today").await;
    let reached = broker.clients().user("ann").revoke("team.>").await.unwrap();
    assert_eq!((reached.clients, reached.changed), (1, 1));
    assert_eq!(ann.unsubscribed_by_server().await.1, "revoked");
    broker.clients().user("ann").disconnect(CloseKind::Kicked).await.unwrap();
    assert_eq!(ann.closed().await, "kicked");
}
