//! Fanfare: realtime pub/sub inside of your app.
//!
//! Make a [`Broker`], mount a transport in the axum, hyper or tower app that is there, and publish. Every accepted message
//! is, for every subscriber, delivered in order, or recovered, or the subscriber is told that there is a gap.
//!
//! ```no_run
//! use axum::{Router, routing::any_service};
//! use fanfare::http::{Publish, Server};
//! use fanfare::{Broker, policy::Open, sse::EventStream, topic::TopicConfig, ws::WebSocket};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let chat = TopicConfig::new().history(50);
//!     let broker = Broker::builder().policy(Open).topic("chat.*", chat).start().await?;
//!     let app = Router::new()
//!         .route("/ws", any_service(WebSocket::new(&broker)?))
//!         .route("/events", any_service(EventStream::new(&broker)?))
//!         .route("/publish", any_service(Publish::new(&broker)));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     broker.publish("chat.lobby", "the doors are open").await?;
//!     Ok(Server::new().serve(listener, app).await?)
//! }
//! ```
//!
//! `curl -N 'http://127.0.0.1:3000/events?topic=chat.lobby'` shows messages; `PROTOCOL.md` says what a page sends and receives.
//!
//! One process needs nothing else. Several share a [backend], which a URL names: [`BackendFromUrl`].
//!
//! # Features
//!
//! - `ws` (default): the WebSocket transport, [`ws`].
//! - `sse` (default): the transport by server-sent events, [`sse`].
//! - `http` (with `ws` and with `sse`): publishing by HTTP, [`http::Publish`], and an HTTP server with deadlines, [`http::Server`].
//! - `redis`: messages between processes, and logs, on Redis or Valkey, [`redis`].
//! - `nats`: messages between processes, and logs, on NATS and its JetStream, [`nats`].
//! - `axum`: the transports and [`http::Publish`] as handlers of axum's, and client addresses from axum's `ConnectInfo`.
//! - `json`: typed topics whose payloads are JSON, and `Broker::publish_json`.
#![forbid(unsafe_code)]

mod backend_url;

pub use backend_url::{BackendFromUrl, BackendUrlError};
#[doc(inline)]
pub use fanfare_core::*;

/// Publishing by HTTP, an HTTP server, and what transports over HTTP share.
#[cfg(feature = "http")]
#[doc(inline)]
pub use fanfare_http as http;

/// The WebSocket transport.
#[cfg(feature = "ws")]
#[doc(inline)]
pub use fanfare_ws as ws;

/// The transport by server-sent events.
#[cfg(feature = "sse")]
#[doc(inline)]
pub use fanfare_sse as sse;

/// The backend for NATS.
#[cfg(feature = "nats")]
#[doc(inline)]
pub use fanfare_nats as nats;

/// The backend for Redis and Valkey.
#[cfg(feature = "redis")]
#[doc(inline)]
pub use fanfare_redis as redis;

/// The README's programs compile.
#[cfg(all(doctest, feature = "ws", feature = "sse", feature = "json"))]
#[doc = include_str!("../../README.md")]
struct Readme;
