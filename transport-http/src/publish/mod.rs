//! Publishing by HTTP: `POST /publish?topic=..`.

mod answer;
mod body;
mod config;
mod content;
mod params;

use std::{
    convert::Infallible,
    error::Error,
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use fanfare_core::{
    Broker,
    session::{CommandError, ErrorCode, PublishCommand, Visitors},
};
use http::{HeaderValue, Method, Request, StatusCode, header};
use http_body::Body;
use tokio::sync::Semaphore;

pub use config::PublishConfig;
use params::Params;

use crate::{Answer, Refused, handshake};

/// The transport's name in [`Handshake::transport`](fanfare_core::session::Handshake::transport).
const TRANSPORT: &str = "http";

/// Publishes what is posted: a [`tower_service::Service`] for axum and everything else on hyper, over HTTP/1.1 and HTTP/2.
///
/// ```
/// use axum::{Router, routing::any_service};
/// use fanfare_core::{Broker, policy::Open};
/// use fanfare_http::Publish;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = Broker::builder().policy(Open).start().await?;
/// let app: Router = Router::new().route("/publish", any_service(Publish::new(&broker)));
/// # Ok(()) }
/// ```
///
/// # A request
///
/// `POST /publish?topic=chat.lobby&event=line&key=k` with the payload as its body. Its content type says what it is:
///
/// | `Content-Type` | payload |
/// | --- | --- |
/// | `application/json`, and all that end in `+json` | JSON, checked, without the blanks around it |
/// | `text/*` | text, in UTF-8 |
/// | anything else | bytes |
/// | none, or that of a form, as by `curl -d` alone | refused by 415, which says what to do |
///
/// Several `topic` parameters publish one message to all of them, which have to be ephemeral. `Idempotency-Key: "order-17"`
/// (draft-ietf-httpapi-idempotency-key-header; the quotes may be left out) is the message's `message_id`: a repeat within the topic's window is answered
/// with the first one's position, whatever its payload. `report=1` asks what became of the message on this node. Other
/// parameters are left to the policy, as `token` is.
///
/// # The answer
///
/// 202 once the backend has accepted the message: `{"pos":"k3f9:43"}`, with `"duplicate":true` for a repeat, `{}` on an ephemeral topic,
/// and with a report `"report":{"matched":2,"delivered":2,"queued":0,"conflated":0,"dropped":0,"disconnected":0}`.
///
/// Everything else is an error of the wire format, `{"error":{"code":"too_large","message":"..","field":"data","limit":65536,"value":70001,"retry":false}}`:
///
/// | status | codes | |
/// | --- | --- | --- |
/// | 400 | `bad_request`, `invalid_topic`, `invalid_payload`, `limit_exceeded` | the request itself is at fault |
/// | 401, 403 | `unauthenticated`, `token_expired`, `forbidden` | the policy's word, or a page of a foreign origin |
/// | 405, 415 | `bad_request` | not a `POST`; a body that is not said to be anything that is taken |
/// | 408 | `bad_request` | the body did not come in time |
/// | 413, 414 | `too_large` | before the body is read, where its length is announced |
/// | 422 | `invalid_payload` | a hook refuses the payload |
/// | 429 | `rate_limited`, `limit_exceeded` | too many of this user or address; `Retry-After` |
/// | 503 | `draining`, `backend_unavailable`, `limit_exceeded` | not now; `Retry-After` |
/// | 500, 504 | `internal`, `timeout` | whether the message was accepted is not known: repeat it with an `Idempotency-Key` alone, and not at all where `retry` is `false` |
///
/// All but the last line mean that the message was not accepted, with one exception that its error tells: `backend_unavailable` on an
/// ephemeral topic, whose subscribers on this node may have it.
///
/// # What holds for it
///
/// The same as for a publish over WebSocket: the policy admits the client by what its request says (a policy that waits for a
/// token in `connect` answers 401), decides on each topic, and the `on_publish` hooks run; a message's `from` names the
/// user, and a `client` that is the request's own. See [`Visitors`] for what is bounded, and by whom.
///
/// A page of a foreign origin is refused, as [`PublishConfig::allow_origins`] says; and so that no form can be sent past this, so are forms.
///
/// # A process that publishes and nothing else
///
/// needs no broker in it. Whatever speaks HTTP will do, a job of the night's as well: it names each message, so that it
/// can repeat what may have failed, and no message comes twice.
///
/// ```
/// use std::{thread::sleep, time::Duration};
///
/// /// `name` is the message's own, such as `report-2026-11-21`.
/// fn tell(app: &str, name: &str, report: &str) -> Result<(), ureq::Error> {
///     let mut pause = Duration::from_millis(200);
///     loop {
///         let sent = ureq::post(format!("{app}/publish"))
///             .query("topic", "reports")
///             .header("authorization", "Bearer the-jobs-own-token")
///             .header("idempotency-key", format!("\"{name}\""))
///             .content_type("application/json")
///             .send(report);
///         match sent {
///             Err(ureq::Error::StatusCode(429 | 500 | 503 | 504)
///                 | ureq::Error::Io(_) | ureq::Error::Timeout(_))
///                 if pause < Duration::from_secs(60) =>
///             {
///                 sleep(pause);
///                 pause *= 2;
///             }
///             done => return done.map(drop),
///         }
///     }
/// }
/// # use axum::{Router, routing::any_service};
/// # use fanfare_core::{Broker, policy::Open, topic::TopicConfig};
/// # use fanfare_http::{Publish, Server};
/// # #[tokio::main] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let reports = TopicConfig::new().history(10);
/// # let broker = Broker::builder().policy(Open).topic("reports", reports).start().await?;
/// # let mut subscription = broker.subscribe("reports").await?;
/// # let router = Router::new().route("/publish", any_service(Publish::new(&broker)));
/// # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
/// # let app = format!("http://{}", listener.local_addr()?);
/// # tokio::spawn(Server::new().serve(listener, router));
/// # tokio::task::spawn_blocking(move || {
/// #     tell(&app, "report-2026-11-21", r#"{"sold":17}"#)?;
/// #     tell(&app, "report-2026-11-21", r#"{"sold":17}"#)
/// # }).await??;
/// # subscription.recv().await.ok_or("no message")?;
/// # assert!(subscription.try_recv().is_none(), "it came twice");
/// # Ok(()) }
/// ```
///
/// # Cancel safety
///
/// A client that leaves before the message is committed has published nothing; after, everything.
#[derive(Clone)]
pub struct Publish {
    shared: Arc<Shared>,
}

struct Shared {
    broker: Broker,
    visitors: Visitors,
    places: Semaphore,
    config: PublishConfig,
}

impl Publish {
    /// The endpoint of a broker, with the defaults of [`PublishConfig::new`].
    #[must_use]
    pub fn new(broker: &Broker) -> Self {
        Self::with(broker.clone(), PublishConfig::new())
    }

    /// The same with another configuration, and with budgets of its own. Clones that exist keep theirs.
    #[must_use]
    pub fn config(self, config: PublishConfig) -> Self {
        Self::with(self.shared.broker.clone(), config)
    }

    fn with(broker: Broker, config: PublishConfig) -> Self {
        let visitors = Visitors::new(&broker);
        let places = Semaphore::new(config.at_once.clamp(1, Semaphore::MAX_PERMITS));
        Self { shared: Arc::new(Shared { broker, visitors, places, config }) }
    }

    /// Answers a request.
    ///
    /// The client's address, for policies and limits, is that of the extension `SocketAddr` or, with the feature `axum`,
    /// `ConnectInfo<SocketAddr>`; without either it is unknown, and all clients without a user share one budget.
    ///
    /// # Cancel safety
    ///
    /// Dropped before the message is committed, nothing happened; after, everything.
    pub async fn answer<B>(&self, request: Request<B>) -> Answer
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        self.shared.publish(request).await.unwrap_or_else(refuse)
    }
}

impl Shared {
    async fn publish<B>(&self, request: Request<B>) -> Result<Answer, Refused>
    where
        B: Body,
        B::Error: Into<Box<dyn Error + Send + Sync>>,
    {
        let (parts, body) = request.into_parts();
        let (config, limits) = (&self.config, self.broker.limits());
        if parts.method != Method::POST {
            let error = CommandError::new(ErrorCode::BadRequest, "the method must be POST").field("method");
            return Err(Refused::new(StatusCode::METHOD_NOT_ALLOWED, error));
        }
        if !config.origins.admit(&parts) {
            let error = CommandError::new(ErrorCode::Forbidden, "pages of this origin may not publish");
            return Err(error.field("origin").into());
        }
        let params = Params::read(&parts, config.max_query, limits.topics_per_publish)?;
        if params.report && !config.reports {
            return Err(CommandError::new(ErrorCode::Forbidden, "there are no reports")
                .field("report")
                .into());
        }
        let kind = content::kind(&parts.headers)?;
        body::check_length(&body, limits.max_message)?;

        let _place = self.places.try_acquire().map_err(|_| full(config.at_once))?;
        let visitor = self.visitors.admit(&handshake(&parts, TRANSPORT, &config.proxies)).await?;
        drop(parts);
        let body = body::read(body, limits.max_message, config.body_timeout).await?;
        let mut command = PublishCommand::to_topics(params.topics, content::payload(kind, body)?);
        (command.event, command.key, command.message_id) = (params.event, params.key, params.message_id);
        Ok(if params.report {
            answer::reported(&visitor.report(command).await?)
        } else {
            answer::published(&visitor.publish(command).await?)
        })
    }
}

fn full(limit: usize) -> Refused {
    let error = CommandError::new(ErrorCode::LimitExceeded, "too many requests at once");
    let mut error = error.limit(limit as u64, limit as u64 + 1);
    error.retry = true;
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, error)
}

fn refuse(refused: Refused) -> Answer {
    let mut response = refused.response();
    let status = response.status();
    let headers = response.headers_mut();
    match status {
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, HeaderValue::from_static("POST"));
        }
        StatusCode::UNSUPPORTED_MEDIA_TYPE => {
            headers.insert(header::ACCEPT, content::ACCEPTED);
        }
        _ => {}
    }
    response
}

impl<B> tower_service::Service<Request<B>> for Publish
where
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let publish = self.clone();
        Box::pin(async move { Ok(publish.answer(request).await) })
    }
}

/// So that a route can be written `post(publish)`.
#[cfg(feature = "axum")]
impl<S> axum::handler::Handler<(Infallible,), S> for Publish {
    type Future = Pin<Box<dyn Future<Output = axum::response::Response> + Send>>;

    fn call(self, request: axum::extract::Request, _: S) -> Self::Future {
        Box::pin(async move { self.answer(request).await.map(axum::body::Body::new) })
    }
}

impl fmt::Debug for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publish").field("config", &self.shared.config).finish_non_exhaustive()
    }
}
