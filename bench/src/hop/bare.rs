//! What a backend is compared with.

use fanfare_testkit::server::Server;

use super::pace::Times;

/// The bare client of a server.
pub(super) trait Bare {
    /// What publishes to its log.
    const LOGGED: &str;

    /// The server.
    fn server(&self) -> &Server;

    /// The server as Fanfare is told of it.
    fn url(&self) -> String;

    /// So many messages at an even pace from one connection to another.
    async fn hop(&self, count: u32) -> anyhow::Result<Times>;

    /// How many messages a second it stores for so many seconds, from many tasks or in another way as many at once. `ours` is how
    /// many Fanfare did.
    async fn logged(&self, seconds: u32, ours: f64) -> anyhow::Result<f64>;
}
