//! A chat: rooms with history, who is in them and who is typing, private lines that reach all tabs of a user, and recovery of what was
//! missed. One process serves the page and the WebSocket; open it in two windows. With `--backend redis://..` or `nats://..` any number of
//! processes are one chat: behind a proxy that gives each window to any of them, nobody notices which, nor that one is gone.
//!
//! [`names`] says who is who and who may do what, [`whisper`] is what the page calls to write to one user.

mod names;
mod whisper;

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use axum::{
    Router,
    http::header::CONTENT_TYPE,
    routing::{any_service, get},
};
use clap::Parser;
use fanfare::{
    BackendFromUrl, Broker, http::Server, presence::PresenceConfig, session::Refusal, topic::TopicConfig,
    ws::WebSocket,
};
use tokio::net::TcpListener;

/// How many lines a room remembers.
const LINES: usize = 500;

/// How long a line may be, as JSON: bytes.
const LINE_BYTES: usize = 8 << 10;

/// How long somebody whose connection broke is still shown in a room: a page that is loaded again is back before.
const GRACE: Duration = Duration::from_secs(5);

/// How long the server takes to say goodbye when it is asked to stop.
const DRAIN: Duration = Duration::from_secs(5);

// It has no `Debug`, for the backend's URL may hold a password.
#[derive(Parser)]
#[command(about = "A chat over WebSocket")]
struct Args {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// What carries lines between processes, and keeps them: memory: for one process, or redis://HOST:PORT, nats://HOST:PORT and the like.
    /// The environment is the better place for a password, since everybody on the machine sees options.
    #[arg(
        long,
        value_name = "URL",
        default_value = "memory:",
        env = "FANFARE_BACKEND",
        hide_env_values = true
    )]
    backend: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();

    let room = TopicConfig::new()
        .history(LINES)
        .max_message(LINE_BYTES)
        .presence(PresenceConfig::new().grace(GRACE));
    let broker = Broker::builder()
        .backend_from_url(&args.backend)?
        .policy(names::Names::new()?)
        .topic("chat.*", room)
        .on_publish("chat.*", |publish| async move {
            match publish.payload.parse_json::<serde_json::Map<String, serde_json::Value>>() {
                Ok(_) => Ok(publish),
                Err(_) => Err(Refusal::invalid_payload("a line is a JSON object")),
            }
        })
        .on_call("whisper", whisper::whisper)
        .start()
        .await?;

    let script = |text| page("text/javascript", text);
    let app = Router::new()
        .route("/ws", any_service(WebSocket::new(&broker)?))
        .route("/", page("text/html; charset=utf-8", include_str!("../web/index.html")))
        .route("/chat.js", script(include_str!("../web/chat.js")))
        .route("/log.js", script(include_str!("../web/log.js")))
        .route("/page.js", script(include_str!("../web/page.js")))
        .route("/people.js", script(include_str!("../web/people.js")))
        .route("/places.js", script(include_str!("../web/places.js")))
        .route("/fanfare.js", script(include_str!("../web/fanfare.js")))
        .route("/style.css", page("text/css", include_str!("../web/style.css")))
        .route("/people.css", page("text/css", include_str!("../web/people.css")))
        .route("/icon.svg", page("image/svg+xml", include_str!("../web/icon.svg")));
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("http://{}", listener.local_addr()?);
    Ok(Server::new().serve_and_drain(listener, app, &broker, DRAIN).await?)
}

fn page(kind: &'static str, text: &'static str) -> axum::routing::MethodRouter {
    get(move || async move { ([(CONTENT_TYPE, kind)], text) })
}
