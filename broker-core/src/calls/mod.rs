//! Calls: a question that wants an answer, in both directions.
//!
//! A client calls a method of the app ([`BrokerBuilder::on_call`](crate::BrokerBuilder::on_call)) and gets its answer or an error; the app calls
//! one client, or all clients of a topic, and gathers their answers ([`Answers`]). Nothing of a call is kept: one that has been answered, has taken
//! too long, or whose connection has gone leaves nothing behind, and what still comes for it is ignored.
//!
//! # Calls of a client
//!
//! A client's commands are served in its order, so the next command waits until a call's handler has answered. Only `ping` and answers of the client
//! pass: a handler, a hook or a policy may call the same client back. Transports read ahead as far as
//! [`Limits::commands_ahead`](crate::Limits::commands_ahead) says, so that an answer which stands behind commands is found. A handler that takes
//! longer than a moment should be [concurrent](CallConfig::concurrent) all the same.
//!
//! # Deadlines and the end of a connection
//!
//! A handler runs in the task of its client's connection. It is dropped at its next `await` when its deadline has passed or when the connection ends, and
//! before `on_disconnecting` runs: nothing works for a client that has gone. What must be done to its end in any case belongs in a task of
//! its own (`tokio::spawn`), which the handler awaits. [Draining](crate::Broker::drain) waits for the handlers that run.

mod answers;
mod asked;
mod call;
mod client_call;
mod error;
mod gathering;
mod local;
mod methods;
mod outgoing;
mod running;
mod wire;

pub use answers::{Answers, CallError};
pub(crate) use asked::Asked;
pub use call::Call;
pub use client_call::ClientCall;
pub use error::ClientError;
pub use methods::CallConfig;
pub(crate) use methods::{Method, Methods};
pub use outgoing::{CallId, InvalidCallId, OutgoingCall};
pub(crate) use running::{Running, Served};

/// Has this node call its clients for others.
pub(crate) fn register(cluster: &crate::cluster::Cluster) {
    cluster.on_question(crate::cluster::questions::CALL, call::answer);
}
