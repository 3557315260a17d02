//! Small servers that do wrong on purpose, over WebSocket and as event streams.

mod hub;
mod socket;
mod stream;

pub(crate) use hub::Fault;
pub(crate) use socket::serve;
pub(crate) use stream::{Body, stream};
