//! One connection: its version, its requests, its end.

use std::{
    convert::Infallible,
    error::Error,
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::{Either, select};
use http::{Method, Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tower_service::Service;

use super::{
    Server,
    listen::Phase,
    version::{self, Version},
};
use crate::{Socket, takeover::Desk};

/// How both versions of HTTP are served.
pub(super) struct Http {
    one: http1::Builder,
    two: http2::Builder<TokioExecutor>,
    header_timeout: Duration,
}

impl Http {
    pub(super) fn new(server: &Server) -> Self {
        Self { one: server.http1(), two: server.http2(), header_timeout: server.header_timeout }
    }
}

/// Serves a connection to its end.
pub(super) async fn serve<S, B>(
    http: Arc<Http>,
    mut socket: Socket,
    peer: SocketAddr,
    app: S,
    mut phase: watch::Receiver<Phase>,
) where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let version = {
        let detect = pin!(timeout(http.header_timeout, version::detect(&mut socket)));
        match select(detect, pin!(reached(&mut phase, Phase::Ending))).await {
            Either::Left((Ok(Ok(Some(version))), _)) => version,
            _ => return,
        }
    };
    let ended = match version {
        Version::One => one(http, socket, peer, app, phase).await,
        // Boxed, as it is the larger of the two by far, and a task is as large as the largest that it may become.
        Version::Two => Box::pin(two(http, socket, peer, app, phase)).await,
    };
    if let Err(error) = ended {
        let error: &dyn Error = &error;
        tracing::debug!(target: "fanfare::http", error, "connection ended");
    }
}

async fn one<S, B>(
    http: Arc<Http>,
    mut socket: Socket,
    peer: SocketAddr,
    app: S,
    phase: watch::Receiver<Phase>,
) -> hyper::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let desk = Arc::<Desk>::default();
    socket.tell(Some(desk.clone()));
    let (app, offers) = (Box::new(app), desk.clone());
    let service = service_fn(move |request| offer(offers.clone(), S::clone(&app), request, peer));
    let mut connection = http.one.serve_connection(TokioIo::new(socket), service).with_upgrades();
    let taken = poll_fn(|_| desk.taker().map_or(Poll::Pending, Poll::Ready));
    // In this order: whether the connection was taken is to be seen after it was polled.
    let served = drive(Pin::new(&mut connection), |connection| connection.graceful_shutdown(), phase.clone());
    let taken = match select(pin!(served), taken).await {
        Either::Left((ended, _)) => {
            ended?;
            None
        }
        Either::Right((then, _)) => Some(then),
    };
    if let Some(parts) = connection.into_parts() {
        let mut socket = parts.io.into_inner();
        match taken {
            Some(then) => {
                socket.tell(None);
                then(socket);
            }
            None => Box::pin(linger(socket, phase)).await,
        }
    }
    Ok(())
}

/// How many bytes of a client's are read after its last answer, and for how long. nginx sends bodies of up to 1 MiB unless told.
const LINGER_BYTES: usize = 2 << 20;
const LINGER: Duration = Duration::from_secs(2);

/// Reads on for a while after HTTP has ended, which has closed the other direction. A request may be answered before its body has been read, as
/// one is that is too large; a socket that is closed with bytes unread resets the connection, and then the client, or the proxy in
/// front, may never see the answer (RFC 9112, section 9.6).
async fn linger(socket: Socket, mut phase: watch::Receiver<Phase>) {
    let stream = socket.into_inner();
    let read = async {
        let mut left = LINGER_BYTES;
        while left > 0 && stream.readable().await.is_ok() {
            let mut bytes = [0; 16 * 1024];
            match stream.try_read(&mut bytes) {
                Ok(0) => return,
                Ok(length) => left = left.saturating_sub(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
        }
    };
    let read = timeout(LINGER, read);
    select(pin!(read), pin!(reached(&mut phase, Phase::Over))).await;
}

/// Asks the app, which may have its response's body written without HTTP.
async fn offer<S, B>(
    desk: Arc<Desk>,
    app: S,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response<B>, Infallible>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    let lasts = request.method() == Method::GET && request.version() == http::Version::HTTP_11;
    if lasts && request.body().is_end_stream() {
        request.extensions_mut().insert(desk.offer());
    }
    let mut response = respond(app, request, peer).await?;
    desk.consider(&mut response);
    Ok(response)
}

async fn two<S, B>(
    http: Arc<Http>,
    socket: Socket,
    peer: SocketAddr,
    app: S,
    phase: watch::Receiver<Phase>,
) -> hyper::Result<()>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let asked = Arc::new(AtomicBool::new(false));
    let told = asked.clone();
    let service = service_fn(move |request| {
        told.store(true, Ordering::Relaxed);
        respond(app.clone(), request, peer)
    });
    let connection = pin!(http.two.serve_connection(TokioIo::new(socket), service));
    let serve = pin!(drive(connection, |connection| connection.graceful_shutdown(), phase));
    match select(serve, pin!(sleep(http.header_timeout))).await {
        Either::Left((ended, _)) => ended,
        Either::Right(((), serve)) if asked.load(Ordering::Relaxed) => serve.await,
        // Connected, and nothing more.
        Either::Right(_) => Ok(()),
    }
}

/// Asks the app, which is told where the request came from.
async fn respond<S, B>(
    mut app: S,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Result<Response<B>, Infallible>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    request.extensions_mut().insert(peer);
    #[cfg(feature = "axum")]
    request.extensions_mut().insert(axum::extract::ConnectInfo(peer));
    poll_fn(|cx| app.poll_ready(cx)).await?;
    app.call(request).await
}

/// Serves on until the connection ends: by itself, in good order when the server stops, or at once when that takes too long.
async fn drive<C>(
    mut connection: Pin<&mut C>,
    end: impl FnOnce(Pin<&mut C>),
    mut phase: watch::Receiver<Phase>,
) -> hyper::Result<()>
where
    C: Future<Output = hyper::Result<()>>,
{
    if let Either::Left((ended, _)) =
        select(connection.as_mut(), pin!(reached(&mut phase, Phase::Ending))).await
    {
        return ended;
    }
    end(connection.as_mut());
    match select(connection, pin!(reached(&mut phase, Phase::Over))).await {
        Either::Left((ended, _)) => ended,
        Either::Right(_) => Ok(()),
    }
}

/// Ready when the server is that far. A server that was dropped never is: its connections go on.
async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    if phase.wait_for(|phase| *phase >= wanted).await.is_err() {
        std::future::pending::<()>().await;
    }
}
