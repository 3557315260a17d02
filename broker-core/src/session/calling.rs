//! What a client calls, and what it answers.

use std::sync::Arc;

use super::{
    AnswerCommand, CallCommand, CloseReason, CommandError, ErrorCode, Reply, RequestId, serve::SessionState,
};
use crate::{
    Broker,
    calls::{CallId, ClientCall, ClientError, Method},
    policy::Action,
    publish::Awaited,
    topic::TopicName,
};

impl SessionState {
    /// Waits until no call keeps the client's next command waiting.
    pub(super) async fn turn(&mut self) {
        let (outbox, pending) = (&self.seat.outbox, &mut self.pending);
        std::future::poll_fn(|cx| pending.poll_turn(cx, outbox)).await;
    }

    /// Begins to serve a call; the reply comes when its handler is done.
    pub(super) async fn call(&mut self, id: Option<RequestId>, command: CallCommand) {
        match self.prepare(command).await {
            Ok((method, call)) => {
                let limit = self.seat.broker.limits.calls_in_flight;
                let (outbox, pending) = (&self.seat.outbox, &mut self.pending);
                std::future::poll_fn(|cx| pending.poll_room_for(cx, outbox, &method, limit)).await;
                let awaited = Awaited::new(&self.seat.broker.awaited);
                self.pending.serve(id, method, call, &self.seat.broker.limits, awaited);
            }
            Err(error) => self.reply(id, error.into()).await,
        }
    }

    async fn prepare(&mut self, command: CallCommand) -> Result<(Arc<Method>, ClientCall), CommandError> {
        let Some(client) = self.seat.as_client() else {
            return Err(CommandError::new(ErrorCode::Unauthenticated, "send `connect` first"));
        };
        let limit = self.seat.broker.limits.max_message;
        if command.payload.len() > limit {
            return Err(too_large(limit, command.payload.len()));
        }
        let unknown = || CommandError::new(ErrorCode::NoSuchMethod, "the app has no method of this name");
        let name = TopicName::new(&command.method).map_err(|_| unknown().field("method"))?;
        let method = self.seat.broker.hooks.methods.find(&name).ok_or_else(|| unknown().field("method"))?;
        self.authorize(Action::Call(&name)).await?;
        let broker = Broker::of(self.seat.broker.clone());
        Ok((method, ClientCall { broker, client, method: name, payload: command.payload }))
    }

    /// Takes an answer of the client. One that nobody waits for, because it comes too late or answers nothing, is passed over; it
    /// counts as a command.
    pub(super) async fn answer(
        &mut self,
        id: Option<RequestId>,
        command: AnswerCommand,
    ) -> Result<(), CloseReason> {
        let limit = self.seat.broker.limits.max_message;
        let refused = match &command.result {
            Ok(payload) if payload.len() > limit => Some(too_large(limit, payload.len())),
            _ => None,
        };
        let result = match &refused {
            Some(error) => Err(ClientError::new(error.code.as_str(), error.message.clone())),
            None => command.result,
        };
        let call = command.call_id.parse::<CallId>();
        let is_awaited = call.is_ok_and(|call| self.seat.asked.answer(self.seat.client(), call, result));
        if !is_awaited {
            self.room(super::serve::USUAL_REPLY).await;
            if let Err(error) = self.budgets.take_command() {
                return self.over_budget(id, error).await;
            }
        }
        let reply = refused.map_or(Reply::Answered, Reply::from);
        self.reply(id, reply).await;
        Ok(())
    }
}

fn too_large(limit: usize, value: usize) -> CommandError {
    let error = CommandError::new(ErrorCode::TooLarge, "the payload is over the limit");
    error.field("data").limit(limit as u64, value as u64)
}
