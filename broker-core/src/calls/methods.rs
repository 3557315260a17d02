//! The methods that the app serves.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::{FutureExt, future::BoxFuture};

use super::ClientCall;
use crate::{
    limits::FOREVER,
    message::Payload,
    session::Refusal,
    topic::{PatternTrie, TopicName, TopicPattern},
};

/// How a method is served.
///
/// ```
/// use fanfare_core::calls::CallConfig;
/// use std::time::Duration;
///
/// let slow = CallConfig::new().concurrent(4).timeout(Duration::from_secs(120));
/// # let _ = slow;
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct CallConfig {
    concurrent: Option<usize>,
    timeout: Option<Duration>,
}

impl CallConfig {
    /// One call of a client after the other, in the order of its commands, each within [`Limits::call_timeout`](crate::Limits::call_timeout).
    pub fn new() -> Self {
        Self::default()
    }

    /// The client's next commands do not wait for the answer: up to `at_once` calls of this method run at the same time for one connection, and answers come
    /// in any order. When so many run, the connection's next command waits. 0 counts as 1.
    pub fn concurrent(mut self, at_once: usize) -> Self {
        self.concurrent = Some(at_once.max(1));
        self
    }

    /// How long the handler may take; then it is dropped, and the client is answered `timeout`.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout.min(FOREVER));
        self
    }
}

type Handler = dyn Fn(ClientCall) -> BoxFuture<'static, Result<Payload, Refusal>> + Send + Sync;

/// A method of the app.
pub(crate) struct Method {
    handler: Box<Handler>,
    config: CallConfig,
}

impl Method {
    /// Begins to serve a call. The handler itself may panic, its future as well.
    pub(super) fn serve(&self, call: ClientCall) -> BoxFuture<'static, Result<Payload, Refusal>> {
        (self.handler)(call)
    }

    /// How many may run at once for one connection, where its next commands do not wait.
    pub(crate) fn at_once(&self) -> Option<usize> {
        self.config.concurrent
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.config.timeout
    }
}

/// All methods of the app, by pattern.
#[derive(Default)]
pub(crate) struct Methods {
    methods: PatternTrie<Arc<Method>>,
}

impl Methods {
    pub(crate) fn insert<F>(
        &mut self,
        pattern: TopicPattern,
        config: CallConfig,
        handler: impl Fn(ClientCall) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = Result<Payload, Refusal>> + Send + 'static,
    {
        // The last one that is given for a pattern counts.
        self.methods.remove(&pattern, |_| true);
        let handler = Box::new(move |call| handler(call).boxed());
        self.methods.insert(pattern, Arc::new(Method { handler, config }));
    }

    /// The method of the most specific pattern.
    pub(crate) fn find(&self, name: &TopicName) -> Option<Arc<Method>> {
        self.methods.best(name).cloned()
    }
}

impl fmt::Debug for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.methods.iter().map(|(pattern, _)| pattern)).finish()
    }
}
