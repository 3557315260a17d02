//! One connection to one server.
//!
//! Commands, values and the parser are the `redis` crate's. The connection is our own, because of what a broker promises:
//!
//! - a command that was handed over is sent although nobody waits for its answer any more;
//! - when a connection breaks it is known which commands were sent, so that an error can say whether a message may have been stored;
//! - a push that nobody asked for (`sunsubscribe`, when a Cluster moves a slot) does not count as the answer to another command;
//! - reading never waits for who is to be told, and what one answer may take is bounded.

mod connection;
mod handshake;
mod link;
mod queue;
#[cfg(feature = "tls")]
mod tls;
pub(crate) mod value;

pub(crate) use connection::{Connection, connect};
pub(crate) use handshake::{Hello, greet};
pub(crate) use link::{Pushes, Watch, run};
pub(crate) use queue::{Asking, Confirm, Expect, Lost, Packed, Queue, Redirect, Retry, Subscribing};

use bytes::Bytes;

/// A command's bytes.
pub(crate) fn command<A: AsRef<[u8]>>(name: &str, arguments: impl IntoIterator<Item = A>) -> Bytes {
    let mut command = redis::cmd(name);
    for argument in arguments {
        command.arg(argument.as_ref());
    }
    command.get_packed_command().into()
}
