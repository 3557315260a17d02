//! Live notifications: what an app has to tell its users, in all their tabs, and to those who were away when they come back.
//!
//! There are two ways to tell a user something, and this example is about when to take which:
//!
//! - What has to arrive is published to a **logged topic** of the user's own, `notify.NAME`. Whoever is away gets it on return,
//!   each message once and in order, or is told that some are missing.
//! - What is worth nothing later is published to the user's **address**, `$user.NAME`, or to everybody's, `$all`: it reaches all tabs
//!   that are open, without a subscription, and is gone.
//!
//! [`users`] says who may do what; [`notify`] is how the rest of an app tells users something.

mod notify;
mod users;

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use axum::{
    Router,
    http::header::CONTENT_TYPE,
    routing::{MethodRouter, any_service, get, post},
};
use clap::Parser;
use fanfare::{BackendFromUrl, Broker, http::Server, topic::TopicConfig, ws::WebSocket};
use tokio::net::TcpListener;

/// How many notifications of each user are kept, and for how long.
const KEPT: usize = 200;
const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long the server takes to say goodbye when it is asked to stop.
const DRAIN: Duration = Duration::from_secs(5);

// It has no `Debug`, for the backend's URL may hold a password.
#[derive(Parser)]
#[command(about = "Live notifications over WebSocket")]
struct Args {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
    /// What carries messages between processes, and keeps them: memory: for one process, or redis://HOST:PORT, nats://HOST:PORT and the like.
    /// The environment is the better place for a password, since everybody on the machine sees options.
    #[arg(
        long,
        value_name = "URL",
        default_value = "memory:",
        env = "FANFARE_BACKEND",
        hide_env_values = true
    )]
    backend: String,
    /// How often everybody is told how many are connected: seconds.
    #[arg(long, default_value_t = 60)]
    every: u64,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();

    let broker = Broker::builder()
        .backend_from_url(&args.backend)?
        .policy(users::Everybody)
        .topic("notify.*", TopicConfig::new().history(KEPT).history_ttl(KEPT_FOR))
        .start()
        .await?;
    tokio::spawn(notify::now_and_then(broker.clone(), Duration::from_secs(args.every.max(1))));

    let script = |text| page("text/javascript", text);
    let app = Router::new()
        .route("/ws", any_service(WebSocket::new(&broker)?))
        .route("/notify", post(notify::by_request).with_state(broker.clone()))
        .route("/", page("text/html; charset=utf-8", include_str!("../web/index.html")))
        .route("/notifications.js", script(include_str!("../web/notifications.js")))
        .route("/fanfare.js", script(include_str!("../../chat/web/fanfare.js")))
        .route("/style.css", page("text/css", include_str!("../web/style.css")))
        .route("/icon.svg", page("image/svg+xml", include_str!("../web/icon.svg")));
    let listener =
        TcpListener::bind(args.listen).await.with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("http://{}", listener.local_addr()?);
    Ok(Server::new().serve_and_drain(listener, app, &broker, DRAIN).await?)
}

fn page(kind: &'static str, text: &'static str) -> MethodRouter {
    get(move || async move { ([(CONTENT_TYPE, kind)], text) })
}
