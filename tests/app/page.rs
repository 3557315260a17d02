//! What the browser's client is tried against: an app that serves the module and an empty page, answers calls, calls back, and does with its
//! clients what an app can do. With a backend it is a node, which tests can kill.

use std::{net::SocketAddr, time::Duration};

use async_trait::async_trait;
use axum::{
    Router,
    http::header::CONTENT_TYPE,
    response::Html,
    routing::{any_service, get},
};
use clap::Parser;
use fanfare::{
    BackendFromUrl, Broker,
    calls::{CallConfig, ClientCall},
    http::Server,
    message::Payload,
    policy::{Action, Admission, Identity, Policy, Verdict},
    presence::PresenceConfig,
    session::{ErrorCode, Handshake, Refusal},
    topic::TopicConfig,
    ws::WebSocket,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[derive(Debug, Parser)]
struct Args {
    #[arg(long)]
    listen: SocketAddr,

    /// What several nodes share.
    #[arg(long, default_value = "memory:")]
    backend: String,

    /// How often nodes hear of each other, in milliseconds.
    #[arg(long, default_value = "2000")]
    heartbeat: u64,
}

/// Whoever says a name is a user of this name; with `NAME:MS` for so long.
struct Names;

#[async_trait]
impl Policy for Names {
    async fn connect(&self, handshake: &Handshake) -> Result<Admission, Refusal> {
        let Some(token) = handshake.credential() else { return Ok(Admission::AwaitConnect) };
        let (name, time) = token.split_once(':').unwrap_or((token, ""));
        let identity = Identity::user(name);
        Ok(Admission::Accept(match time.parse() {
            Ok(ms) => identity.expires_in(Duration::from_millis(ms)),
            Err(_) => identity,
        }))
    }

    fn authorize<'a>(&'a self, _: &'a Identity, action: Action<'a>) -> Verdict<'a> {
        match action {
            Action::Subscribe(topic) if topic.as_str().starts_with("staff.") => {
                Verdict::deny(Refusal::forbidden("staff only"))
            }
            _ => Verdict::allow(),
        }
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let presence = PresenceConfig::new().grace(Duration::from_secs(2));
    let at_once = CallConfig::new().concurrent(64);
    let broker = Broker::builder()
        .policy(Names)
        .backend_from_url(&args.backend)?
        .heartbeat(Duration::from_millis(args.heartbeat))
        .topic("log.*", TopicConfig::new().history(1000))
        .topic("room.*", TopicConfig::new().presence(presence))
        .on_call_with("echo", at_once, |call| async move { Ok(call.payload) })
        .on_call_with("wait", at_once, |call| async move {
            let ms: u64 = call.payload.parse_json()?;
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(call.payload)
        })
        .on_call("crash", |_| async { panic!("as a bug would") })
        .on_call_with("ask.me", at_once, ask_me)
        .on_call_with("ask.all", at_once, ask_all)
        .on_call("subscribe.me", |call| async move {
            let topic: String = call.payload.parse_json()?;
            let me = call.broker.clients().client(call.client.id);
            me.subscribe(&topic).await.map_err(wrong)?;
            Ok(call.payload)
        })
        .on_call("members", |call| async move {
            let topic: String = call.payload.parse_json()?;
            let members = call.broker.members(&topic[..]).await.map_err(wrong)?;
            let clients: Vec<_> = members.clients.iter().map(|member| member.client.to_string()).collect();
            let (answered, asked) = (members.answered, members.asked);
            Ok(Payload::json(&json!({ "clients": clients, "answered": answered, "asked": asked }))?)
        })
        .on_call("revoke", |call| async move {
            let pattern: String = call.payload.parse_json()?;
            let reached = call.broker.clients().revoke(&pattern).await.map_err(wrong)?;
            Ok(Payload::json(&reached.changed)?)
        })
        .on_call("tell", |call| async move {
            let (to, what): (String, Value) = call.payload.parse_json()?;
            call.broker.publish_json(&to[..], &what).await.map_err(wrong)?;
            Ok(call.payload)
        })
        .start()
        .await?;
    let script = || async {
        ([(CONTENT_TYPE, "text/javascript")], include_str!("../../examples/chat/web/fanfare.js"))
    };
    let app = Router::new()
        .route("/", get(|| async { Html("<!doctype html><title>A page</title>") }))
        .route("/fanfare.js", get(script))
        .route("/ws", any_service(WebSocket::new(&broker)?));
    let listener = TcpListener::bind(args.listen).await?;
    println!("http://{}", listener.local_addr()?);
    Ok(Server::new().serve(listener, app).await?)
}

/// Calls the client back, and returns what it says.
async fn ask_me(call: ClientCall) -> Result<Payload, Refusal> {
    let me = call.broker.clients().client(call.client.id);
    let answers = me.call("question", call.payload).timeout(Duration::from_secs(5)).await.map_err(wrong)?;
    answers.one().map_err(wrong)
}

/// Calls all clients of a topic, and returns how many of them have answered what.
async fn ask_all(call: ClientCall) -> Result<Payload, Refusal> {
    let (topic, wait): (String, u64) = call.payload.parse_json()?;
    let all = call.broker.clients().topic(&topic[..]).call_json("question", &topic);
    let answers = all.timeout(Duration::from_millis(wait)).await.map_err(wrong)?;
    let said = answers.answers.iter().map(|(_, result)| match result {
        Ok(payload) => payload.parse_json().unwrap_or(Value::Null),
        Err(error) => json!({ "code": error.code }),
    });
    let said: Vec<Value> = said.collect();
    Ok(Payload::json(&json!({ "said": said, "asked": answers.asked }))?)
}

fn wrong(error: impl std::fmt::Display) -> Refusal {
    Refusal::new(ErrorCode::Internal, error.to_string())
}
