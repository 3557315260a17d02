//! A WebSocket endpoint that sends everything back.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use fanfare_core::{
    Broker,
    policy::Open,
    session::{CommandError, ErrorCode},
};
use fanfare_http::{Answer, Refused};
use http::Request;

use crate::{Config, WebSocket};

/// Sends back each message, through the same framing and the same outbox as a [`WebSocket`]: for conformance tests and
/// for looking at a client. It belongs to no broker, and its limits are those of the [`Config`].
///
/// ```
/// use axum::{Router, routing::any_service};
/// use fanfare_ws::{Config, Echo};
///
/// let app: Router = Router::new().route("/echo", any_service(Echo::new(Config::new().max_message(1 << 20))));
/// ```
#[derive(Clone)]
pub struct Echo {
    config: Config,
    /// Made at the first handshake, when there is a runtime for sure.
    inner: Arc<OnceLock<Option<WebSocket>>>,
}

impl Echo {
    /// An endpoint with this configuration.
    pub fn new(config: Config) -> Self {
        Self { config, inner: Arc::default() }
    }

    /// Answers a handshake, as [`WebSocket::upgrade`] does.
    pub async fn upgrade<B>(&self, request: Request<B>) -> Answer {
        let parts = request.into_parts().0;
        match self.inner.get_or_init(|| endpoint(&self.config)) {
            Some(inner) => inner.upgrade(Request::from_parts(parts, ())).await,
            None => {
                Refused::from(CommandError::new(ErrorCode::Internal, "the echo did not start")).response()
            }
        }
    }
}

fn endpoint(config: &Config) -> Option<WebSocket> {
    let broker = Broker::builder().policy(Open).shards(1).start_degraded().ok()?;
    Some(WebSocket::new(&broker).ok()?.config(config.clone()).echoing())
}

impl<B> tower_service::Service<Request<B>> for Echo {
    type Response = Answer;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (echo, (parts, _)) = (self.clone(), request.into_parts());
        Box::pin(async move { Ok(echo.upgrade(Request::from_parts(parts, ())).await) })
    }
}

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Echo").field("config", &self.config).finish_non_exhaustive()
    }
}
