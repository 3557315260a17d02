//! One connection to one server, which speaks the NATS client protocol.
//!
//! The connection is our own, because of what a broker promises, and what clients of NATS do not tell:
//!
//! - messages of all subscriptions are taken in the order in which the server sent them, so that a message to several topics keeps its
//!   place in each;
//! - nothing that has arrived is dropped unseen, and reading waits for nobody;
//! - a subscription counts when the server has answered a PING behind it, and what it refuses is told to who asked;
//! - when a connection breaks it is known what was sent, so that an error can say whether a message may have been stored;
//! - what is for a log goes to one stream, and when that is replaced, to the next one in the same order.

mod connection;
mod handshake;
mod link;
mod login;
mod parser;
mod queue;
mod standby;
#[cfg(feature = "tls")]
mod tls;

pub(crate) use connection::{Connection, ServerInfo, connect};
pub(crate) use handshake::greet;
pub(crate) use link::{Pushes, Watch, run};
pub(crate) use parser::Message;
pub(crate) use queue::{Answer, Asking, Call, Expect, INBOX, Lost, Queue, publish, too_large};
pub(crate) use standby::Standby;
