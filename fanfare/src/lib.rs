//! Fanfare: realtime pub/sub inside of your app.
//!
//! Make a [`Broker`], mount a transport in the axum, hyper or tower app that is there, and publish. Every accepted message
//! is, for every subscriber, delivered in order, or recovered, or the subscriber is told that there is a gap.
//!
//! ```no_run
//! use axum::{Router, routing::any_service};
//! use fanfare::{Broker, policy::Open, topic::TopicConfig, ws::WebSocket};
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let chat = TopicConfig::new().history(50);
//!     let broker = Broker::builder().policy(Open).topic("chat.*", chat).start().await?;
//!     let app = Router::new().route("/ws", any_service(WebSocket::new(&broker)?));
//!     let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//!     broker.publish("chat.lobby", "the doors are open").await?;
//!     Ok(axum::serve(listener, app).await?)
//! }
//! ```
//!
//! `websocat 'ws://127.0.0.1:3000/ws?topic=chat.lobby'` shows messages; `PROTOCOL.md` says what a page sends and receives.
//!
//! # Features
//!
//! - `ws` (default): the WebSocket transport, [`ws`].
//! - `http` (with `ws`): an HTTP server with deadlines, [`http::Server`].
//! - `sse`: the transport by server-sent events, `sse`.
//! - `axum`: [`ws::WebSocket`] as a handler of axum's, and client addresses from axum's `ConnectInfo`.
//! - `json`: typed topics whose payloads are JSON, and `Broker::publish_json`.
#![forbid(unsafe_code)]

#[doc(inline)]
pub use fanfare_core::*;

/// An HTTP server, and what transports over HTTP share.
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

/// The README's programs compile.
#[cfg(all(doctest, feature = "ws", feature = "json"))]
#[doc = include_str!("../../README.md")]
struct Readme;
