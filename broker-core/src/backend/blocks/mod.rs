//! What backends are made of: what every one of them has to do for the core, whatever carries its messages.
//!
//! - [`Interests`]: what a node wants, and whether a message is for it. Clauses *interest*, *unsubscribe*, *patterns*.
//! - [`Inbox`]: the way from a backend to its core, which gives the messages of each topic one after the other, never waits, and
//!   says what it had to drop. Clauses *one-caller*, *loss-told*, *state*.
//! - [`Logs`]: logged topics in memory, for a backend that has no server to keep them. Clauses *top*, *idempotency*,
//!   *logged-order*, *history* to *latest*.
//!
//! A backend takes what it has use for. [`MemoryHub`](super::memory::MemoryHub) is made of all three.

mod inbox;
mod interests;
mod logs;

pub use inbox::Inbox;
pub use interests::Interests;
pub use logs::Logs;
