//! Real servers for tests: a `redis-server`, a Valkey, a Sentinel, a cluster's nodes, a `nats-server`.
//!
//! Each runs on a free port of 127.0.0.1 and in a temporary folder of its own. It can be restarted, killed and paused, and
//! it is gone when its [`Server`] is dropped, when the test panics, and also when the test's process is killed.
//!
//! ```no_run
//! use fanfare_testkit::server::{Program, ServerConfig};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let Some(redis) = ServerConfig::find(Program::Redis) else { return Ok(()) };
//! let mut server = redis.line("requirepass secret").start().await?;
//! let url = format!("redis://:secret@{}", server.addr());
//! server.kill();
//! server.restart().await?;
//! # Ok(()) }
//! ```
//!
//! # Where programs come from
//!
//! From the environment variable `REDIS_SERVER`, `VALKEY_SERVER`, `NATS_SERVER` or `NATS_CURRENT_SERVER`, else from `PATH` (and
//! `/usr/sbin`, where Debian keeps servers), else from the virtual environment `.cache/venv` of the folder that the test runs in
//! or one above it. A program that is missing is said on the standard error, and the test is to be left; with `CI=true` it is a panic.

mod config;
mod error;
mod process;
mod program;
mod ready;
mod watchdog;

pub use config::{ServerConfig, free_port};
pub use error::ServerError;
pub use process::Server;
pub use program::Program;
pub use ready::Ready;
