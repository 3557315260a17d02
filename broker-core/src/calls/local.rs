//! The clients of this node are called.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{Answers, OutgoingCall, gathering::Gathering};
use crate::{broker::Inner, message::Frame, session::seat::Seat};

/// How many clients are called in one go, before others get their turn.
const GO: usize = 64;

/// A call that waits for clients of this node. Dropped, it is forgotten by all of them.
struct Calling {
    call: OutgoingCall,
    gathering: Arc<Gathering>,
    called: Vec<Weak<Seat>>,
    /// The call in each wire format, written once.
    frames: Vec<(u8, Bytes)>,
}

/// Calls clients of this node, and waits until all have answered or cannot any more, or until the time is over.
pub(super) async fn call(
    broker: &Inner,
    seats: Vec<Arc<Seat>>,
    method: Arc<str>,
    payload: crate::message::Payload,
    timeout: Duration,
    room: usize,
) -> Answers {
    let deadline = Instant::now() + timeout;
    let asked = seats.len();
    let call = OutgoingCall { id: broker.next_call(), method, payload, timeout };
    let gathering = Arc::new(Gathering::new(asked, room));
    let mut calling = Calling { call, gathering, called: Vec::with_capacity(asked), frames: Vec::new() };
    for (index, seat) in seats.into_iter().enumerate() {
        if index % GO == GO - 1 {
            tokio::task::yield_now().await;
        }
        calling.ask(seat, broker.limits.calls_to_client);
    }
    let _in_time = tokio::time::timeout_at(deadline, calling.gathering.done()).await;
    Answers { answers: calling.gathering.take(), asked, silent_nodes: 0 }
}

impl Calling {
    /// Asks one client; one that cannot answer counts as such at once.
    fn ask(&mut self, seat: Arc<Seat>, limit: usize) {
        let frame = self.frame(&seat);
        // The transport may have no way back, as an event stream.
        if frame.is_empty() || !seat.asked.begin(self.call.id, &self.gathering, limit) {
            self.gathering.unanswered();
        } else if seat.outbox.tell(frame) {
            self.called.push(Arc::downgrade(&seat));
        } else {
            // It does not read: it could be asked only after what waits already.
            seat.asked.forget(self.call.id);
            self.gathering.unanswered();
        }
    }

    fn frame(&mut self, seat: &Seat) -> Bytes {
        let Some(format) = seat.outbox.format() else { return Bytes::new() };
        if let Some((_, frame)) = self.frames.iter().find(|(index, _)| *index == format.index) {
            return frame.clone();
        }
        let frame = format.encode(Frame::Call(&self.call));
        self.frames.push((format.index, frame.clone()));
        frame
    }
}

impl Drop for Calling {
    fn drop(&mut self) {
        for seat in self.called.iter().filter_map(Weak::upgrade) {
            seat.asked.forget(self.call.id);
        }
    }
}
