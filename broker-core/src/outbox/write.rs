//! The write path: straight to the socket while it takes everything, else from the queues.

use std::io::{ErrorKind, IoSlice};

use bytes::{Buf, Bytes};
use smallvec::SmallVec;

use super::{Pulled, Wire, entry::Entry, shared::Shared, state::State};
use crate::{
    message::Frame,
    outbox::Subject,
    subscriber::{Batch, Offer, SubscriptionId},
};

/// How many frames one write takes: what Linux gathers without allocating is 8, what it takes is 1,024.
const FRAMES_PER_WRITE: usize = 64;

/// How many bytes one write takes, more or less.
const BYTES_PER_WRITE: usize = 256 << 10;

/// A frame on its way, and what it was.
struct Outgoing {
    bytes: Bytes,
    from: From,
}

enum From {
    Remainder,
    Control,
    Queue(SubscriptionId, Entry),
    Close,
}

impl State {
    /// Writes a batch straight to the socket. Returns how many of its messages need no more
    /// care: those that went out, and the one that was interrupted.
    pub(super) fn write_direct(&mut self, shared: &Shared, batch: &Batch<'_>, tally: &mut Offer) -> usize {
        let (Some(wire), Some(format)) = (&self.wire, &shared.format) else { return 0 };
        let Some(joined) = batch.joined(format) else { return 0 };
        let bytes = joined.bytes();
        let messages = batch.messages();
        let written = match write_once(&**wire, &[IoSlice::new(bytes)], bytes.len()) {
            Ok(written) => written,
            Err(_) => {
                self.break_off(shared);
                return 0;
            }
        };
        let mut done = messages.len();
        if written == bytes.len() {
            self.stalled_since = None;
        } else {
            done = joined.whole_frames(written);
            let begun = written - joined.begin_of(done);
            if begun > 0 {
                // Joined bytes live for one write: what is kept is this frame's own.
                self.remainder = Some(Box::new(messages[done].encoded(format).slice(begun..)));
                done += 1;
            }
            self.block(written);
        }
        if done > 0 {
            tally.delivered += done as u32;
            if let Some(queue) = self.queue(batch.subscription()) {
                queue.went_out(messages[done - 1].position());
            }
        }
        done
    }

    /// Writes what waits until it is all gone or the socket takes no more: the interrupted frame,
    /// the control lane, the queues.
    pub(super) fn flush(&mut self, shared: &Shared) {
        let Some(wire) = self.wire.clone() else { return };
        loop {
            let frames = self.gather(shared, FRAMES_PER_WRITE, BYTES_PER_WRITE);
            if frames.is_empty() {
                self.stalled_since = None;
                return;
            }
            let slices: SmallVec<[IoSlice<'_>; FRAMES_PER_WRITE]> =
                frames.iter().map(|frame| IoSlice::new(&frame.bytes)).collect();
            let total = frames.iter().map(|frame| frame.bytes.len()).sum();
            let result = write_once(&*wire, &slices, total);
            drop(slices);
            match result {
                Ok(written) => {
                    let all = written == total;
                    self.settle(shared, frames, written);
                    if !all {
                        self.block(written);
                        return;
                    }
                }
                Err(_) => {
                    give_up(shared, &frames);
                    self.break_off(shared);
                    return;
                }
            }
        }
    }

    /// Writes what waits if the socket may take it, and pulls what comes next.
    pub(super) fn flush_now(&mut self, shared: &Shared) {
        if self.wire.is_some() && !self.blocked {
            self.flush(shared);
            self.pull_where_due(shared);
        } else if self.messages == 0 {
            self.pull_where_due(shared);
        }
    }

    /// Takes frames out of the outbox, in the order in which they have to go. Returns how many bytes they are.
    pub(super) fn take_frames(
        &mut self,
        shared: &Shared,
        max_bytes: usize,
        mut take: impl FnMut(Pulled<'_>),
    ) -> usize {
        let mut bytes = 0;
        let mut delivered = 0;
        let mut pass = |frame: &Bytes, cursor| {
            if !frame.is_empty() {
                bytes += frame.len();
                take(Pulled { bytes: frame, cursor });
            }
            bytes
        };
        let mut taken = self.remainder.take().map_or(0, |rest| pass(&rest, None));
        while taken < max_bytes {
            if let Some(frame) = self.control.pop() {
                taken = pass(&frame, None);
            } else if let Some((id, entry)) = self.pop(shared) {
                let cursor = self.queue(id).and_then(|queue| {
                    queue.note_sent(&entry);
                    queue.cursor_of(&entry)
                });
                let cursor = cursor.map(|position| (id, position));
                taken = match (&entry, &shared.format) {
                    (Entry::Message(message), Some(format)) => {
                        delivered += 1;
                        pass(message.encoded(format), cursor)
                    }
                    _ => pass(&self.encode(shared, id, &entry), cursor),
                };
            } else if let Some(frame) = self.closing.as_mut().and_then(|closing| closing.frame.take()) {
                taken = pass(&frame, None);
            } else {
                break;
            }
        }
        shared.totals.delivered.add(delivered);
        self.room_made |= taken > 0;
        if taken > 0 {
            self.note_pulled();
        }
        taken
    }

    fn gather(&mut self, shared: &Shared, max_frames: usize, max_bytes: usize) -> SmallVec<[Outgoing; 16]> {
        let mut frames = SmallVec::new();
        let mut bytes = 0;
        if let Some(rest) = self.remainder.take() {
            bytes += rest.len();
            frames.push(Outgoing { bytes: *rest, from: From::Remainder });
        }
        while frames.len() < max_frames && bytes < max_bytes {
            if let Some(frame) = self.control.pop() {
                bytes += frame.len();
                frames.push(Outgoing { bytes: frame, from: From::Control });
            } else if let Some((id, entry)) = self.pop(shared) {
                let frame = self.encode(shared, id, &entry);
                bytes += frame.len();
                frames.push(Outgoing { bytes: frame, from: From::Queue(id, entry) });
            } else if let Some(frame) = self.closing.as_mut().and_then(|closing| closing.frame.take()) {
                // Everything that was to go out first is on its way.
                frames.push(Outgoing { bytes: frame, from: From::Close });
                break;
            } else {
                break;
            }
        }
        frames
    }

    fn encode(&mut self, shared: &Shared, id: SubscriptionId, entry: &Entry) -> Bytes {
        if let (Entry::Message(message), Some(format)) = (entry, &shared.format) {
            return message.encoded(format).clone();
        }
        let Some(queue) = self.queue(id) else { return Bytes::new() };
        match (entry, &queue.subject) {
            (Entry::Gap(gap), subject) => {
                shared.totals.gaps.add(1);
                shared.encode(Frame::Gap { topic: subject.as_str(), gap })
            }
            (Entry::Live(position), Subject::Topic(topic)) => {
                shared.encode(Frame::Live { topic, position: *position })
            }
            (Entry::Cursor(position), Subject::Topic(topic)) => {
                shared.encode(Frame::Cursor { topic, position: *position })
            }
            _ => Bytes::new(),
        }
    }

    /// Notes what went out, keeps the rest of an interrupted frame, and puts back the others.
    fn settle(&mut self, shared: &Shared, frames: SmallVec<[Outgoing; 16]>, written: usize) {
        let mut left = written;
        let mut unsent: SmallVec<[Outgoing; 16]> = SmallVec::new();
        let mut delivered = 0;
        let mut is_interrupted = false;
        for mut frame in frames {
            if is_interrupted || (left == 0 && !frame.bytes.is_empty()) {
                // What is empty does not overtake what it stood behind.
                is_interrupted = true;
                unsent.push(frame);
                continue;
            }
            let part = left.min(frame.bytes.len());
            left -= part;
            if let From::Queue(id, entry) = &frame.from {
                delivered += u64::from(matches!(entry, Entry::Message(_)));
                if let Some(queue) = self.queue(*id) {
                    queue.note_sent(entry);
                }
            }
            if part < frame.bytes.len() {
                frame.bytes.advance(part);
                self.remainder = Some(Box::new(frame.bytes));
                is_interrupted = true;
            }
        }
        shared.totals.delivered.add(delivered);
        self.room_made |= written > 0;
        for frame in unsent.into_iter().rev() {
            match frame.from {
                From::Remainder => self.remainder = Some(Box::new(frame.bytes)),
                From::Control => self.control.unpop(frame.bytes),
                From::Close => {
                    if let Some(closing) = &mut self.closing {
                        closing.frame = Some(frame.bytes);
                    }
                }
                From::Queue(id, entry) => {
                    if let Entry::Gap(_) = &entry {
                        shared.totals.gaps.take_back(1);
                    }
                    self.unpop(shared, id, entry);
                }
            }
        }
    }
}

/// Counts what was on its way when the socket broke.
fn give_up(shared: &Shared, frames: &[Outgoing]) {
    for frame in frames {
        if let From::Queue(_, entry) = &frame.from {
            shared.totals.discarded.add(u64::from(matches!(entry, Entry::Message(_))));
            if let Entry::Gap(_) = entry {
                shared.totals.gaps.take_back(1);
            }
        }
    }
}

/// One write; a socket that takes nothing has written 0.
fn write_once(wire: &dyn Wire, slices: &[IoSlice<'_>], total: usize) -> std::io::Result<usize> {
    if total == 0 {
        return Ok(0);
    }
    loop {
        match wire.try_write(slices) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => return Ok(written.min(total)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
