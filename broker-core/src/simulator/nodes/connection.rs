//! A connection of one of several nodes, which gets what is for its user and for everybody.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use async_trait::async_trait;

use super::{hearing::Hearing, truth::Truth};
use crate::{
    outbox::Outbox,
    policy::{Action, Admission, Identity, Policy, Verdict},
    session::{Handshake, Refusal, Session},
    simulator::frames::{Seen, Table},
};

/// What all connections of a world get: they are all of one user.
pub(super) const TO_ALL: [&str; 2] = ["$all", "$user.ann"];

/// Everybody is Ann, and may do everything.
pub(super) struct Anns;

#[async_trait]
impl Policy for Anns {
    async fn connect(&self, _: &Handshake) -> Result<Admission, Refusal> {
        Ok(Admission::Accept(Identity::user("ann")))
    }

    fn authorize<'a>(&'a self, _: &'a Identity, _: Action<'a>) -> Verdict<'a> {
        Verdict::allow()
    }
}

pub(super) struct Connection {
    pub(super) node: usize,
    outbox: Outbox,
    _session: Session,
    table: Arc<Table>,
    bytes: Vec<u8>,
    hearing: Hearing,
}

impl Connection {
    pub(super) fn new(
        node: usize,
        (session, outbox): (Session, Outbox),
        table: Arc<Table>,
        hearing: Hearing,
    ) -> Self {
        Self { node, outbox, _session: session, table, bytes: Vec::new(), hearing }
    }

    /// Takes so many bytes, more or less, if they are there.
    pub(super) fn poll(&mut self, truth: &Truth, most: usize, trace: bool) {
        let (mut cx, mut frames) = (Context::from_waker(Waker::noop()), Vec::new());
        if let Poll::Ready(Some(reason)) = self.outbox.poll_pull(&mut cx, most, &mut frames) {
            panic!("the connection ends: {reason:?}");
        }
        frames.iter().for_each(|frame| self.bytes.extend_from_slice(frame));
        let mut from = 0;
        while let Some((seen, length)) = self.table.decode(&self.bytes[from..]) {
            from += length;
            if trace {
                eprintln!("    {} on node {} sees {seen:?}", self.outbox.client(), self.node);
            }
            match seen {
                Seen::Message { topic, uid, .. } if TO_ALL.contains(&&*topic) => {
                    self.hearing.message(truth, uid)
                }
                Seen::Gap { subject, gap } if subject == "$direct" => {
                    assert!(gap.missed != Some(0), "a gap of nothing");
                    self.hearing.gap();
                }
                other => panic!("{other:?}"),
            }
        }
        self.bytes.drain(..from);
    }

    pub(super) fn end(&self, truth: &Truth) {
        self.hearing.end(truth);
    }
}
