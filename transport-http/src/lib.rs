//! Publishing by HTTP, an HTTP server to mount it in, and what Fanfare's transports over HTTP share.
//!
//! [`Publish`] publishes what is posted. [`Server`] serves an app over HTTP/1.1 and HTTP/2, with the deadlines and bounds that
//! an open port needs, and ends in good order when the process is asked to ([`stop_signal`]). For who writes a transport: [`handshake`] tells the core what a request said, [`Origins`] decides on foreign
//! pages, [`TrustedProxies`] on whose word on a client's address counts, [`Refused`] says no in the way that all of them do,
//! [`wheel`] keeps the deadlines of many connections, and a [`TcpWire`] is a socket that fan-out writes directly.
#![forbid(unsafe_code)]

mod origin;
mod proxies;
mod publish;
mod refuse;
mod request;
mod server;
mod socket;
mod takeover;
pub mod wheel;
mod wire;

pub use origin::{InvalidOrigin, Origins};
pub use proxies::{InvalidProxy, TrustedProxies};
pub use publish::{Publish, PublishConfig};
pub use refuse::{Answer, Refused, status};
pub use request::{handshake, query};
pub use server::{Server, stop_signal};
pub use socket::{Socket, set_options};
pub use takeover::Takeover;
pub use wire::TcpWire;
