//! What is posted arrives as it was sent, once, and the answer says where.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use fanfare_core::{
    message::PayloadKind,
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{Handshake, Refusal},
};
use fanfare_http::PublishConfig;
use serde_json::json;

use crate::support::{app, app_with, next, open, post};

#[tokio::test]
async fn a_payload_arrives_as_what_its_content_type_says() {
    let app = app().await;
    let mut subscription = app.broker.subscribe("t").await.unwrap();
    for (kind, body, expected, bytes) in [
        ("application/json", b" {\"a\": 1}\n".as_slice(), PayloadKind::Json, b"{\"a\": 1}".as_slice()),
        ("application/activity+json; charset=utf-8", b"null", PayloadKind::Json, b"null"),
        ("text/plain", b" two\nlines\n", PayloadKind::Text, b" two\nlines\n"),
        ("text/markdown; charset=UTF-8", "é".as_bytes(), PayloadKind::Text, "é".as_bytes()),
        ("text/plain", b"", PayloadKind::Text, b""),
        ("application/octet-stream", b"\x00\xff", PayloadKind::Binary, b"\x00\xff"),
        ("image/png", b"png", PayloadKind::Binary, b"png"),
    ] {
        let answer = post("topic=t").body(kind, body).to(&app).await;
        assert_eq!((answer.status, answer.body.clone()), (202, json!({})), "{kind}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let message = next(&mut subscription).await;
        assert_eq!((message.value.kind(), &message.value.bytes()[..]), (expected, bytes), "{kind}");
    }
}

#[tokio::test]
async fn event_key_and_topic_are_those_of_the_query() {
    let app = app().await;
    let mut subscription = app.broker.subscribe("a b").await.err();
    assert!(subscription.take().is_some(), "a name holds no blank");
    let mut subscription = app.broker.subscribe("chat.é").await.unwrap();
    post("topic=chat.%C3%A9&event=line+2&key=k%26&unknown=x").text("hello").to(&app).await;
    let message = next(&mut subscription).await;
    let message = message.message();
    assert_eq!((message.event(), message.key()), (Some("line 2"), Some("k&")));
    let from = message.publisher().unwrap();
    assert_eq!(from.user, None);
    // The next request is another client.
    post("topic=chat.%C3%A9").text("hello").to(&app).await;
    let other = next(&mut subscription).await;
    assert_ne!(other.message().publisher().unwrap().client, from.client);
}

#[tokio::test]
async fn one_message_goes_to_several_ephemeral_topics() {
    let app = app().await;
    let mut first = app.broker.subscribe("a").await.unwrap();
    let mut second = app.broker.subscribe("b").await.unwrap();
    let answer = post("topic=a&topic=b&report=1").text("both").to(&app).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.body["report"]["matched"], 2);
    assert_eq!(next(&mut first).await.value.as_str(), Some("both"));
    assert_eq!(next(&mut second).await.value.as_str(), Some("both"));

    let refused = post("topic=a&topic=log").text("both").to(&app).await;
    assert_eq!(refused.fault(), (400, "bad_request", "topics"));
}

#[tokio::test]
async fn one_may_write_to_clients_where_the_policy_allows_it() {
    let app = app().await;
    let format = app.broker.register(Arc::new(Silent)).unwrap();
    let (_session, outbox) = app.broker.connect(Handshake::new("test"), &format).await.unwrap();
    let to = format!("topic=$client.{}&report=1", outbox.client());
    let answer = post(&to).text("hello").to(&app).await;
    assert_eq!((answer.status, &answer.body["report"]["matched"]), (202, &json!(1)));
    let both = post(&format!("topic=t&{to}")).text("hello").to(&app).await;
    assert_eq!((both.status, &both.body["report"]["matched"]), (202, &json!(1)));
    let nobody = post("topic=$user.ann&report=1").text("hello").to(&app).await;
    assert_eq!((nobody.status, &nobody.body["report"]["matched"]), (202, &json!(0)));
    assert_eq!(post("topic=$all").text("hello").to(&app).await.fault(), (403, "forbidden", "topic"));
    assert_eq!(post("topic=$nodes").text("hello").to(&app).await.fault(), (403, "forbidden", "topic"));
}

/// Says nothing.
struct Silent;

impl fanfare_core::message::Encoder for Silent {
    fn encode(&self, _: fanfare_core::message::Frame<'_>, _: &mut bytes::BytesMut) {}
}

#[tokio::test]
async fn a_logged_message_is_answered_with_its_position_and_a_repeat_with_the_first_ones() {
    let app = app().await;
    let mut log = app.broker.subscribe("log").await.unwrap();
    let first = post("topic=log").header("idempotency-key", "\"m 1\"").text("one").to(&app).await;
    let position = next(&mut log).await.message().position().unwrap();
    assert_eq!((first.status, first.body), (202, json!({ "pos": position.to_string() })));

    for key in ["\"m 1\"", "m 1"] {
        let repeat = post("topic=log").header("idempotency-key", key).text("again").to(&app).await;
        assert_eq!(repeat.body, json!({ "pos": position.to_string(), "duplicate": true }));
    }
    let other = post("topic=log").header("idempotency-key", "m-2").text("two").to(&app).await;
    assert!(other.body.get("duplicate").is_none());
    let message = next(&mut log).await;
    assert_eq!((message.value.as_str(), message.message().message_id()), (Some("two"), Some("m-2")));
    assert_eq!(other.body["pos"], message.message().position().unwrap().to_string());

    let ephemeral = post("topic=t").header("idempotency-key", "m-1").text("x").to(&app).await;
    assert_eq!(ephemeral.fault(), (400, "bad_request", "message_id"));
}

#[tokio::test]
async fn a_report_says_what_became_of_the_message_here() {
    let app = app().await;
    let _readers = (app.broker.subscribe("log").await.unwrap(), app.broker.subscribe("log").await.unwrap());
    let answer = post("topic=log&report=1").header("idempotency-key", "r").text("x").to(&app).await;
    let report = json!({
        "matched": 2, "delivered": 0, "queued": 2, "conflated": 0, "dropped": 0, "disconnected": 0
    });
    assert_eq!(answer.body, json!({ "pos": answer.body["pos"], "report": report }));
    let repeat = post("topic=log&report=1").header("idempotency-key", "r").text("x").to(&app).await;
    assert_eq!((&repeat.body["duplicate"], &repeat.body["report"]["matched"]), (&json!(true), &json!(0)));

    let app = app_with(open(), PublishConfig::new().reports(false)).await;
    assert_eq!(post("topic=t&report=1").text("x").to(&app).await.fault(), (403, "forbidden", "report"));
    assert_eq!(post("topic=t&report=0").text("x").to(&app).await.status, 202);
}

/// Knows two tokens, and counts what it is asked.
#[derive(Clone, Default)]
struct Counting {
    connects: Arc<AtomicUsize>,
    publishes: Arc<AtomicUsize>,
}

#[async_trait]
impl Policy for Counting {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        self.connects.fetch_add(1, Ordering::Relaxed);
        assert_eq!((handshake.transport, handshake.path.as_str()), ("http", "/publish"));
        match handshake.credential() {
            Some("secret-ann") => Ok(Admission::Accept(Identity::user("ann"))),
            Some("secret-bob") => Ok(Admission::Accept(Identity::user("bob"))),
            Some(_) => Err(Refusal::unauthenticated("the token is wrong")),
            None => Ok(Admission::AwaitConnect),
        }
    }

    fn authorize<'a>(&'a self, who: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        let Action::Publish(topic) = action else { return Verdict::deny(Refusal::forbidden("no")) };
        self.publishes.fetch_add(1, Ordering::Relaxed);
        let own = Some(topic.as_str()) == who.user.as_deref() || topic.as_str() == "log";
        if own { Verdict::allow() } else { Verdict::deny(Refusal::forbidden("not your topic")) }
    }
}

#[tokio::test]
async fn policy_and_hooks_are_asked_once_as_for_a_connection() {
    let policy = Counting::default();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hook = heard.clone();
    let builder = open()
        .policy(policy.clone())
        .on_connected(|_| async { panic!("nobody has connected") })
        .on_publish("*", move |mut publish| {
            let user = publish.client.user().unwrap_or_default().to_owned();
            hook.lock().unwrap().push((user, publish.client.transport, publish.event.clone()));
            async move {
                match publish.payload.as_str() {
                    Some("bad") => Err(Refusal::invalid_payload("not like this")),
                    Some("never") => Err(Refusal::forbidden("not this")),
                    _ => {
                        publish.payload = "changed".into();
                        Ok(publish)
                    }
                }
            }
        });
    let app = app_with(builder, PublishConfig::new()).await;
    let mut subscription = app.broker.subscribe("ann").await.unwrap();
    let asked = || (policy.connects.load(Ordering::Relaxed), policy.publishes.load(Ordering::Relaxed));

    let bearer = post("topic=ann&event=e").header("authorization", "Bearer secret-ann").text("hello");
    assert_eq!(bearer.to(&app).await.status, 202);
    assert_eq!(asked(), (1, 1));
    let message = next(&mut subscription).await;
    assert_eq!(message.value.as_str(), Some("changed"));
    assert_eq!(message.message().publisher().unwrap().user.as_deref(), Some("ann"));
    assert_eq!(*heard.lock().unwrap(), [("ann".to_owned(), "http", Some("e".into()))]);

    let cookie = post("topic=ann").header("cookie", "a=b; token=secret-ann").text("bad").to(&app).await;
    assert_eq!(cookie.refusal(), (422, "invalid_payload"));
    assert_eq!(cookie.body["error"]["message"], "not like this");
    let query = post("topic=ann&token=secret-ann").text("never").to(&app).await;
    assert_eq!(query.refusal(), (403, "forbidden"));
    assert_eq!((asked(), heard.lock().unwrap().len()), ((3, 3), 3));

    let foreign = post("topic=ann&token=secret-bob").text("x").to(&app).await;
    assert_eq!(foreign.fault(), (403, "forbidden", "topic"));
    assert_eq!((asked(), heard.lock().unwrap().len()), ((4, 4), 3));

    for (query, message) in [
        ("topic=ann", "a credential is needed, in a header, a cookie or the query"),
        ("topic=ann&token=wrong", "the token is wrong"),
    ] {
        let unknown = post(query).text("x").to(&app).await;
        assert_eq!(unknown.refusal(), (401, "unauthenticated"));
        assert_eq!(unknown.body["error"]["message"], message);
        assert_eq!(unknown.header("www-authenticate"), Some("Bearer"));
    }
    assert_eq!(asked(), (6, 4));

    // A name for a message is one user's own.
    let named = |user: &str| {
        post(&format!("topic=log&token=secret-{user}")).header("idempotency-key", "m").text("x").to(&app)
    };
    assert!(named("ann").await.body.get("duplicate").is_none());
    assert!(named("bob").await.body.get("duplicate").is_none());
    assert_eq!(named("ann").await.body["duplicate"], true);
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn axum_takes_it_as_a_handler() {
    use axum::{Router, routing};

    let broker = open().start().await.unwrap();
    let router = Router::new().route("/publish", routing::post(fanfare_http::Publish::new(&broker)));
    let address = crate::support::serve(fanfare_http::Server::new(), router).await;
    let app = crate::support::App { broker, address };
    assert_eq!(post("topic=t").text("x").to(&app).await.status, 202);
}
