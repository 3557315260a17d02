//! Looks again at the stream, which other nodes and operators change while it is used.

use std::sync::Arc;

use serde_json::json;

use super::{Logs, Stream, config::limits_of, identity};
use crate::log::api::Info;

/// Once in so many of the times after which a silent server is asked whether it is there: a minute by default.
const PINGS: u32 = 30;

impl Logs {
    /// Keeps known what the stream holds of each topic, for ever: who believes that it is less leaves small topics untrimmed.
    pub(crate) async fn watch(&self) {
        let every = self.settings.ping_every.saturating_mul(PINGS);
        loop {
            tokio::time::sleep(every).await;
            let Some(known) = self.known() else { continue };
            match self.api.ask::<Info>(&format!("STREAM.INFO.{}", known.name), &json!({})).await {
                Ok(info) => self.compare(&known, &info),
                Err(refusal) if refusal.is_gone() => self.forget(),
                // Another time.
                Err(_) => {}
            }
        }
    }

    fn compare(&self, known: &Arc<Stream>, info: &Info) {
        let Info { config, created, .. } = info;
        let epoch = self.names.epoch(&config.name).unwrap_or_else(|| identity(&config.name, created));
        if epoch != known.epoch {
            self.another.notify_one();
        }
        if epoch != known.epoch
            || config.subjects != [self.names.logs()]
            || config.num_replicas != known.replicas
        {
            return self.forget();
        }
        let held = limits_of(config);
        let mut state = self.state.lock();
        let needs = state.needs;
        if self.is_managed() && !held.hold(needs) {
            drop(state);
            return self.forget();
        }
        let limits = if self.is_managed() { held } else { held.with(needs) };
        if limits != known.limits && state.stream.as_ref().is_some_and(|stream| Arc::ptr_eq(stream, known)) {
            let stream = Arc::new(Stream { limits, ..Stream::clone(known) });
            (state.stream, state.certain) = (Some(stream.clone()), Some(stream));
        }
    }
}
