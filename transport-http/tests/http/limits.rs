//! How fast, and how many at once.

use std::{num::NonZeroU32, sync::Arc};

use async_trait::async_trait;
use fanfare_core::{
    BrokerBuilder,
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{Handshake, Refusal},
};
use fanfare_http::PublishConfig;
use tokio::sync::Semaphore;

use crate::support::{Answer, App, Client, app_with, open, post};

/// Everybody is who the query says.
struct Named;

#[async_trait]
impl Policy for Named {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        Ok(Admission::Accept(handshake.query("user").map_or_else(Identity::anonymous, Identity::user)))
    }

    fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
        Verdict::allow()
    }
}

/// Three messages at once, and then one in a long while.
fn slow() -> BrokerBuilder {
    open().policy(Named).limits(|limits| {
        limits.commands_per_second = NonZeroU32::MIN;
        limits.commands_burst = NonZeroU32::new(3).unwrap();
    })
}

async fn publish(app: &App, user: &str, from: &str) -> Answer {
    post(&format!("topic=t{user}")).header("x-forwarded-for", from).text("x").to(app).await
}

#[tokio::test]
async fn a_user_has_one_budget_whereever_the_messages_come_from() {
    let config = PublishConfig::new().trusted_proxies(["127.0.0.0/8"]).unwrap();
    let app = app_with(slow(), config).await;
    for from in ["192.0.2.1", "192.0.2.2", "192.0.2.3"] {
        assert_eq!(publish(&app, "&user=ann", from).await.status, 202);
    }
    let over = publish(&app, "&user=ann", "192.0.2.4").await;
    assert_eq!(over.refusal(), (429, "rate_limited"));
    assert_eq!((over.body["error"]["limit"].as_u64(), &over.body["error"]["retry"]), (Some(3), &true.into()));
    assert!(over.body["error"]["retry_ms"].as_u64().unwrap() <= 1000);
    assert_eq!(over.header("retry-after"), Some("1"));
    assert_eq!(publish(&app, "&user=bob", "192.0.2.4").await.status, 202);
}

#[tokio::test]
async fn those_without_a_user_share_the_budget_of_their_address() {
    let config = PublishConfig::new().trusted_proxies(["127.0.0.0/8"]).unwrap();
    let app = app_with(slow(), config).await;
    for (from, status) in [
        ("192.0.2.1", 202),
        ("192.0.2.1", 202),
        ("192.0.2.1", 202),
        ("192.0.2.1", 429),
        ("192.0.2.2", 202),
        ("2001:db8::1", 202),
        ("2001:db8::2", 202),
        ("2001:db8::ffff:3", 202),
        // One customer has as many addresses as he likes of a network.
        ("2001:db8::4", 429),
        ("2001:db8:0:1::4", 202),
    ] {
        assert_eq!(publish(&app, "", from).await.status, status, "{from}");
    }
}

#[tokio::test]
async fn so_many_at_once_of_one_and_so_many_in_all() {
    let gate = Arc::new(Semaphore::new(0));
    let held = gate.clone();
    let builder = open().policy(Named).limits(|limits| limits.publishes_in_flight = 2).on_publish(
        "t",
        move |publish| {
            let held = held.clone();
            async move {
                held.acquire().await.unwrap().forget();
                Ok(publish)
            }
        },
    );
    let app = app_with(builder, PublishConfig::new().at_once(3)).await;
    let mut waiting = Vec::new();
    for user in ["ann", "ann"] {
        let mut client = Client::connect(app.address).await;
        client.send(&post(&format!("topic=t&user={user}")).text("x").bytes()).await;
        waiting.push(client);
    }
    // Whether both have come as far as the hook only a refusal shows.
    let over = loop {
        let mut client = Client::connect(app.address).await;
        client.send(&post("topic=free&user=ann").text("x").bytes()).await;
        let answer = client.answer().await;
        if answer.status != 202 {
            break answer;
        }
    };
    assert_eq!(over.refusal(), (429, "limit_exceeded"));
    assert_eq!((over.body["error"]["limit"].as_u64(), &over.body["error"]["retry"]), (Some(2), &true.into()));
    assert_eq!(over.header("retry-after"), Some("1"));

    let mut client = Client::connect(app.address).await;
    client.send(&post("topic=t&user=bob").text("x").bytes()).await;
    waiting.push(client);
    let full = loop {
        let answer = post("topic=free&user=cid").text("x").to(&app).await;
        if answer.status != 202 {
            break answer;
        }
    };
    assert_eq!(full.refusal(), (503, "limit_exceeded"));
    assert_eq!(full.header("retry-after"), Some("1"));

    gate.add_permits(3);
    for mut client in waiting {
        assert_eq!(client.answer().await.status, 202);
    }
    assert_eq!(post("topic=free&user=ann").text("x").to(&app).await.status, 202);
}
