//! Test clients for app authors: a broker, clients that speak to it over the real transport, and no network.
//!
//! A [`TestBroker`] serves a broker, the app's own or a new one, by the WebSocket transport over pipes within the process. Under
//! tokio's paused time a test of heartbeats, slow readers and reconnects takes no time, and it is the same each time.
//!
//! ```
//! use fanfare_core::{Broker, message::GapReason, policy::Open, topic::TopicConfig};
//! use fanfare_testkit::TestBroker;
//!
//! # // In a test: #[tokio::test(start_paused = true)]
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! async fn a_guest_who_comes_back_misses_nothing() {
//!     let builder = Broker::builder().policy(Open).topic("chat.*", TopicConfig::new().history(50));
//!     let app = TestBroker::start(builder).await;
//!     let (mut ann, mut bob) = (app.connect().await, app.connect().await);
//!     ann.subscribe("chat.lobby").await;
//!
//!     bob.publish("chat.lobby", "hello").await;
//!     assert_eq!(ann.message().await.text(), "hello");
//!
//!     ann.cut();
//!     bob.publish("chat.lobby", "are you there?").await;
//!     ann.reconnect().await;
//!     assert_eq!(ann.message().await.text(), "are you there?");
//!     ann.nothing().await;
//! }
//! # fn main() { a_guest_who_comes_back_misses_nothing() }
//! ```
//!
//! Methods of a [`TestClient`] panic where a test is to fail: when what was asked for does not come.

mod broker;
mod client;
mod connection;

pub use broker::TestBroker;
pub use client::{Asked, Received, TestClient};
