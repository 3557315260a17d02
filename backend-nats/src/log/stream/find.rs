//! Finds the stream: which there is, or which of several, or a new one.

use std::{sync::Arc, time::Duration};

use fanfare_core::message::Epoch;
use serde::Deserialize;
use serde_json::json;

use super::{Limits, Logs, Stream, identity};
use crate::{
    error::Trouble,
    log::{
        api::{Info, NAME_IN_USE, OVERLAPS, Refusal, STREAM_NOT_FOUND},
        time,
    },
    settings::Streams,
};

/// How often it is tried again where others change streams at the same time.
const TRIES: usize = 32;

/// How soon a stream is looked at again that has no leader yet.
const ELECTING: Duration = Duration::from_millis(100);

/// The pauses before something is sent again that a stream has refused.
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(400);

impl Logs {
    /// The stream that holds the logs; looked for, and made, where it is not known.
    pub(crate) async fn stream(&self) -> Result<Arc<Stream>, Trouble> {
        if let Some(stream) = self.state.lock().stream.clone() {
            return Ok(stream);
        }
        let _looking = self.looking.lock().await;
        if let Some(stream) = self.state.lock().stream.clone() {
            return Ok(stream);
        }
        for _ in 0..TRIES {
            let needs = self.state.lock().needs;
            let Some(stream) = self.look(needs).await? else { continue };
            let stream = Arc::new(stream);
            let mut state = self.state.lock();
            if !stream.limits.hold(state.needs) && self.settings.logs.streams == Streams::Managed {
                continue;
            }
            let before = state.epochs.insert(stream.name.to_string(), stream.epoch);
            if before.is_some_and(|before| before != stream.epoch) {
                // What came since then has been taken for the old one's.
                self.another.notify_one();
            }
            (state.stream, state.certain) = (Some(stream.clone()), Some(stream.clone()));
            drop(state);
            self.queue.set_stream(stream.name.clone());
            return Ok(stream);
        }
        Err(Trouble::unavailable("the stream that holds the logs changes under our hands"))
    }

    /// Sees to it that what is published finds its stream, for ever.
    pub(crate) async fn serve(&self) {
        loop {
            self.queue.until_it_lacks_a_stream().await;
            let refusals = self.queue.refusals();
            if refusals > 0 {
                // It was replaced, or is without a leader for a while.
                tokio::time::sleep(pause(refusals)).await;
                let mut state = self.state.lock();
                (state.stream, state.certain) = (None, None);
            }
            let connection = self.queue.connection();
            match self.stream().await {
                Ok(stream) => self.queue.set_stream(stream.name.clone()),
                Err(trouble) => self.queue.refuse_appends(&trouble, connection),
            }
        }
    }

    /// Waits until a stream turns out to be another one than that which had its name, whoever has found that out.
    pub(crate) async fn until_it_is_another(&self) {
        self.another.notified().await;
    }

    /// `None` where it is to be tried again.
    async fn look(&self, needs: Limits) -> Result<Option<Stream>, Trouble> {
        #[derive(Deserialize)]
        struct Found {
            #[serde(default)]
            streams: Option<Vec<String>>,
        }
        let question = json!({ "subject": self.names.logs() });
        let found: Found = self.api.ask("STREAM.NAMES", &question).await.map_err(off)?;
        let found = found.streams.unwrap_or_default();
        let name = match found.as_slice() {
            [] => return self.create(needs).await,
            [name] => name,
            several => return self.choose(several).await,
        };
        // What is known before the question: the stream goes on while it is answered.
        let reached = self.state.lock().reached.get(name).copied().unwrap_or_default();
        let info: Info = match self.api.ask(&format!("STREAM.INFO.{name}"), &json!({})).await {
            Ok(info) => info,
            Err(refusal) if refusal.has_code(&[STREAM_NOT_FOUND]) => return Ok(None),
            Err(refusal) => return Err(refusal.into_trouble()),
        };
        if info.lacks_leader() {
            // What is asked of it now is never answered.
            tokio::time::sleep(ELECTING).await;
            return Ok(None);
        }
        let reached = if self.is_another(&info) { 0 } else { reached };
        self.check(info, needs, reached).await
    }

    /// Whether an operator has created a stream anew under the name of one that was known.
    fn is_another(&self, info: &Info) -> bool {
        let name = &info.config.name;
        let state = &mut *self.state.lock();
        let is_another = state.epochs.get(name).is_some_and(|held| {
            *held != self.names.epoch(name).unwrap_or_else(|| identity(name, &info.created))
        });
        if is_another {
            state.reached.remove(name);
        }
        is_another
    }

    /// Of streams that nodes have created at the same time the oldest stays: all nodes choose the same.
    async fn choose(&self, names: &[String]) -> Result<Option<Stream>, Trouble> {
        let is_managed = self.settings.logs.streams == Streams::Managed;
        if !is_managed || names.iter().any(|name| self.names.epoch(name).is_none()) {
            return Err(Trouble::configuration(format!(
                "several streams take subjects of {}: one has to take them all",
                self.names.logs()
            )));
        }
        let mut found = Vec::new();
        for name in names {
            match self.api.ask::<Info>(&format!("STREAM.INFO.{name}"), &json!({})).await {
                Ok(info) => found.push((time::parse(&info.created), info.created, name)),
                Err(refusal) if refusal.is_gone() => return Ok(None),
                Err(refusal) => return Err(refusal.into_trouble()),
            }
        }
        found.sort_unstable();
        for (_, _, name) in found.iter().skip(1) {
            tracing::info!(target: "fanfare::nats", stream = name, "another node was quicker: its stream stays");
            match self.api.change::<serde_json::Value>(&format!("STREAM.DELETE.{name}"), &json!({})).await {
                Ok(_) => {}
                Err(refusal) if refusal.is_gone() => {}
                Err(refusal) => return Err(refusal.into_trouble()),
            }
        }
        Ok(None)
    }

    async fn create(&self, needs: Limits) -> Result<Option<Stream>, Trouble> {
        let logs = &self.settings.logs;
        if logs.streams == Streams::Checked {
            return Err(Trouble::configuration(format!(
                "there is no stream for {}: create one as the crate's documentation says, or let the backend create it",
                self.names.logs()
            )));
        }
        let config = self.config(needs, Epoch::random());
        match self.api.change::<Info>(&format!("STREAM.CREATE.{}", config.name), &config).await {
            Ok(_) => {
                tracing::info!(target: "fanfare::nats", stream = config.name, "created the stream that holds the logs");
                // It is looked at again: another node may have created one at the same time, and servers let that pass.
                Ok(None)
            }
            // Another node was quicker.
            Err(refusal) if refusal.has_code(&[OVERLAPS, NAME_IN_USE]) => Ok(None),
            Err(refusal) => Err(refusal.into_trouble()),
        }
    }
}

/// How long it is waited before what was refused so often is sent again: not at all the first time.
fn pause(refusals: u8) -> Duration {
    let doublings = u32::from(refusals.saturating_sub(2)).min(6);
    if refusals < 2 { Duration::ZERO } else { (SHORTEST * 2_u32.pow(doublings)).min(LONGEST) }
}

/// JetStream does not answer what streams there are.
fn off(refusal: Refusal) -> Trouble {
    match refusal {
        Refusal::Nobody => Trouble::configuration(
            "JetStream is off, and logged topics need it: enable `jetstream` in the server's configuration, with a store_dir",
        ),
        refusal => refusal.into_trouble(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_leader_is_asked_for_seconds_and_not_at_once_again() {
        let pauses: Vec<_> = (1..=16).map(pause).collect();
        assert_eq!(pauses[0], Duration::ZERO, "a stream that was replaced has a successor");
        assert!(pauses.is_sorted() && pauses[1] >= SHORTEST && pauses[15] == LONGEST);
        assert!(
            (3..5).contains(&pauses.iter().sum::<Duration>().as_secs()),
            "about as long as a publish lasts"
        );
    }
}
