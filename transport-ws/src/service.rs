//! The transport, mounted.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use fanfare_core::{
    Broker, ConnectError, TooManyFormats,
    outbox::Outbox,
    session::{CloseKind, CloseReason, CommandError, ErrorCode, Session, SubscribeCommand},
};
use fanfare_http::{Answer, Refused};
use http::{Request, request::Parts};
use tokio::time::timeout;

use crate::{
    Config,
    connection::{self, Client, Mode},
    handshake::Subprotocol,
    mount::Mount,
    refuse, upgrade,
};

/// The transport's name in [`Handshake::transport`](fanfare_core::session::Handshake::transport).
const TRANSPORT: &str = "ws";

/// The WebSocket endpoint of a [`Broker`]: a [`tower_service::Service`] for axum and everything else on hyper.
///
/// Make one per broker, and clone it: clones are the same endpoint.
///
/// ```
/// use axum::{Router, routing::any_service};
/// use fanfare_core::{Broker, policy::Open};
/// use fanfare_ws::WebSocket;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let broker = Broker::builder().policy(Open).start().await?;
/// let app: Router = Router::new().route("/ws", any_service(WebSocket::new(&broker)?));
/// # Ok(()) }
/// ```
///
/// # Two modes
///
/// A request without the query parameter `topic` speaks the wire format v1 (`PROTOCOL.md`). One with `?topic=NAME` is in
/// *plain mode*: it is subscribed to that topic, and frames are payloads, text or binary, in both directions. What plain
/// mode cannot say, a gap or an error of a publish, it does not say.
///
/// # Refusals
///
/// What is wrong with a handshake is answered by HTTP (400, 403, 405, 426, 431), and so is that the server is
/// full or draining (503). A policy's no is answered 401 or 403 in plain mode. In v1 the connection is accepted and closed with a code, because
/// pages can see that, and no HTTP status. Bodies are errors of the wire format.
#[derive(Clone)]
pub struct WebSocket {
    mount: Arc<Mount>,
    echo: bool,
}

impl WebSocket {
    /// The endpoint of a broker, with the defaults of [`Config::new`]. It registers two wire formats.
    ///
    /// # Errors
    ///
    /// [`TooManyFormats`], after some calls for the same broker: clone the first one instead.
    pub fn new(broker: &Broker) -> Result<Self, TooManyFormats> {
        Ok(Self { mount: Arc::new(Mount::new(broker)?), echo: false })
    }

    /// The same with another configuration. Clones that exist keep theirs.
    #[must_use]
    pub fn config(self, config: Config) -> Self {
        Self { mount: Arc::new(self.mount.configured(config)), ..self }
    }

    pub(crate) fn echoing(self) -> Self {
        Self { echo: true, ..self }
    }

    /// Answers a handshake: with 101, and then serves the connection in a task of its own, or with a refusal.
    ///
    /// The request comes from a hyper server that serves its connections with upgrades, over whatever stream. The
    /// client's address, for policies and limits, is that of the extension `SocketAddr` or, with the feature `axum`,
    /// `ConnectInfo<SocketAddr>`; without either it is unknown.
    ///
    /// # Cancel safety
    ///
    /// A future that is dropped leaves nothing behind.
    pub async fn upgrade<B>(&self, request: Request<B>) -> Answer {
        self.answer(request.into_parts().0).await
    }

    async fn answer(&self, mut parts: Parts) -> Answer {
        let (accepted, promise) = match upgrade::accept(&mut parts, &self.mount.config) {
            Ok(done) => done,
            Err(error) => return error.response(),
        };
        let mode = self.mode(&parts);
        let goodbye = if mode == Mode::V1 && matches!(accepted.protocol, Subprotocol::Unknown(_)) {
            CloseKind::UnsupportedVersion.into()
        } else {
            match self.admit(&parts, &mode).await {
                Ok((session, outbox)) => {
                    let client = Client { session, outbox, mode, mount: self.mount.clone() };
                    upgrade::spawn(promise, move |socket| connection::spawn(client, socket));
                    return accepted.response();
                }
                Err(No::Status(refused)) => return refused.response(),
                Err(No::Close(reason)) => reason,
            }
        };
        upgrade::spawn(promise, move |socket| refuse::spawn_goodbye(socket, &goodbye));
        accepted.response()
    }

    fn mode(&self, parts: &Parts) -> Mode {
        if self.echo {
            return Mode::Echo;
        }
        let topic = fanfare_http::query(parts).find(|(name, _)| name == "topic");
        topic.map_or(Mode::V1, |(_, topic)| Mode::Plain(Box::new(topic.into())))
    }

    /// Asks the core, within the time that a client has to authenticate.
    async fn admit(&self, parts: &Parts, mode: &Mode) -> Result<(Session, Outbox), No> {
        let Mount { broker, config, v1, plain, .. } = &*self.mount;
        let handshake = fanfare_http::handshake(parts, TRANSPORT, &config.trusted_proxies);
        let ask = async {
            let format = if *mode == Mode::V1 { v1 } else { plain };
            let (mut session, outbox) =
                broker.connect(handshake, format).await.map_err(|error| No::by(&error, mode))?;
            if let Mode::Plain(topic) = mode {
                let subscribed = session.subscribe(SubscribeCommand::live(&***topic)).await;
                subscribed.map_err(|error| No::Status(error.into()))?;
            }
            Ok((session, outbox))
        };
        timeout(config.connect_timeout, ask).await.unwrap_or_else(|_| Err(No::late(mode)))
    }
}

/// How a client is refused.
enum No {
    Status(Refused),
    Close(CloseReason),
}

impl No {
    fn by(error: &ConnectError, mode: &Mode) -> Self {
        match error {
            ConnectError::Refused(_) | ConnectError::TooMany { .. } if *mode == Mode::V1 => {
                Self::Close(error.reason())
            }
            error => Self::Status(error.into()),
        }
    }

    fn late(mode: &Mode) -> Self {
        if *mode == Mode::V1 {
            return Self::Close(CloseKind::ConnectTimeout.into());
        }
        Self::Status(CommandError::new(ErrorCode::Timeout, "admission took too long").into())
    }
}

impl<B> tower_service::Service<Request<B>> for WebSocket {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (websocket, (parts, _)) = (self.clone(), request.into_parts());
        Box::pin(async move { Ok(websocket.answer(parts).await) })
    }
}

/// So that a route can be written `any(websocket)`.
#[cfg(feature = "axum")]
impl<S> axum::handler::Handler<(Infallible,), S> for WebSocket {
    type Future = Pin<Box<dyn Future<Output = axum::response::Response> + Send>>;

    fn call(self, request: axum::extract::Request, _: S) -> Self::Future {
        let (parts, _) = request.into_parts();
        Box::pin(async move { self.answer(parts).await.map(axum::body::Body::new) })
    }
}

impl fmt::Debug for WebSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocket").field("config", &self.mount.config).finish_non_exhaustive()
    }
}
