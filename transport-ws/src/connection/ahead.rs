//! What was read while a turn was being served: it has to wait, but for what need not.

use fanfare_core::{outbox::Outbox, session::Aside};

use super::turn::{Item, Turn};
use crate::read::BUFFER;

/// The next turn, as far as it has come. It is no longer than a turn, and what was read with the last of it.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    turn: Turn,
    /// Of the commands in it.
    bytes: usize,
}

impl Ahead {
    /// Whether so much waits that nothing more is read.
    pub(super) fn is_full(&self, commands: usize) -> bool {
        self.turn.end.is_some() || self.turn.items.len() >= commands || self.bytes >= BUFFER
    }

    /// Adds what was read, in its order. What need not wait is done.
    pub(super) fn add(&mut self, read: Turn, aside: &Aside, outbox: &Outbox) {
        for item in read.items {
            let waits = match item {
                Item::Command(id, command, bytes) => {
                    aside.take(id, command).map(|command| Item::Command(id, command, bytes))
                }
                // The pong to a ping of the client.
                Item::Answer(frame) => (!outbox.push_control(frame.clone())).then_some(Item::Answer(frame)),
                invalid => Some(invalid),
            };
            if let Some(Item::Command(_, _, bytes)) = &waits {
                self.bytes += bytes;
            }
            self.turn.items.extend(waits);
        }
        if read.end.is_some() {
            self.turn.end = read.end;
        }
        self.turn.has_message |= read.has_message;
    }

    /// The turn, if there is anything to do.
    pub(super) fn into_turn(self) -> Option<Box<Turn>> {
        (!self.turn.is_empty()).then(|| Box::new(self.turn))
    }
}
