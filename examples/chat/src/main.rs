//! A chat: rooms with history, who is typing, and recovery of what was missed. One process serves the page and the
//! WebSocket; open it in two windows.

use std::net::SocketAddr;

use axum::{
    Router,
    http::header::CONTENT_TYPE,
    routing::{any_service, get},
};
use clap::Parser;
use fanfare::{Broker, http::Server, policy::Rules, session::Refusal, topic::TopicConfig, ws::WebSocket};
use tokio::net::TcpListener;

/// How many lines a room remembers.
const LINES: usize = 500;

/// How long a line may be, as JSON with the name of who wrote it: bytes.
const LINE_BYTES: usize = 8 << 10;

#[derive(Debug, Parser)]
#[command(about = "A chat over WebSocket")]
struct Args {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:3000")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    tracing_subscriber::fmt().with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();

    // Everybody may read and write in every room; nobody anything else.
    let rules =
        Rules::new().subscribe("chat.*")?.publish("chat.*")?.subscribe("typing.*")?.publish("typing.*")?;
    let broker = Broker::builder()
        .policy(rules)
        .topic("chat.*", TopicConfig::new().history(LINES).max_message(LINE_BYTES))
        .on_publish("chat.*", |publish| async move {
            match publish.payload.parse_json::<serde_json::Map<String, serde_json::Value>>() {
                Ok(_) => Ok(publish),
                Err(_) => Err(Refusal::invalid_payload("a line is a JSON object")),
            }
        })
        .start()
        .await?;

    let app = Router::new()
        .route("/ws", any_service(WebSocket::new(&broker)?))
        .route("/", page("text/html; charset=utf-8", include_str!("../web/index.html")))
        .route("/chat.js", page("text/javascript", include_str!("../web/chat.js")))
        .route("/log.js", page("text/javascript", include_str!("../web/log.js")))
        .route("/fanfare.js", page("text/javascript", include_str!("../web/fanfare.js")))
        .route("/style.css", page("text/css", include_str!("../web/style.css")))
        .route("/icon.svg", page("image/svg+xml", include_str!("../web/icon.svg")));
    let listener = TcpListener::bind(args.listen).await?;
    println!("http://{}", listener.local_addr()?);
    Ok(Server::new().serve(listener, app).await?)
}

fn page(kind: &'static str, text: &'static str) -> axum::routing::MethodRouter {
    get(move || async move { ([(CONTENT_TYPE, kind)], text) })
}
