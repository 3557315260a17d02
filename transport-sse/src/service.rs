//! The transport, mounted.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{BufMut, Bytes, BytesMut};
use fanfare_core::{
    Broker, TooManyFormats,
    message::{Format, Position},
    outbox::Outbox,
    session::{CloseKind, CommandError, ErrorCode, Session, Start, SubscribeCommand, Subscribed},
};
use fanfare_http::{Refused, Takeover, handshake};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts,
};
use tokio::time::timeout;

use crate::{
    Config, EventBody,
    cursor::{Ids, Place},
    fields, later,
    mount::Mount,
    stream::Stream,
    wanted::{Form, Wanted},
};

/// The transport's name in [`Handshake::transport`](fanfare_core::session::Handshake::transport).
const TRANSPORT: &str = "sse";

/// The event stream endpoint of a [`Broker`]: a [`tower_service::Service`] for axum and everything else on hyper.
///
/// Make one per broker, and clone it: clones are the same endpoint.
///
/// ```
/// use axum::{Router, routing::get_service};
/// use fanfare_core::{Broker, policy::Open};
/// use fanfare_sse::EventStream;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = Broker::builder().policy(Open).start().await?;
/// let app: Router = Router::new().route("/events", get_service(EventStream::new(&broker)?));
/// # Ok(()) }
/// ```
///
/// # What a reader asks for
///
/// `?topic=NAME` is a stream of one topic: `data:` is the payload, `event:` the event's name, `id:` the cursor. With several
/// `topic`, a pattern or `&format=v1` the data is the message of the wire format v1, and one cursor resumes all topics. In this form, and
/// not in the first, what is published to the reader's [addresses](fanfare_core::topic::Address) comes as well; `?format=v1` alone asks for nothing else.
/// `Last-Event-ID`, `after`, `last` and `latest` say where to begin; `PROTOCOL.md` says it all.
///
/// # Refusals
///
/// A stream begins when all its topics are subscribed, or not at all: what is wrong is answered by a status (400, 401, 403,
/// 405, 429, 431, 503, 504), with an error of the wire format as JSON that names field, limit and value. An `EventSource`
/// never comes back after that by itself. So who asks for `text/event-stream` by name, as it does, is told of what will pass (429, 500, 503,
/// 504) by a stream that holds a `$close` event with a time to come back, and ends.
///
/// # Slow readers
///
/// What waits for a reader is bounded like a WebSocket's, under the same overflow policies. When a reader takes nothing for
/// the [write timeout](Config::write_timeout), its stream ends: session, subscriptions and queue are gone within the timeout
/// and a second, under any server. A reader that goes on after all finds a `$close` event with `slow_consumer` there, if it finds the
/// connection. That, and what the server had taken for it, is the server's:
///
/// - Under [`fanfare_http::Server`] it is reset: with the stream where that has taken the connection over (below), else after
///   the server's own write timeout.
/// - Under `axum::serve` the socket stays until the client reads on or leaves, or until TCP gives up; with some 400 KiB in
///   hyper's buffers. On Linux `TCP_USER_TIMEOUT` lets TCP give up early: set it in
///   [`ListenerExt::tap_io`](https://docs.rs/axum/latest/axum/serve/trait.ListenerExt.html), together with `TCP_NODELAY`.
/// - A reader whose machine vanishes, without a word to TCP, is given up a minute after the first heartbeat that is not
///   acknowledged where the stream has taken the connection over, on Linux. Elsewhere that takes TCP a quarter of an hour,
///   or what `TCP_USER_TIMEOUT` says.
/// - Over HTTP/2 a stream that its client does not read holds its place in the connection, and at most a window's bytes, until the
///   client reads on, resets it or leaves. Others on the connection go on.
///
/// # Past HTTP
///
/// Under [`fanfare_http::Server`] and over HTTP/1.1 a stream takes its connection over from HTTP, so that it has no buffers while it is idle. One
/// topic's payloads fan-out writes to the socket itself, as to a WebSocket's; where the cursor is each reader's own, a small task does. The
/// client sees nothing of it but `Connection: close`. Layers that change the response's meaning keep a stream from it, and
/// so does one that reads the body in a task of its own. One that wraps the body alone is not asked: to it the body ends at once.
///
/// # Pages of other origins
///
/// A browser lets no page read a stream of another origin, unless the answer says so: that is CORS, and tower-http's.
///
/// ```
/// use axum::{Router, http::HeaderValue, routing::get_service};
/// use fanfare_core::{Broker, policy::Open};
/// use fanfare_sse::EventStream;
/// use tower_http::cors::CorsLayer;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = Broker::builder().policy(Open).start().await?;
/// // `new EventSource(url, { withCredentials: true })` sends cookies; then no origin can be a wildcard.
/// let cors = CorsLayer::new()
///     .allow_origin(HeaderValue::from_static("https://app.example"))
///     .allow_credentials(true);
/// let app: Router = Router::new().route("/events", get_service(EventStream::new(&broker)?)).layer(cors);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct EventStream {
    mount: Arc<Mount>,
}

impl EventStream {
    /// The endpoint of a broker, with the defaults of [`Config::new`]. It registers three wire formats.
    ///
    /// # Errors
    ///
    /// [`TooManyFormats`], after some calls for the same broker: clone the first one instead.
    pub fn new(broker: &Broker) -> Result<Self, TooManyFormats> {
        Ok(Self { mount: Arc::new(Mount::new(broker)?) })
    }

    /// The same with another configuration. Clones that exist keep theirs.
    #[must_use]
    pub fn config(self, config: Config) -> Self {
        Self { mount: Arc::new(self.mount.configured(config)) }
    }

    /// Answers a request: with a stream, or with a refusal.
    ///
    /// The client's address, for policies and limits, is that of the extension `SocketAddr` or, with the feature `axum`,
    /// `ConnectInfo<SocketAddr>`; without either it is unknown.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped leaves nothing behind.
    pub async fn respond<B>(&self, request: Request<B>) -> Response<EventBody> {
        self.answer(request.into_parts().0).await
    }

    async fn answer(&self, request: Parts) -> Response<EventBody> {
        let mut response = match self.open(&request).await {
            Ok((body, offer)) => {
                let mut response = stream(body);
                if let Some(offer) = offer {
                    offer.mark(&mut response);
                }
                response
            }
            Err(refused) => match later::instead(&refused, &request.headers, self.mount.config.retry) {
                Some(last) => stream(EventBody::whole(last.into())),
                None => refused.response().map(EventBody::whole),
            },
        };
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }

    async fn open(&self, request: &Parts) -> Result<(EventBody, Option<Takeover>), Refused> {
        let Mount { config, broker, .. } = &*self.mount;
        if request.method != Method::GET && request.method != Method::HEAD {
            let error =
                CommandError::new(ErrorCode::BadRequest, "an event stream is read with GET").field("method");
            return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, error));
        }
        bounded(request, config)?;
        let wanted = Wanted::read(request, config.topics(broker.limits().subscriptions_per_connection))?;
        let offer = request.extensions.get::<Takeover>().cloned();
        let format = match (wanted.form, &offer) {
            (Form::V1, _) => &self.mount.v1,
            (Form::Raw, None) => &self.mount.raw,
            (Form::Raw, Some(_)) => &self.mount.direct,
        };
        let (session, outbox, body) =
            timeout(config.connect_timeout, self.admit(request, &wanted, format)).await.unwrap_or_else(
                |_| Err(CommandError::new(ErrorCode::Timeout, "admission took too long").into()),
            )?;
        if request.method == Method::HEAD {
            session.close(CloseKind::Normal.into()).await;
            return Ok((EventBody::nothing(), None));
        }
        let stream = Stream::new(self.mount.clone(), session, outbox);
        Ok((EventBody::stream(stream, body.first, body.ids, offer.clone()), offer))
    }

    /// Asks the core for the session and all its subscriptions, or none.
    async fn admit(
        &self,
        request: &Parts,
        wanted: &Wanted,
        format: &Format,
    ) -> Result<(Session, Outbox, Begin), Refused> {
        let Mount { broker, config, .. } = &*self.mount;
        let handshake = handshake(request, TRANSPORT, &config.trusted_proxies);
        let (mut session, outbox) =
            broker.connect(handshake, format).await.map_err(|error| Refused::from(&error))?;
        if !session.is_admitted() {
            session.close(CloseKind::Unauthenticated.into()).await;
            let message = "a token is needed: as Authorization: Bearer, as the cookie `token` or as ?token=";
            return Err(CommandError::new(ErrorCode::Unauthenticated, message).into());
        }
        match subscribe(&mut session, wanted, config.retry).await {
            Ok(begin) => Ok((session, outbox, begin)),
            Err(error) => {
                session.close(CloseKind::Normal.into()).await;
                Err(error.into())
            }
        }
    }
}

/// What a stream begins with.
struct Begin {
    first: Bytes,
    ids: Option<Box<Ids>>,
}

async fn subscribe(session: &mut Session, wanted: &Wanted, retry: Duration) -> Result<Begin, CommandError> {
    let mut places = Vec::with_capacity(wanted.topics.len());
    for asked in &wanted.topics {
        let subscribed =
            session.subscribe(asked.clone()).await.map_err(|error| naming(asked, error, wanted))?;
        if let Some(subscription) = session.subscription(&asked.topic) {
            places.push(Place::new(subscription, &asked.topic, begins_at(asked.start, subscribed)));
        }
    }
    let ids = Ids::new(places);
    let mut first = BytesMut::new();
    fields::retry(later::spread(retry), &mut first);
    ids.write(&mut first);
    first.put_slice(fields::END);
    // In the raw form it is a part of the event, which all readers share.
    let ids = (wanted.form == Form::V1).then(|| Box::new(ids));
    Ok(Begin { first: first.freeze(), ids })
}

/// The cursor of a reader that is cut before the first event: it must not be ahead of anything that is told.
fn begins_at(start: Start, subscribed: Subscribed) -> Option<Position> {
    match start {
        // A gap comes first.
        Start::After(asked) if subscribed.recovered == Some(false) => Some(asked),
        // So do values from before.
        Start::Latest => None,
        _ => subscribed.position,
    }
}

/// Says which of several topics is to blame.
fn naming(asked: &SubscribeCommand, mut error: CommandError, wanted: &Wanted) -> CommandError {
    if wanted.topics.len() > 1 {
        let topic: String = asked.topic.chars().take(LONGEST_NAME).collect();
        error.message = format!("{topic}: {}", error.message).into();
    }
    error
}

/// How much of a name that is none is repeated, in characters.
const LONGEST_NAME: usize = 255;

/// Holds the request line and headers to the limits.
fn bounded(request: &Parts, config: &Config) -> Result<(), Refused> {
    let refuse = |limit: usize, value: usize| {
        let error = CommandError::new(ErrorCode::TooLarge, "the request's headers are over the limit");
        let error = error.field("headers").limit(limit as u64, value as u64);
        Refused::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, error)
    };
    let count = request.headers.len();
    if count > config.max_headers {
        return Err(refuse(config.max_headers, count));
    }
    let bytes = request.uri.path().len() + request.uri.query().map_or(0, str::len) + size(&request.headers);
    if bytes > config.max_header_bytes {
        return Err(refuse(config.max_header_bytes, bytes));
    }
    Ok(())
}

/// Headers as HTTP/1.1 writes them: name, `: `, value, CRLF.
fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum()
}

/// Tells nginx not to hold events back until it has a buffer full of them.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

fn stream(body: EventBody) -> Response<EventBody> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Whoever transforms, as by compressing, buffers (RFC 9111, section 5.2.2.6).
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

impl<B> tower_service::Service<Request<B>> for EventStream {
    type Response = Response<EventBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (events, (parts, _)) = (self.clone(), request.into_parts());
        Box::pin(async move { Ok(events.answer(parts).await) })
    }
}

/// So that a route can be written `get(events)`.
#[cfg(feature = "axum")]
impl<S> axum::handler::Handler<(Infallible,), S> for EventStream {
    type Future = Pin<Box<dyn Future<Output = axum::response::Response> + Send>>;

    fn call(self, request: axum::extract::Request, _: S) -> Self::Future {
        let (parts, _) = request.into_parts();
        Box::pin(async move { self.answer(parts).await.map(axum::body::Body::new) })
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("config", &self.mount.config).finish_non_exhaustive()
    }
}
