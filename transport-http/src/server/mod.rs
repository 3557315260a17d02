//! An HTTP server with the deadlines that an open port needs.

mod connection;
mod listen;
mod stop;
mod version;

use std::{convert::Infallible, error::Error, future::pending, io, time::Duration};

use bytes::Bytes;
use fanfare_core::Broker;
use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::TcpListener;
use tower_service::Service;

pub use stop::stop_signal;

/// Serves an app over HTTP/1.1 and HTTP/2, both on one port (HTTP/2 without TLS by clients that know of it,
/// RFC 9113, section 3.3), and bounds what a client may take of it: a plain `axum::serve` waits for a request forever, so that a
/// client which sends none costs a socket and a task, and so does one that never reads its response.
///
/// The client's address is given to the app as an extension of type `SocketAddr`, which transports read, and with the
/// feature `axum` as axum's `ConnectInfo<SocketAddr>` as well.
///
/// ```no_run
/// # async fn run(app: axum::Router) -> std::io::Result<()> {
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// fanfare_http::Server::new().serve(listener, app).await
/// # }
/// ```
///
/// A server that ends in good order drains its broker first: streams and WebSockets end with a hint when to come back,
/// and new ones are refused by 503 meanwhile. Then it stops listening. All of this, when the process is asked to stop:
///
/// ```no_run
/// # async fn run(app: axum::Router, broker: fanfare_core::Broker) -> std::io::Result<()> {
/// # use std::time::Duration;
/// let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// fanfare_http::Server::new().serve_and_drain(listener, app, &broker, Duration::from_secs(10)).await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Server {
    header_timeout: Duration,
    max_headers: usize,
    max_header_bytes: usize,
    max_streams: u32,
    max_connections: usize,
    write_timeout: Duration,
    stop_timeout: Duration,
}

impl Server {
    /// 10 s for a request's headers, at most 64 of them and 16 KiB; 100 streams of one HTTP/2 connection; 100,000 connections;
    /// 10 s for a write to move; 10 s for requests to end when the server stops.
    pub fn new() -> Self {
        Self {
            header_timeout: Duration::from_secs(10),
            max_headers: 64,
            max_header_bytes: 16 * 1024,
            max_streams: 100,
            max_connections: 100_000,
            write_timeout: Duration::from_secs(10),
            stop_timeout: Duration::from_secs(10),
        }
    }

    /// How long a client may take to send the headers of a request; then it is cut. Over HTTP/1.1 it counts between
    /// requests, too; over HTTP/2 until the first one, and after that a client has to answer pings.
    #[must_use]
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// How many headers a request may have, and how many bytes they may take, at least 8 KiB; more is answered 431. Over
    /// HTTP/2 the bytes alone are bounded, as RFC 9113, section 6.5.2, counts them.
    #[must_use]
    pub fn max_headers(mut self, count: usize, bytes: usize) -> Self {
        self.max_headers = count;
        self.max_header_bytes = bytes.max(8 * 1024);
        self
    }

    /// How many requests one HTTP/2 connection may have open, streams of events among them.
    #[must_use]
    pub fn max_streams(mut self, streams: u32) -> Self {
        self.max_streams = streams;
        self
    }

    /// How many connections there may be at once, those not counted that a transport has taken over, as WebSocket does and
    /// streams of events may: the broker counts them. One more is answered 503 and closed.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = connections;
        self
    }

    /// How long a client's socket may take no byte of what is waiting for it; then the connection is reset.
    #[must_use]
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.write_timeout = timeout;
        self
    }

    /// How long requests may go on after the server has stopped listening; then they are cut. Connections that a transport has
    /// taken over are neither waited for nor cut: draining the broker ends them.
    #[must_use]
    pub fn stop_timeout(mut self, timeout: Duration) -> Self {
        self.stop_timeout = timeout;
        self
    }

    /// Serves for good, or until the future is dropped. Connections that were accepted then go on.
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
        self.serve_until(listener, app, pending()).await
    }

    /// Serves until `stop` is ready. Then it stops listening, lets requests that have begun end within
    /// [`stop_timeout`](Self::stop_timeout), and cuts what is left.
    ///
    /// # Errors
    ///
    /// The listener's, other than those that pass.
    ///
    /// # Cancel safety
    ///
    /// As for [`serve`](Self::serve).
    pub async fn serve_until<S, B, F>(self, listener: TcpListener, app: S, stop: F) -> io::Result<()>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
        F: Future<Output = ()>,
    {
        listen::serve(self, listener, app, stop).await
    }

    /// Serves until the process is asked to stop, as [`stop_signal`] says it: then the broker is drained within this time, and the
    /// server ends as [`serve_until`](Self::serve_until) does.
    ///
    /// Allow for both times together, and a second more, before the process is killed: `TimeoutStopSec` of systemd,
    /// `terminationGracePeriodSeconds` of Kubernetes.
    ///
    /// # Errors
    ///
    /// Those of [`stop_signal`], at once, and the listener's, other than those that pass.
    ///
    /// # Cancel safety
    ///
    /// As for [`serve`](Self::serve).
    pub async fn serve_and_drain<S, B>(
        self,
        listener: TcpListener,
        app: S,
        broker: &Broker,
        within: Duration,
    ) -> io::Result<()>
    where
        S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let asked = stop_signal()?;
        let stop = async {
            asked.await;
            broker.drain(within).await;
        };
        self.serve_until(listener, app, stop).await
    }

    fn http1(&self) -> http1::Builder {
        let mut builder = http1::Builder::new();
        builder
            .timer(TokioTimer::new())
            .header_read_timeout(self.header_timeout.min(LONGEST))
            .max_headers(self.max_headers)
            .max_buf_size(self.max_header_bytes);
        builder
    }

    fn http2(&self) -> http2::Builder<TokioExecutor> {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.max_streams)
            .max_header_list_size(u32::try_from(self.max_header_bytes).unwrap_or(u32::MAX))
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(Some(PING_INTERVAL))
            .keep_alive_timeout(self.write_timeout.min(LONGEST));
        builder
    }
}

/// As good as never. hyper adds what it is given to the time of day, which must not overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// What a client may send on one stream before the app has read it, in bytes.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same over all streams of a connection.
const CONNECTION_WINDOW: u32 = 256 * 1024;
/// What of a response waits for the client of one stream, in bytes.
const SEND_BUFFER: usize = 64 * 1024;
/// How often an HTTP/2 client has to show that it is there.
const PING_INTERVAL: Duration = Duration::from_secs(25);

impl Default for Server {
    fn default() -> Self {
        Self::new()
    }
}
