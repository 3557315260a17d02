//! What Fanfare's transports over HTTP share, and an HTTP server to mount them in.
//!
//! [`Server`] serves an app over HTTP/1.1 and HTTP/2, with the deadlines and bounds that an open port needs. For who writes
//! a transport: [`handshake`] tells the core what a request said, [`Origins`] decides on foreign pages, [`TrustedProxies`] on
//! whose word on a client's address counts, [`Refused`] says no in the way that all of them do, and [`wheel`] keeps the deadlines of many connections.
#![forbid(unsafe_code)]

mod origin;
mod proxies;
mod refuse;
mod request;
mod server;
mod socket;
pub mod wheel;

pub use origin::{InvalidOrigin, Origins};
pub use proxies::{InvalidProxy, TrustedProxies};
pub use refuse::{Answer, Refused, status};
pub use request::{handshake, query};
pub use server::Server;
pub use socket::{Socket, set_options};
