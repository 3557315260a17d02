//! The README's program, word for word but for where it listens, so that its commands can be run.

use std::sync::LazyLock;

use axum::{Router, routing::any_service};
use fanfare::http::{Publish, Server};
use fanfare::{Broker, policy::Open, sse::EventStream, topic::TopicConfig, ws::WebSocket};

/// `ADDRESS:PORT`, which the test has found free.
static LISTEN: LazyLock<String> = LazyLock::new(|| std::env::args().nth(1).unwrap_or_default());

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let chat = TopicConfig::new().history(50);
    let broker = Broker::builder().policy(Open).topic("chat.*", chat).start().await?;
    let app = Router::new()
        .route("/ws", any_service(WebSocket::new(&broker)?))
        .route("/events", any_service(EventStream::new(&broker)?))
        .route("/publish", any_service(Publish::new(&broker)));
    let listener = tokio::net::TcpListener::bind(&*LISTEN).await?;
    broker.publish("chat.lobby", "the doors are open").await?;
    Ok(Server::new().serve(listener, app).await?)
}
