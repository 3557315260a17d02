//! What a proxy does to connections.

use std::time::Duration;

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From clients to the server.
    ToServer,
    /// From the server to clients.
    ToClient,
}

/// What holds for all connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    /// Nothing passes, by [`Direction`].
    pub(super) held: [bool; 2],
    pub(super) latency: Duration,
    /// Bytes a second.
    pub(super) rate: Option<u64>,
    pub(super) refuses: bool,
}

/// How connections are ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Fin,
    Reset,
}
