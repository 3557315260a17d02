//! When a server can be used.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// How it is known that a server is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ready {
    /// It accepts connections: for servers that speak nothing but TLS.
    Accepts,
    /// It answers Redis's `PING`, also with a demand for a password, but not with `-LOADING`.
    Ping,
    /// It says NATS's `INFO`.
    Info,
}

impl Ready {
    pub(super) async fn check(self, addr: SocketAddr) -> io::Result<bool> {
        let mut stream = TcpStream::connect(addr).await?;
        let mut answer = [0; 16];
        let read = match self {
            Self::Accepts => return Ok(true),
            Self::Ping => {
                stream.write_all(b"PING\r\n").await?;
                stream.read(&mut answer).await?
            }
            Self::Info => stream.read(&mut answer).await?,
        };
        let answer = &answer[..read];
        Ok(match self {
            Self::Accepts => true,
            Self::Ping => answer.starts_with(b"+PONG") || answer.starts_with(b"-NOAUTH"),
            Self::Info => answer.starts_with(b"INFO"),
        })
    }
}
