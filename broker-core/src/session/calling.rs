//! What a client calls.

use std::sync::Arc;

use super::{CallCommand, CommandError, ErrorCode, RequestId, aside::too_large, serve::SessionState};
use crate::{
    Broker,
    calls::{ClientCall, Method},
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
}
