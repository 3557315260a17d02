//! Gives up what a stream holds beyond what its topics retain.
//!
//! The stream itself bounds how many messages it holds of each topic, by what the topic needs that retains most, and how long. Smaller
//! topics, and those that are bounded in bytes, are trimmed by who publishes: once in a while, by chance, so that as much is trimmed
//! however many nodes publish, and nobody has to count. A topic is held to about twice of what it retains.

use std::sync::Arc;

use serde_json::json;

use super::{Keep, Logs, api::Refusal, stream::Stream};

/// How often the bytes of a topic are counted, while as many as it retains are published beyond their share: chance decides, and still
/// more than twice of it is held once in fifty times. Only sizes are read.
const OFTEN: f64 = 4.0;

/// How many entries are counted at once.
const AT_ONCE: usize = 1024;

/// What there is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trim {
    Messages(u64),
    Bytes(u64),
}

impl Logs {
    /// Whether a topic is to be trimmed to which a message of a size has been published.
    pub(crate) fn trims(&self, keep: Keep, size: usize) -> Option<Trim> {
        let stream = self.known()?;
        let enough = stream.holds_too_much(keep);
        let most = enough.map_or(stream.limits.messages, |enough| enough.saturating_mul(2));
        if fastrand::f64() < OFTEN * excess(size as u64, keep.bytes, most) {
            return Some(Trim::Bytes(keep.bytes));
        }
        let enough = enough?;
        (fastrand::u64(..enough) == 0).then_some(Trim::Messages(enough))
    }

    /// Trims a topic. What fails is done another time.
    pub(crate) async fn trim(&self, subject: &Arc<str>, trim: Trim) {
        let Some(stream) = self.known() else { return };
        // Once at a time: where messages are large, each one wants it. What wants it meanwhile is done afterwards.
        if self.trimming.lock().insert(subject.clone(), Some(trim)).is_some() {
            return;
        }
        let _trimming = Trimming(self, subject);
        let next = || self.trimming.lock().get_mut(subject).and_then(Option::take);
        while let Some(trim) = next() {
            let trimmed = match trim {
                Trim::Messages(keep) => {
                    self.purge(&stream, &json!({ "filter": &**subject, "keep": keep })).await
                }
                Trim::Bytes(bytes) => self.trim_bytes(&stream, subject, bytes).await,
            };
            if let Err(refusal) = trimmed {
                let trouble = refusal.into_trouble();
                tracing::debug!(target: "fanfare::nats", %trouble, "a log could not be trimmed");
                return;
            }
        }
    }

    async fn trim_bytes(&self, stream: &Stream, subject: &str, most: u64) -> Result<(), Refusal> {
        let (mut sizes, mut from) = (Vec::new(), 1);
        loop {
            let (some, pending) = self.sizes(&stream.name, subject, from, AT_ONCE).await?;
            let Some((last, _)) = some.last() else { break };
            from = last + 1;
            sizes.extend(some);
            if pending == 0 {
                break;
            }
        }
        match begin(&sizes, most) {
            // One entry more tells where the log begins.
            Some(first) => self.purge(stream, &json!({ "filter": subject, "seq": first })).await,
            None => Ok(()),
        }
    }

    async fn purge(&self, stream: &Stream, question: &serde_json::Value) -> Result<(), Refusal> {
        self.api
            .change::<serde_json::Value>(&format!("STREAM.PURGE.{}", stream.name), question)
            .await
            .map(drop)
    }
}

/// A topic that is being trimmed; dropped, it is not.
struct Trimming<'a>(&'a Logs, &'a Arc<str>);

impl Drop for Trimming<'_> {
    fn drop(&mut self) {
        self.0.trimming.lock().remove(self.1);
    }
}

/// Which part of the bytes that a topic retains a message adds that is larger than its share, where as many messages are held. As long as
/// none is larger, their number bounds their bytes, and nobody has to look.
fn excess(size: u64, bytes: u64, messages: u64) -> f64 {
    size.saturating_sub(bytes / messages.max(1)) as f64 / bytes.max(1) as f64
}

/// The first entry that stays: as many as fit from the end, and one that does not, so that the newest stays whatever its size.
fn begin(sizes: &[(u64, u64)], most: u64) -> Option<u64> {
    let mut sum = 0;
    let first = sizes.iter().rposition(|(_, size)| {
        sum += size;
        sum > most
    })?;
    (first > 0).then(|| sizes[first].0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_larger_than_its_share_has_bytes_counted() {
        assert_eq!(excess(100, 100_000, 1000), 0.0);
        assert_eq!(excess(1100, 100_000, 1000), 0.01);
        assert_eq!(excess(100, 100, u64::MAX), 1.0);
        assert!(excess(1, 0, 1000) >= 1.0 && excess(1, 0, 0) >= 1.0);
    }

    #[test]
    fn what_fits_stays_and_the_newest() {
        let sizes = [(1, 10), (3, 10), (4, 10), (9, 10)];
        assert_eq!(begin(&sizes, 25), Some(3));
        assert_eq!(begin(&sizes, 35), None, "the first one does not fit, and stays");
        assert_eq!(begin(&sizes, 40), None);
        assert_eq!(begin(&sizes, 0), Some(9));
        assert_eq!(begin(&[], 0), None);
    }
}
