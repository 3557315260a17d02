//! What was not seen.

use crate::{session::ClientId, simulator::truth::Topic};

/// What was not seen.
pub(super) struct Lost {
    /// Neither hidden nor conflated, nor perhaps delivered under another topic.
    pub(super) surely: u64,
}

impl Lost {
    pub(super) fn between(topic: &Topic, client: ClientId, conflates: bool, from: usize, to: usize) -> Self {
        let surely = (from..to)
            .filter(|at| {
                let sent = &topic.sent[*at];
                !(sent.several || sent.except.contains(&client) || conflates && topic.is_superseded(*at))
            })
            .count() as u64;
        Self { surely }
    }
}
