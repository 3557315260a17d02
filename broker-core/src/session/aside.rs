//! What need not wait for its turn: taken while another command of the same client is being served.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
};

use super::{
    AnswerCommand, Command, CommandError, ErrorCode, Reply, RequestId,
    seat::Seat,
    serve::{SessionState, USUAL_REPLY},
};
use crate::{
    calls::{CallId, ClientError},
    message::{Frame, Payload},
};

/// So many pings are answered before one of them has been counted.
const PINGS: u32 = 16;

/// Takes what need not wait while [`Session::handle`](super::Session::handle) does: a hook, a policy or a method of the app that calls its
/// client back waits for an answer that the client may have sent behind other commands.
///
/// A transport that reads on while a command is being served gives each command that comes to [`take`](Self::take), and keeps what it is given back
/// for its turn, in the client's order: no more than [`Limits::commands_ahead`](crate::Limits::commands_ahead). Then it stops reading, which is the
/// client's backpressure.
#[derive(Clone)]
pub struct Aside {
    seat: Arc<Seat>,
}

impl Aside {
    pub(super) fn new(seat: Arc<Seat>) -> Self {
        Self { seat }
    }

    /// Does at once what need not wait: an answer that the server waits for is taken, and a ping is answered. Every other command is given
    /// back, and so are these where there is no room for the reply, or where the session has ended.
    #[must_use = "what is given back has not been served"]
    pub fn take(&self, id: Option<RequestId>, command: Command) -> Option<Command> {
        if self.seat.dismissed().is_some() || !self.seat.is_admitted() {
            return Some(command);
        }
        match command {
            Command::Answer(answer) => self.answer(id, answer).map(Command::Answer),
            Command::Ping if self.pong(id) => None,
            other => Some(other),
        }
    }

    fn answer(&self, id: Option<RequestId>, command: AnswerCommand) -> Option<AnswerCommand> {
        // One that nobody waits for counts as a command, and has its turn.
        let call = command.call_id.parse().ok().filter(|call| self.seat.asked.is_open(*call));
        let Some(call) = call else { return Some(command) };
        let (result, reply) = checked(&self.seat, command.result.clone());
        if !self.reply(id, &reply) {
            return Some(command);
        }
        self.seat.asked.answer(self.seat.client(), call, result);
        None
    }

    fn pong(&self, id: Option<RequestId>) -> bool {
        let owed = &self.seat.owed;
        let is_answered =
            !self.seat.broker.is_draining() && owed.load() < PINGS && self.reply(id, &Reply::Pong);
        if is_answered {
            owed.add();
        }
        is_answered
    }

    /// Enqueues a reply if there is room for it, and for what the server says meanwhile.
    fn reply(&self, id: Option<RequestId>, reply: &Reply) -> bool {
        if id.is_none() && !matches!(reply, Reply::Error(_)) {
            return true;
        }
        let outbox = &self.seat.outbox;
        outbox.has_room(USUAL_REPLY) && outbox.push_control(outbox.encode(Frame::Reply { id, reply }))
    }
}

/// The commands of a session that were served aside and have not been counted.
#[derive(Default)]
pub(super) struct Owed(AtomicU32);

impl Owed {
    fn load(&self) -> u32 {
        self.0.load(Relaxed)
    }

    fn add(&self) {
        self.0.fetch_add(1, Relaxed);
    }

    fn take(&self) -> u32 {
        // Most of the time there are none.
        if self.load() == 0 { 0 } else { self.0.swap(0, Relaxed) }
    }
}

impl SessionState {
    /// Counts what was served aside.
    pub(super) fn settle_owed(&mut self) {
        for _ in 0..self.seat.owed.take() {
            // It has been served: what goes beyond the budget the next command feels.
            let _refused = self.budgets.take_command(&self.seat.broker.limits);
        }
    }

    /// Takes an answer of the client. One that nobody waits for, because it comes too late or answers nothing, is passed over; it
    /// counts as a command.
    pub(super) async fn answer(
        &mut self,
        id: Option<RequestId>,
        command: AnswerCommand,
    ) -> Result<(), super::CloseReason> {
        let (result, reply) = checked(&self.seat, command.result);
        let call = command.call_id.parse::<CallId>();
        let is_awaited = call.is_ok_and(|call| self.seat.asked.answer(self.seat.client(), call, result));
        if !is_awaited {
            self.room(USUAL_REPLY).await;
            if let Err(error) = self.budgets.take_command(&self.seat.broker.limits) {
                return self.over_budget(id, error).await;
            }
        }
        self.reply(id, reply).await;
        Ok(())
    }
}

/// What counts as the answer, and the reply to it.
fn checked(seat: &Seat, result: Result<Payload, ClientError>) -> (Result<Payload, ClientError>, Reply) {
    let limit = seat.broker.limits.max_message;
    match result {
        Ok(payload) if payload.len() > limit => {
            let error = too_large(limit, payload.len());
            (Err(ClientError::new(error.code.as_str(), error.message.clone())), error.into())
        }
        result => (result, Reply::Answered),
    }
}

pub(super) fn too_large(limit: usize, value: usize) -> CommandError {
    let error = CommandError::new(ErrorCode::TooLarge, "the payload is over the limit");
    error.field("data").limit(limit as u64, value as u64)
}

impl fmt::Debug for Aside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aside").field("client", &self.seat.client()).finish()
    }
}
