//! What became of one message on this node.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::{
    message::Position,
    subscriber::{Batch, Offer, Then},
};

/// What became of a message on this node, at the moment it was fanned out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The position in the topic's log; `None` on an ephemeral topic.
    pub position: Option<Position>,
    /// The `message_id` was seen before, and nothing was fanned out.
    pub duplicate: bool,
    /// Whether the figures are known: false where a logged message did not come back from the backend in
    /// time ([`Limits::backend_timeout`](crate::Limits::backend_timeout)), or was read from its history
    /// before. They are 0 then.
    pub counted: bool,
    /// Subscriptions that the message was offered to. One that is catching up is
    /// not among them: it reads the message from the log.
    pub matched: u64,
    /// Subscriptions whose socket took it at once.
    pub delivered: u64,
    /// Subscriptions in whose queue it waits.
    pub queued: u64,
    /// Queued messages that gave way to it.
    pub conflated: u64,
    /// Messages that were given up for it, itself included.
    pub dropped: u64,
    /// Connections that are closed because of it, as slow consumers.
    pub disconnected: u64,
}

/// The part of a report that one slice adds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    matched: u64,
    delivered: u64,
    queued: u64,
    conflated: u64,
    dropped: u64,
    disconnected: u64,
}

impl Outcome {
    pub(crate) fn add(&mut self, batch: &Batch<'_>, offer: Offer) {
        self.matched += batch.messages().len() as u64;
        self.delivered += u64::from(offer.delivered);
        self.queued += u64::from(offer.queued);
        self.conflated += u64::from(offer.conflated);
        self.dropped += u64::from(offer.dropped);
        self.disconnected += u64::from(offer.then == Then::Stop);
    }
}

/// Collects the shards' parts of a report; complete when the last of them lets go.
#[derive(Clone)]
pub(crate) struct ReportSlot(Arc<Collector>);

struct Collector {
    report: Mutex<Report>,
    /// The message was given to the shards.
    fanned_out: AtomicBool,
    done: Mutex<Option<oneshot::Sender<Report>>>,
}

impl ReportSlot {
    pub(crate) fn new() -> (Self, oneshot::Receiver<Report>) {
        let (done, complete) = oneshot::channel();
        let (report, fanned_out) = (Mutex::default(), AtomicBool::new(false));
        (Self(Arc::new(Collector { report, fanned_out, done: Mutex::new(Some(done)) })), complete)
    }

    /// The message is given to the shards, those that there are.
    pub(crate) fn fans_out(&self) {
        self.0.fanned_out.store(true, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, outcome: &Outcome) {
        let mut report = self.0.report.lock();
        report.matched += outcome.matched;
        report.delivered += outcome.delivered;
        report.queued += outcome.queued;
        report.conflated += outcome.conflated;
        report.dropped += outcome.dropped;
        report.disconnected += outcome.disconnected;
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(done) = self.done.lock().take() {
            let counted = self.fanned_out.load(Ordering::Relaxed);
            let _ = done.send(Report { counted, ..*self.report.lock() });
        }
    }
}
