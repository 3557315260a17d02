//! An HTTP server with the deadlines that an open port needs.

use std::{convert::Infallible, error::Error, io, net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tower_service::Service;

/// How long the listener rests after an error that is its own, as when there are no more file descriptors.
const REST: Duration = Duration::from_millis(100);

/// Serves an app over HTTP/1.1, and bounds what a client may take of it before its request is there: a plain
/// `axum::serve` waits for a request forever, so that a client which sends none costs a socket and a task.
///
/// The client's address is given to the app as an extension of type `SocketAddr`, which [`WebSocket`](crate::WebSocket) reads.
///
/// ```no_run
/// # async fn run(app: axum::Router) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// fanfare_ws::Server::new().serve(listener, app).await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Server {
    header_timeout: Duration,
    max_headers: usize,
    max_header_bytes: usize,
}

impl Server {
    /// 10 s for a request's headers, at most 64 of them and 16 KiB.
    pub fn new() -> Self {
        Self { header_timeout: Duration::from_secs(10), max_headers: 64, max_header_bytes: 16 * 1024 }
    }

    /// How long a client may take to send the headers of a request; then it is cut. It counts between requests, too.
    #[must_use]
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// How many headers a request may have, and how many bytes they may take, at least 8 KiB; more is answered 431.
    #[must_use]
    pub fn max_headers(mut self, count: usize, bytes: usize) -> Self {
        self.max_headers = count;
        self.max_header_bytes = bytes.max(8 * 1024);
        self
    }

    /// Serves until the listener is lost, or the future is dropped. Connections that were accepted go on.
    ///
    /// # Errors
    ///
    /// The listener's, other than those that pass.
    pub async fn serve<S, B>(self, listener: TcpListener, app: S) -> io::Result<()>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout)
            .max_headers(self.max_headers)
            .max_buf_size(self.max_header_bytes);
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => serve_one(&http, stream, peer, app.clone()),
                Err(error) if is_the_clients(&error) => {}
                Err(error) => {
                    tracing::warn!(target: "fanfare::ws", %error, "no connection accepted");
                    tokio::time::sleep(REST).await;
                }
            }
        }
    }
}

fn serve_one<S, B>(http: &http1::Builder, stream: TcpStream, peer: SocketAddr, app: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(peer);
        app.clone().call(request)
    });
    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(target: "fanfare::ws", %error, "connection ended");
        }
    });
}

/// Whether a connection was lost between its arrival and its acceptance.
fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}
