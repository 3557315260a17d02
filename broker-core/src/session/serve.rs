//! The commands of one client, in its order.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;

use super::{
    ClientId, CloseKind, CloseReason, Command, CommandError, ErrorCode, Handshake, HistoryCommand, Reply,
    RequestId, SubscribeCommand, Subscribed,
    aside::Aside,
    authorize::authorize,
    budgets::Budgets,
    pending::Pending,
    seat::{Leaving, Seat},
};
use crate::{
    broker::Place,
    message::Frame,
    policy::{Action, Grant, Identity},
    subscriber::SubscriptionId,
    topic::TopicName,
};

/// What a reply takes of the control lane, more or less: with room for this, the next command is served.
pub(super) const USUAL_REPLY: usize = 512;

/// One client's connection, as a transport holds it: it takes commands in the client's order, and puts the replies into
/// the outbox by itself.
pub struct Session {
    /// `None` once closed.
    state: Option<Box<SessionState>>,
}

pub(super) struct SessionState {
    pub(super) seat: Arc<Seat>,
    /// Until the client has said who it is: it is admitted then, or has to go.
    pub(super) arrival: Option<Box<Arrival>>,
    pub(super) place: Place,
    pub(super) has_connected: bool,
    pub(super) budgets: Budgets,
    pub(super) pending: Pending,
}

/// A client that is not admitted yet.
pub(super) struct Arrival {
    pub(super) handshake: Handshake,
    connect_by: Instant,
}

impl Session {
    pub(crate) fn new(seat: Arc<Seat>, place: Place, handshake: Handshake) -> Self {
        let connect_by = Instant::now() + seat.broker.limits.authenticate_within;
        let state = SessionState {
            seat,
            arrival: Some(Box::new(Arrival { handshake, connect_by })),
            place,
            has_connected: false,
            budgets: Budgets::default(),
            pending: Pending::default(),
        };
        Self { state: Some(Box::new(state)) }
    }

    pub(crate) async fn admit(&mut self, identity: Identity) -> Result<(), crate::broker::ConnectError> {
        let Some(state) = &mut self.state else { return Ok(()) };
        state.admit(identity).await
    }

    /// Whether the policy has admitted the client.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.seat.is_admitted())
    }

    /// The connection's public name.
    #[must_use]
    pub fn client(&self) -> Option<ClientId> {
        self.state.as_ref().map(|state| state.seat.client())
    }

    /// When the session has to be closed unless something happens before, and why: no `connect` in
    /// time, or an admission that ends.
    #[must_use]
    pub fn deadline(&self) -> Option<(Instant, CloseKind)> {
        let state = self.state.as_ref()?;
        if let Some(arrival) = &state.arrival {
            return Some((arrival.connect_by, CloseKind::ConnectTimeout));
        }
        state.seat.expires().map(|at| (at, CloseKind::TokenExpired))
    }

    /// Serves one command, and enqueues its reply. Without an `id`, only an error is answered.
    ///
    /// It waits for the policy, for hooks, for the backend, for a call that is being served to its end, and for room for the reply. What the app
    /// does meanwhile may wait for an answer of this very client: see [`Aside`].
    ///
    /// # Errors
    ///
    /// Why the connection has to be closed; pass it to [`close`](Self::close).
    ///
    /// # Cancel safety
    ///
    /// A command that is dropped halfway has been served or not; nothing is left in between. Close the session then.
    pub async fn handle(&mut self, id: Option<RequestId>, command: Command) -> Result<(), CloseReason> {
        let Some(state) = &mut self.state else { return Err(CloseKind::Normal.into()) };
        state.stay().await?;
        state.settle_owed();
        // Whoever has asked may keep this client's commands waiting, or draining.
        if let Command::Answer(answer) = command {
            return state.answer(id, answer).await;
        }
        state.room(USUAL_REPLY).await;
        if let Err(error) = state.budgets.take_command(&state.seat.broker.limits) {
            return state.over_budget(id, error).await;
        }
        // A call is served to its end before the next command, but for those that only ask whether anybody is there.
        if !matches!(command, Command::Ping) {
            state.turn().await;
            state.stay().await?;
        }
        if state.seat.broker.is_draining() {
            let error = CommandError::new(ErrorCode::Draining, "the server is about to stop");
            state.reply(id, error.into()).await;
            return Ok(());
        }
        match command {
            Command::Connect(connect) => return state.connect(id, connect).await,
            Command::Ping => state.reply(id, Reply::Pong).await,
            _ if !state.seat.is_admitted() => {
                let error = CommandError::new(ErrorCode::Unauthenticated, "send `connect` first");
                state.reply(id, error.into()).await;
            }
            Command::Subscribe(subscribe) => state.subscribe(id, subscribe).await,
            Command::Unsubscribe { topic } => state.unsubscribe(id, &topic).await,
            Command::Publish(publish) => state.publish(id, publish).await,
            Command::History(history) => state.history(id, history).await,
            Command::Presence(presence) => state.presence(id, presence).await,
            Command::Refresh { token } => state.refresh(id, token).await,
            Command::Call(call) => state.call(id, call).await,
            Command::Answer(_) => {}
        }
        Ok(())
    }

    /// What takes commands that need not wait while [`handle`](Self::handle) waits, for a transport that reads on meanwhile; `None` once
    /// closed. As long as it is held, it keeps what the connection holds in memory.
    #[must_use]
    pub fn aside(&self) -> Option<Aside> {
        self.state.as_ref().map(|state| Aside::new(state.seat.clone()))
    }

    /// Subscribes on behalf of a client that says by its request what it wants, as with a topic in the URL. Nothing is
    /// enqueued but what the subscription brings: the answer is the result.
    ///
    /// # Errors
    ///
    /// As the reply to [`Command::Subscribe`] would tell the client.
    ///
    /// # Cancel safety
    ///
    /// As for [`handle`](Self::handle).
    pub async fn subscribe(&mut self, command: SubscribeCommand) -> Result<Subscribed, CommandError> {
        let draining = || CommandError::new(ErrorCode::Draining, "the server is about to stop");
        let Some(state) = &mut self.state else { return Err(draining()) };
        if state.seat.broker.is_draining() || state.seat.dismissed().is_some() {
            return Err(draining());
        }
        let starting = state.begin(command).await?;
        let outcome = starting.outcome();
        state.attach(starting, None)?;
        state.seat.tell_hooks().await;
        Ok(outcome)
    }

    /// The outbox's number of a subscription, by the topic or pattern as it was subscribed: what
    /// [`Outbox::poll_pull_frames`](crate::outbox::Outbox::poll_pull_frames) says where it is.
    #[must_use]
    pub fn subscription(&self, topic: &str) -> Option<SubscriptionId> {
        self.state.as_ref()?.seat.subscription(topic)
    }

    /// Answers a frame that is no command. It counts as one.
    ///
    /// # Errors
    ///
    /// As for [`handle`](Self::handle).
    pub async fn reject(&mut self, id: Option<RequestId>, error: CommandError) -> Result<(), CloseReason> {
        let Some(state) = &mut self.state else { return Err(CloseKind::Normal.into()) };
        state.stay().await?;
        state.room(USUAL_REPLY).await;
        match state.budgets.take_command(&state.seat.broker.limits) {
            Err(over) => state.over_budget(id, over).await,
            Ok(()) => {
                state.reply(id, error.into()).await;
                Ok(())
            }
        }
    }

    /// Goes on with publishes that wait for the backend, and enqueues their replies. Never ready; to be
    /// polled by the connection's own task together with everything else. Cancel safe.
    pub fn poll_progress(&mut self, cx: &mut Context<'_>) -> Poll<std::convert::Infallible> {
        if let Some(state) = &mut self.state {
            state.pending.poll(cx, &state.seat.outbox);
        }
        Poll::Pending
    }

    /// Whether [`poll_progress`](Self::poll_progress) has something to wait for.
    #[must_use]
    pub fn has_pending(&self) -> bool {
        self.state.as_ref().is_some_and(|state| !state.pending.is_empty())
    }

    /// Ends the session: hooks run, once, and its subscriptions end.
    ///
    /// # Cancel safety
    ///
    /// Dropped halfway, the remaining hooks do not run.
    pub async fn close(mut self, reason: CloseReason) {
        if let Some(state) = self.state.take() {
            state.end(reason).await;
        }
    }
}

/// A session that is dropped instead of closed: its connection was lost. The hooks run all the same.
impl Drop for Session {
    fn drop(&mut self) {
        if let Some(state) = self.state.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(state.end(CloseKind::Lost.into()));
        }
    }
}

impl SessionState {
    /// Nothing is served any more once the app has ended the connection. What was published before is to go out, so the end is not to come
    /// before the outbox knows of it.
    async fn stay(&mut self) -> Result<(), CloseReason> {
        let Some(reason) = self.seat.dismissed() else { return Ok(()) };
        std::future::poll_fn(|cx| self.seat.outbox.poll_ending(cx)).await;
        Err(reason)
    }

    async fn history(&mut self, id: Option<RequestId>, command: HistoryCommand) {
        let reply = match self.read_history(command).await {
            Ok(page) => Reply::History(page),
            Err(error) => error.into(),
        };
        self.reply(id, reply).await;
    }

    async fn read_history(&mut self, command: HistoryCommand) -> Result<super::HistoryPage, CommandError> {
        self.budgets.take_history(&self.seat.broker.limits)?;
        let topic =
            TopicName::new(&command.topic).map_err(|error| CommandError::invalid_topic("topic", &error))?;
        self.authorize(Action::History(&topic)).await?;
        Ok(self.seat.broker.history(&command).await?)
    }

    /// Asks the policy.
    // Exclusive, because a session is not `Sync`: else what awaits this could not be `Send`.
    pub(super) async fn authorize(&mut self, action: Action<'_>) -> Result<Grant, CommandError> {
        let Some(identity) = self.seat.identity() else {
            return Err(CommandError::new(ErrorCode::Unauthenticated, "send `connect` first"));
        };
        let grant = authorize(&self.seat.broker, &identity, action).await?;
        self.seat.check_stays()?;
        Ok(grant)
    }

    pub(super) async fn over_budget(
        &mut self,
        id: Option<RequestId>,
        error: CommandError,
    ) -> Result<(), CloseReason> {
        if self.budgets.is_flood(&self.seat.broker.limits) {
            return Err(CloseKind::RateLimited.into());
        }
        self.reply(id, error.into()).await;
        Ok(())
    }

    /// Enqueues a reply when there is room for it. Without an id, only an error is sent.
    pub(super) async fn reply(&mut self, id: Option<RequestId>, reply: Reply) {
        if id.is_none() && !matches!(reply, Reply::Error(_)) {
            return;
        }
        let frame = self.seat.outbox.encode(Frame::Reply { id, reply: &reply });
        while !self.seat.outbox.push_control(frame.clone()) {
            self.room(frame.len()).await;
        }
    }

    /// Waits until the control lane has room, going on with what is pending.
    pub(super) async fn room(&mut self, length: usize) {
        let (outbox, pending) = (&self.seat.outbox, &mut self.pending);
        std::future::poll_fn(|cx| {
            pending.poll(cx, outbox);
            outbox.poll_room(cx, length)
        })
        .await;
    }

    async fn end(self: Box<Self>, reason: CloseReason) {
        let Self { seat, mut pending, place, .. } = *self;
        // However it came to its end after the app had ended it: a client that broke it off first has not lost it.
        let reason = seat.dismissed().unwrap_or(reason);
        // From here on nothing works for the client, and nobody waits for it.
        pending.stop_calls();
        seat.asked.close();
        let client = seat.as_client();
        if let Some(client) = &client {
            let topics: Vec<String> = seat.subscriptions().iter().map(|name| name.to_string()).collect();
            seat.broker.hooks.run_disconnecting(client, &topics, &reason).await;
        }
        seat.broker.part(&seat, Leaving::of(&reason));
        seat.tell_hooks().await;
        drop(pending);
        // Its place is kept until the last hook has run: draining waits for it before it stops the backend.
        if let Some(client) = &client {
            seat.broker.hooks.run_disconnected(client, &reason).await;
        }
        drop(place);
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("client", &self.client())
            .field("admitted", &self.is_admitted())
            .finish()
    }
}
