//! Taking a connection over from the HTTP server.

use bytes::Bytes;
use http::request::Parts;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::{rt::TokioIo, server::conn::auto};
use tokio::net::TcpStream;

use crate::{
    Config,
    handshake::{Accepted, HandshakeError},
};

/// A connection that HTTP is done with.
#[derive(Debug)]
pub(crate) enum Socket {
    /// A TCP socket itself, which anyone may write to without waiting, and what hyper had read of it beyond the
    /// handshake. To be dropped once handled: it may be a small part of a large buffer.
    Tcp(TcpStream, Bytes),
    /// Anything else, TLS for one. Its first reads give what hyper had read.
    Other(TokioIo<Upgraded>),
}

/// Checks a handshake and takes from its request the promise of the connection.
///
/// The promise is fulfilled when hyper has written [`Accepted::response`].
pub(crate) fn accept(request: &mut Parts, config: &Config) -> Result<(Accepted, OnUpgrade), HandshakeError> {
    let accepted = Accepted::check(request, config)?;
    let promise = request.extensions.remove().ok_or(HandshakeError::NotUpgradable)?;
    Ok((accepted, promise))
}

/// Hands the connection to `serve`, when HTTP is done with it. It is not called when the client leaves before.
///
/// `serve` spawns the connection's own task: the one that awaits hyper is of no further use, and ends.
pub(crate) fn spawn(promise: OnUpgrade, serve: impl FnOnce(Socket) + Send + 'static) {
    tokio::spawn(async move {
        match promise.await {
            Ok(upgraded) => serve(Socket::from(upgraded)),
            // The client left, or the server was stopped, before the response was written.
            Err(error) => tracing::debug!(target: "fanfare::ws", %error, "not upgraded"),
        }
    });
}

impl From<Upgraded> for Socket {
    fn from(upgraded: Upgraded) -> Self {
        // hyper-util's automatic server (axum's) wraps the stream once more than hyper's own.
        let upgraded = match auto::upgrade::downcast::<TokioIo<TcpStream>>(upgraded) {
            Ok(parts) => return Self::Tcp(parts.io.into_inner(), parts.read_buf),
            Err(upgraded) => upgraded,
        };
        let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => return Self::Tcp(parts.io.into_inner(), parts.read_buf),
            Err(upgraded) => upgraded,
        };
        match upgraded.downcast::<TokioIo<fanfare_http::Socket>>() {
            Ok(parts) => Self::Tcp(parts.io.into_inner().into_inner(), parts.read_buf),
            Err(upgraded) => Self::Other(TokioIo::new(upgraded)),
        }
    }
}

#[cfg(test)]
mod tests;
