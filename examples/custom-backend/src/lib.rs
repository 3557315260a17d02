//! A backend of one's own: [`Folder`], for nodes of one machine that share a folder.
//!
//! The folder holds a file, the journal. Whatever a node says to the others is a line at its end, written while no other node
//! writes. All nodes read it from its beginning, so that all see the same messages in the same order, and each has the logs of
//! the logged topics in memory. What every backend has to do, whatever carries its messages, is taken from
//! [`blocks`](fanfare_core::backend::blocks): what a node wants, the way to its core, and the logs.
//!
//! The journal is bounded: where it has become too long it is begun anew, and the logs with it, which subscribers are told by
//! another epoch. It is not flushed to a disk: a folder that is empty when the machine starts suits it, as `/dev/shm/fanfare`.
//!
//! ```
//! use custom_backend::Folder;
//! use fanfare_core::{Broker, policy::Open, subscription::Delivery};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! // Two brokers, which might as well be in two processes.
//! let here = Broker::builder().policy(Open).backend(Folder::new(folder.path())).start().await?;
//! let there = Broker::builder().policy(Open).backend(Folder::new(folder.path())).start().await?;
//! let mut news = here.subscribe("news").await?;
//! there.publish("news", "hello from the other side").await?;
//! let Some(Delivery::Message(message)) = news.recv().await else { panic!("no message") };
//! assert_eq!(message.value.as_str(), Some("hello from the other side"));
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod backend;
mod journal;

pub use backend::Folder;
