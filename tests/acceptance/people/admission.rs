//! Who is not let in.

use async_trait::async_trait;
use fanfare::{
    BrokerBuilder,
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{Handshake, Refusal},
    topic::TopicConfig,
};
use serde_json::{Value, json};

use super::harness::{Backend, Client, Site};
use crate::support::Curl;

/// `good-NAME` is the user NAME, whom `banned` is not; anything else is no token of ours; who shows none has to, in `connect`.
struct Tokens;

#[async_trait]
impl Policy for Tokens {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        let Some(token) = handshake.credential() else { return Ok(Admission::AwaitConnect) };
        match token.strip_prefix("good-") {
            Some("banned") => Err(Refusal::forbidden("you are banned")),
            Some(name) => Ok(Admission::Accept(Identity::user(name))),
            None => Err(Refusal::unauthenticated("this is no token of ours")),
        }
    }

    fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
        Verdict::allow()
    }
}

fn guarded(builder: BrokerBuilder) -> BrokerBuilder {
    builder.policy(Tokens).topic("room", TopicConfig::new().history(100))
}

/// What somebody sends who does not wait to be let in.
fn eager() -> [Value; 4] {
    [
        json!({ "id": 2, "publish": { "topic": "room", "data": "let me in" } }),
        json!({ "id": 3, "subscribe": { "topic": "room", "last": 100 } }),
        json!({ "id": 4, "history": { "topic": "room", "limit": 100 } }),
        json!({ "id": 5, "presence": { "topic": "room" } }),
    ]
}

/// An app in whose room something was said, which is none of a stranger's business.
async fn site() -> (Site, Client) {
    let site = Site::start(Backend::Memory, guarded).await.unwrap();
    let mut member = site.node(0).client("good-ann").await;
    member.subscribe("room").await;
    site.broker().publish("room", "a secret").await.unwrap();
    member.expect("room", "a secret").await;
    (site, member)
}

/// Nothing of what a stranger sent has come of it.
async fn undisturbed(site: &Site, member: &mut Client) {
    site.broker().publish("room", "still a secret").await.unwrap();
    member.nothing_before("room", "still a secret").await;
    assert_eq!(site.broker().members("room").await.unwrap().total, 1);
}

/// It is closed with a code that a page's `CloseEvent` has, and was told nothing but that.
async fn is_refused(mut stranger: Client, code: u16, name: &str) {
    for command in eager() {
        // The connection may be gone by then.
        stranger.try_send(command).await;
    }
    let (closed, frames) = stranger.ended().await;
    assert_eq!(closed, Some(code), "{frames:?}");
    let [frame] = &frames[..] else { panic!("{frames:?}") };
    assert_eq!((&frame["close"]["code"], &frame["close"]["name"]), (&json!(code), &json!(name)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_token_is_refused_with_a_code_that_a_page_can_read_and_nothing_is_served_before() {
    let (site, mut member) = site().await;
    let address = &site.node(0).address;
    for (token, code, name) in [("stolen", 4001, "unauthenticated"), ("good-banned", 4003, "forbidden")] {
        let (query, bearer, cookie) =
            (format!("/ws?token={token}"), format!("Bearer {token}"), format!("token={token}"));
        is_refused(Client::opening(address, &query, &[]).await, code, name).await;
        is_refused(Client::opening(address, "/ws", &[("authorization", &bearer)]).await, code, name).await;
        is_refused(Client::opening(address, "/ws", &[("cookie", &cookie)]).await, code, name).await;
        // In the command, with others right behind.
        let mut stranger = Client::open(address).await;
        stranger
            .send(json!({ "id": 1, "connect": { "token": token, "subscribe": [{ "topic": "room" }] } }))
            .await;
        is_refused(stranger, code, name).await;
    }
    undisturbed(&site, &mut member).await;

    // With the right one the same is served.
    let mut friend = Client::opening(address, "/ws?token=good-ben", &[]).await;
    friend.subscribe("room").await;
    friend.publish("room", "hello").await;
    member.expect("room", "hello").await;
    friend.expect("room", "hello").await;
}

/// Nobody is served who has not said who it is, whatever comes first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_a_token_every_command_is_refused() {
    let (site, mut member) = site().await;
    let mut stranger = Client::open(&site.node(0).address).await;
    for command in eager() {
        stranger.send(command).await;
    }
    for id in 2..=5 {
        let error = stranger.reply(id).await.unwrap_err();
        assert_eq!((&error["code"], &error["retry"]), (&json!("unauthenticated"), &json!(false)));
    }
    undisturbed(&site, &mut member).await;
    // It is not too late for it.
    let welcome = stranger.ask(json!({ "connect": { "token": "good-ben" } })).await;
    assert_eq!(welcome["user"], "ben");
    stranger.publish("room", "hello").await;
    member.expect("room", "hello").await;
}

/// Who speaks plain HTTP reads a status, and an error in words of v1.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_token_is_refused_by_a_status_over_http() {
    let (site, mut member) = site().await;
    let address = &site.node(0).address;
    for (token, status, code) in [("stolen", "401", "unauthenticated"), ("good-banned", "403", "forbidden")] {
        for request in ["events?topic=room&last=100", "publish?topic=room", "ws?topic=room"] {
            let url = format!("http://{address}/{request}&token={token}");
            let publishes = ["--data", "\"let me in\"", "--header", "content-type: application/json"];
            let upgrades = [
                "--http1.1",
                "--header",
                "connection: upgrade",
                "--header",
                "upgrade: websocket",
                "--header",
                "sec-websocket-version: 13",
                "--header",
                "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
            ];
            let more: &[&str] = match request {
                _ if request.starts_with("publish") => &publishes,
                _ if request.starts_with("ws") => &upgrades,
                _ => &[],
            };
            let said = ["--max-time", "20", "--write-out", "\n%{http_code}", &url];
            let answer = Curl::answer(&[&said[..], more].concat()).await;
            let (body, said) = answer.trim_end().rsplit_once('\n').unwrap();
            assert_eq!(said, status, "{request}: {answer}");
            let error: Value = serde_json::from_str(body).unwrap_or_else(|_| panic!("{request}: {answer}"));
            assert_eq!(error["error"]["code"], code, "{request}");
        }
    }
    undisturbed(&site, &mut member).await;
}
