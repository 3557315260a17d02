//! A transport of one's own: the wire format v1, one JSON object per line, over plain TCP.
//!
//! The first line is the client's token, or empty. Every later line is a command; every line that comes back is a frame of v1.
//! An empty line is a heartbeat. Try it with `nc 127.0.0.1 4000`:
//!
//! ```text
//!
//! {"id":1,"subscribe":{"topic":"news"}}
//! ```
//!
//! A server whose topic `news` retains its last 50 messages:
//!
//! ```no_run
//! use fanfare_core::{Broker, policy::Open, topic::TopicConfig};
//! use tokio::net::TcpListener;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let news = TopicConfig::new().history(50);
//! let broker = Broker::builder().policy(Open).topic("news", news).start().await?;
//! let listener = TcpListener::bind("127.0.0.1:4000").await?;
//! custom_transport::serve(listener, broker).await?;
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod connection;
mod encoder;
mod socket;

use std::{io, sync::Arc};

use fanfare_core::Broker;
use tokio::net::TcpListener;

/// Serves a broker, until the future is dropped. Connections that were accepted go on until they end, or the broker is drained.
///
/// # Errors
///
/// When the broker has as many wire formats as it can have.
pub async fn serve(listener: TcpListener, broker: Broker) -> io::Result<()> {
    let format = broker.register(Arc::new(encoder::Lines)).map_err(io::Error::other)?;
    loop {
        match listener.accept().await {
            Ok((stream, address)) => {
                let (broker, format) = (broker.clone(), format.clone());
                tokio::spawn(async move { connection::run(broker, format, stream, address.ip()).await });
            }
            // Too many open files, for one: they pass.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(100)).await,
        }
    }
}
