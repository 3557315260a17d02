//! `fan`: a fan-out load generator for pub/sub servers over WebSocket and Server-Sent Events.
//!
//! One thread opens many subscribers and a few publishers, publishes, and accounts for each delivery to each
//! subscriber: what was lost, what came twice, what came out of order, what reached somebody it was not for,
//! and how long each delivery took. It also reads the server's CPU time and memory from `/proc`, so that it
//! must run on the server's machine.
//!
//! The client must not be the bottleneck, so a delivery costs it little: level-triggered readiness, one read
//! buffer for all connections, frames and events parsed in place, a delivery recognized by a short stamp in its payload
//! (no JSON parser), and no sleeping during a closed loop: on loopback a sleeping client makes the *server* pay
//! for waking another core.
//!
//! | module | what |
//! | --- | --- |
//! | `options` | the command line |
//! | `wire` | the dialects: paths, subscribe and publish frames, what a server's control frames say |
//! | `frame` | WebSocket frames (RFC 6455 section 5.2), both ways |
//! | `http`, `chunked`, `event` | answers of HTTP/1.1, chunked bodies, Server-Sent Events |
//! | `stamp` | the mark that each payload carries |
//! | `ledger` | what was published, what arrived, and at whom |
//! | `conn`, `poller`, `client` | sockets, readiness, and the connections on them |
//! | `drive` | pacing: when to publish what, and when to stop |
//! | `report` | the result, for people and as JSON |

mod chunked;
mod client;
mod clock;
mod conn;
mod drive;
mod event;
mod frame;
mod http;
mod ledger;
mod options;
mod poller;
mod report;
mod stamp;
mod wire;

pub use options::{Options, WireMode};
pub use report::{Latency, Report};

use anyhow::Result;

/// Runs the load that `options` describe and reports what came of it.
///
/// # Errors
///
/// When the load could not be applied: nothing listens, an upgrade or a subscription was refused, the
/// publisher's connection was lost. What a server does wrong under load (losing, doubling) is in the report
/// instead.
pub fn run(options: &Options) -> Result<Report> {
    options.check()?;
    crate::process::raise_file_limit();
    drive::run(options)
}
