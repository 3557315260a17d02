//! What these tests stand on.
//!
//! - [`Site`]: an app in this process: one node on the memory backend, two on a server of their own otherwise.
//! - [`Client`]: a WebSocket client that is not ours, and speaks v1.
//! - [`Events`]: a reader of server-sent events that is not ours.
//! - [`on_every_backend`], [`on_several_nodes`]: stamp the tests of a file for each backend.

mod backend;
mod client;
mod events;
mod site;

pub(super) use backend::{Backend, Carrier, on_every_backend, on_several_nodes};
pub(super) use client::{Client, Told};
pub(super) use events::Events;
pub(super) use site::{Names, Site, until};
