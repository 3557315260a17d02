//! Connections arrive, up to a limit, until the server stops.

use std::{convert::Infallible, error::Error, io, pin::pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    time::{sleep, timeout},
};
use tower_service::Service;

use super::{
    Server,
    connection::{self, Http},
};
use crate::Socket;

/// How long the listener rests after an error that is its own, as when there are no more file descriptors.
const REST: Duration = Duration::from_millis(100);

/// What a connection too many is told.
const FULL: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// How far the server is with stopping, as its connections are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Phase {
    Serving,
    /// Requests that have begun may end.
    Ending,
    /// Nothing more is waited for.
    Over,
}

pub(super) async fn serve<S, B, F>(server: Server, listener: TcpListener, app: S, stop: F) -> io::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
    F: Future<Output = ()>,
{
    let http = Arc::new(Http::new(&server));
    // A permit for each connection, as far as the semaphore can count.
    let places = Arc::new(Semaphore::new(server.max_connections.min(Semaphore::MAX_PERMITS)));
    let phase = watch::Sender::new(Phase::Serving);
    let mut stop = pin!(stop);
    loop {
        let arrival = match select(pin!(listener.accept()), stop.as_mut()).await {
            Either::Left((arrival, _)) => arrival,
            Either::Right(((), _)) => break,
        };
        match arrival {
            Ok((stream, peer)) => match places.clone().try_acquire_owned() {
                Ok(place) => {
                    let socket = Socket::new(stream, server.write_timeout);
                    let serve = connection::serve(http.clone(), socket, peer, app.clone(), phase.subscribe());
                    tokio::spawn(async move {
                        serve.await;
                        drop(place);
                    });
                }
                Err(_) => refuse(&stream, server.max_connections),
            },
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                tracing::warn!(target: "fanfare::http", %error, "no connection accepted");
                sleep(REST).await;
            }
        }
    }
    drop(listener);
    phase.send_replace(Phase::Ending);
    if timeout(server.stop_timeout, phase.closed()).await.is_err() {
        phase.send_replace(Phase::Over);
        phase.closed().await;
    }
    Ok(())
}

/// Tells a connection too many, as far as that needs no waiting.
fn refuse(stream: &TcpStream, limit: usize) {
    tracing::debug!(target: "fanfare::http", limit, "too many connections");
    let _ = stream.try_write(FULL);
}

/// Whether a connection was lost between its arrival and its acceptance.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
