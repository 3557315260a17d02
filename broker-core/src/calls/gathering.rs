//! The answers of all clients of this node that are called together.

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::ClientError;
use crate::{message::Payload, session::ClientId};

/// What an answer is charged beyond its payload: bytes.
const OVERHEAD: usize = 64;

/// What an answer takes of the room for answers: bytes.
pub(super) fn charge(result: &Result<Payload, ClientError>) -> usize {
    OVERHEAD + result.as_ref().map_or_else(|error| error.code.len() + error.message.len(), Payload::len)
}

/// What has been answered, and how many may answer still.
pub(super) struct Gathering {
    state: Mutex<State>,
    done: Notify,
}

struct State {
    answers: Vec<(ClientId, Result<Payload, ClientError>)>,
    waiting: usize,
    /// How many bytes of answers are taken still.
    room: usize,
}

impl Gathering {
    /// For so many clients, and so many bytes.
    pub(super) fn new(waiting: usize, room: usize) -> Self {
        Self { state: Mutex::new(State { answers: Vec::new(), waiting, room }), done: Notify::new() }
    }

    pub(super) fn answered(&self, client: ClientId, result: Result<Payload, ClientError>) {
        let mut state = self.state.lock();
        let bytes = charge(&result);
        let result = if bytes <= state.room {
            state.room -= bytes;
            result
        } else {
            Err(ClientError::no_room())
        };
        state.answers.push((client, result));
        self.one_less(&mut state);
    }

    /// One of the clients will not answer.
    pub(super) fn unanswered(&self) {
        self.one_less(&mut self.state.lock());
    }

    fn one_less(&self, state: &mut State) {
        state.waiting = state.waiting.saturating_sub(1);
        if state.waiting == 0 {
            self.done.notify_one();
        }
    }

    /// Waits until nobody is left who could answer. One at a time may wait.
    pub(super) async fn done(&self) {
        while self.state.lock().waiting > 0 {
            self.done.notified().await;
        }
    }

    /// What has been answered. What comes from now on is gone.
    pub(super) fn take(&self) -> Vec<(ClientId, Result<Payload, ClientError>)> {
        std::mem::take(&mut self.state.lock().answers)
    }
}
