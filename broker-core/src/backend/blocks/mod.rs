//! What backends are made of: what every one of them has to do for the core, whatever carries its messages.
//!
//! - [`Interests`]: what a node wants, and whether a message is for it. Clauses *interest*, *unsubscribe*, *patterns*.
//! - [`Inbox`]: the way from a backend to its core, which gives the messages of each topic one after the other, never waits, and
//!   says what it had to drop. Clauses *one-caller*, *loss-told*, *state*.
//! - [`Logs`]: logged topics in memory, for a backend that has no server to keep them. Clauses *top*, *idempotency*,
//!   *logged-order*, *history* to *latest*.
//!
//! A backend takes what it has use for. [`MemoryHub`](super::memory::MemoryHub) is made of all three. One that has a server, and a
//! connection that may break, has use for more:
//!
//! - [`Trouble`]: what goes wrong, in words that say what to do, for all who have to be told. Clauses *start-errors*, *errors*.
//! - [`Outage`]: how long to pause between attempts to connect, and how often to speak of them. Clause *reconnect*.
//! - [`Reasons`] and [`Chain`]: what is told to whoever reads the logs, how often, and with all that lies behind it.
//! - [`Silence`]: when a server that says nothing is to be asked, and when it is gone. Clause *state*.
//! - [`Health`]: whether the backend works, told to the core and to who else wants to know. Clauses *start*, *state*, *shutdown*.
//! - [`Load`] and [`Room`]: how much waits for the server, and how much may. Clause *down-fails*.
//! - [`Copies`]: the same message by several ways. Clause *also*.
//! - [`Foreign`]: what came that is none of ours. Clause *loss-told*.
//! - [`Secret`]: a password that no log shows. Clause *errors*.
//! - [`ServerUrl`] and [`address`]: where servers are, and who logs in. Clause *start-errors*.
//!
//! What keeps a connection then looks like this:
//!
//! ```
//! # use fanfare_core::backend::blocks::{Chain, Health, Outage, Trouble};
//! # struct Connection;
//! # async fn connect() -> Result<Connection, Trouble> { Err(Trouble::unavailable("")) }
//! # async fn serve(_: Connection) -> Trouble { Trouble::unavailable("") }
//! /// For ever: dropped at the backend's shutdown.
//! async fn keep(health: &Health) {
//!     loop {
//!         let mut outage = Outage::new();
//!         let failed = |trouble: &Trouble, speaks| {
//!             health.failed(trouble);
//!             if speaks {
//!                 tracing::warn!(error = %Chain(trouble), "cannot connect");
//!             }
//!         };
//!         let connection = outage.until_over(connect, failed).await;
//!         health.set(true);
//!         let trouble = serve(connection).await;
//!         // First the core knows, then those who wait hear that it failed.
//!         health.failed(&trouble);
//!         health.set(false);
//!         tracing::warn!(error = %Chain(&trouble), "the connection is lost");
//!     }
//! }
//! ```

mod copies;
mod foreign;
mod health;
mod inbox;
mod interests;
mod logs;
mod outage;
mod reasons;
mod room;
mod secret;
mod silence;
mod trouble;
mod url;

pub use copies::Copies;
pub use foreign::Foreign;
pub use health::Health;
pub use inbox::Inbox;
pub use interests::Interests;
pub use logs::Logs;
pub use outage::Outage;
pub use reasons::{Chain, Reasons};
pub use room::{Load, Room};
pub use secret::Secret;
pub use silence::{Due, Silence};
pub use trouble::Trouble;
pub use url::{ServerUrl, address};
