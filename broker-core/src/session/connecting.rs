//! A client's first command: who it is, whether it takes up an earlier session, and what it subscribes to.

use tokio::time::Instant;

use super::{
    CloseKind, CloseReason, CommandError, ConnectCommand, Connected, ErrorCode, Reply, RequestId, Start,
    SubscribeCommand, Subscribed,
    seat::{Away, Starting},
    secret::Secret,
    serve::SessionState,
};
use crate::{
    broker::{ConnectError, refused},
    policy::{Admission, Identity},
};

/// A subscription that `connect` asks for.
struct Wanted {
    command: SubscribeCommand,
    /// As the earlier connection had it.
    before: Option<Away>,
}

impl SessionState {
    pub(super) async fn connect(
        &mut self,
        id: Option<RequestId>,
        connect: ConnectCommand,
    ) -> Result<(), CloseReason> {
        if self.has_connected {
            let error =
                CommandError::new(ErrorCode::BadRequest, "`connect` has been sent already").field("connect");
            self.reply(id, error.into()).await;
            return Ok(());
        }
        let mut identity = match self.seat.identity() {
            None => Some(self.authenticate(connect.token).await?),
            Some(_) => None,
        };
        let is_new = identity.is_some();
        let taken_up = match &connect.session {
            Some(secret) => self.take_up(secret, &mut identity).await,
            None => None,
        };
        match identity {
            Some(identity) => self.admit(identity).await.map_err(|error| error.reason())?,
            None if is_new => self.welcome().await,
            None => {}
        }
        self.has_connected = true;
        let limit = self.seat.broker.limits.subscriptions_per_connection;
        if connect.subscribe.len() > limit {
            let error = CommandError::new(ErrorCode::LimitExceeded, "too many subscriptions")
                .field("subscribe")
                .limit(limit as u64, connect.subscribe.len() as u64);
            self.reply(id, error.into()).await;
            return Ok(());
        }
        let resumed = taken_up.is_some();
        let (session, was_addressed) = taken_up.unzip();
        let session = session.or_else(|| self.new_secret());
        let (starting, subscribed) = self.begin_all(wanted(connect.subscribe, self.seat.waiting())).await;
        let connected = Connected {
            client: self.seat.client(),
            user: self.seat.user(),
            session: session.map(|secret| secret.to_string()),
            resumed,
            ping: self.seat.broker.ping,
            expires: self.seat.expires().map(|at| at.saturating_duration_since(Instant::now())),
            subscribed,
        };
        self.answer_connect(id, connected, starting).await;
        // From here on what is addressed to the client reaches it.
        if resumed && (was_addressed == Some(true) || self.seat.broker.is_addressed()) {
            self.seat.tell_absence();
        }
        Ok(())
    }

    /// Begins what is wanted, each on its own.
    async fn begin_all(
        &mut self,
        wanted: Vec<Wanted>,
    ) -> (Vec<Starting>, Vec<(String, Result<Subscribed, CommandError>)>) {
        let mut starting = Vec::with_capacity(wanted.len());
        let mut subscribed = Vec::with_capacity(wanted.len());
        for wanted in wanted {
            let name = wanted.command.topic.clone();
            let begun = match wanted.before {
                Some(before) => self.begin_again(before, &wanted.command).await,
                None => self.begin(wanted.command).await,
            };
            match begun {
                Ok(begun) => {
                    subscribed.push((name, Ok(begun.outcome())));
                    starting.push(begun);
                }
                Err(error) => subscribed.push((name, Err(error))),
            }
        }
        (starting, subscribed)
    }

    /// Begins what an earlier connection had, if the client may still have it.
    async fn begin_again(
        &mut self,
        before: Away,
        command: &SubscribeCommand,
    ) -> Result<Starting, CommandError> {
        let name = before.subject.text();
        let watches = command.presence;
        let asked = async {
            self.check_watching(&before.subject, watches).await?;
            let beginning = self.seat.begin(before.subject.clone(), before.by)?;
            // What the server ends from now on it ends as one that is on its way; this was ended before.
            if !self.seat.is_waiting(&name) {
                return Err(CommandError::new(ErrorCode::Revoked, "the server has ended this").field("topic"));
            }
            beginning.ask(before.subject, command.start).await
        };
        match asked.await {
            Ok(mut starting) => {
                starting.watch(watches);
                starting.after_absence();
                Ok(starting)
            }
            Err(error) => {
                // What may succeed later is there for the next connection to try.
                if !error.retry {
                    self.seat.give_up(&name);
                }
                Err(error)
            }
        }
    }

    async fn answer_connect(
        &mut self,
        id: Option<RequestId>,
        mut connected: Connected,
        mut starting: Vec<Starting>,
    ) {
        while !starting.is_empty() {
            let reply = Reply::Connected(Box::new(connected.clone()));
            let reply = self.encode_reply(id, &reply).await;
            match self.seat.attach(starting, reply) {
                Ok(()) => return self.seat.tell_hooks().await,
                // Some were ended on their way: the reply says so.
                Err(all) => starting = without_ended(all, &mut connected.subscribed),
            }
        }
        self.reply(id, Reply::Connected(Box::new(connected))).await;
    }

    /// Asks the policy who the client is.
    async fn authenticate(&mut self, token: Option<String>) -> Result<Identity, CloseReason> {
        let Some(arrival) = self.arrival.take() else {
            return Err(CloseKind::Unauthenticated.into());
        };
        let mut handshake = arrival.handshake;
        if token.is_some() {
            handshake.token = token;
        }
        match self.seat.broker.admission(&handshake).await {
            Ok(Admission::Accept(identity)) => Ok(identity),
            Ok(Admission::AwaitConnect) => Err(CloseKind::Unauthenticated.into()),
            Err(refusal) => Err(refused(&refusal)),
        }
    }

    pub(super) async fn admit(&mut self, identity: Identity) -> Result<(), ConnectError> {
        self.place.admit(identity.user.as_ref())?;
        self.seat.admit(identity);
        self.welcome().await;
        Ok(())
    }

    /// The client has been admitted.
    async fn welcome(&mut self) {
        self.arrival = None;
        if let Some(client) = self.seat.as_client() {
            self.seat.broker.hooks.run_connected(&client).await;
        }
    }

    /// Takes up the session that a secret belongs to, wherever it is, and says whether messages may have been addressed to its client there.
    /// `identity` is who the client is, where it has not been admitted yet: with a session it is.
    async fn take_up(&mut self, text: &str, identity: &mut Option<Identity>) -> Option<(Secret, bool)> {
        let secret: Secret = text.parse().ok()?;
        let user = match &identity {
            Some(identity) => identity.user.clone(),
            None => self.seat.user(),
        };
        let before = self.seat.as_client();
        let broker = self.seat.broker.clone();
        let Self { seat, place, .. } = self;
        let take = |parked| {
            if let Some(identity) = &*identity
                && place.admit(identity.user.as_ref()).is_err()
            {
                // It waits until there is room for its client.
                return Err(parked);
            }
            // Refused where this connection has begun something of its own.
            place.adopt(parked)?;
            if let Some(identity) = identity.take() {
                seat.admit(identity);
            }
            Ok(())
        };
        let found = broker.find_session(&secret, user, take).await?;
        if let Some(before) = before {
            // It was let in under another name, and is known to the app by it.
            let reason = CloseKind::Resumed.into();
            broker.hooks.run_disconnecting(&before, &[], &reason).await;
            broker.hooks.run_disconnected(&before, &reason).await;
            if let Some(client) = self.seat.as_client() {
                broker.hooks.run_connected(&client).await;
            }
        }
        Some((Secret { node: broker.node, ..secret }, found.is_addressed))
    }

    /// A secret with which the client can take the session up, where sessions are kept.
    fn new_secret(&self) -> Option<Secret> {
        let broker = &self.seat.broker;
        let secret = Secret::new(broker.node, self.seat.client()).filter(|_| broker.parking.is_open())?;
        self.seat.set_key(secret.hash());
        Some(secret)
    }
}

/// What the client asks for, in its order, and behind it what its earlier connection had beside. Where the client does not know a position
/// of its own, it has received nothing: that begins where it did.
fn wanted(asked: Vec<SubscribeCommand>, mut before: Vec<Away>) -> Vec<Wanted> {
    let mut wanted = Vec::with_capacity(asked.len() + before.len());
    for mut command in asked {
        let known = before.iter().position(|away| away.subject.as_str() == command.topic);
        let before = known.map(|index| before.remove(index));
        if let Some(after) = before.as_ref().and_then(|away| away.after)
            && command.start == Start::Live
        {
            command.start = Start::After(after);
        }
        wanted.push(Wanted { command, before });
    }
    wanted.extend(before.into_iter().map(|away| {
        let start = away.after.map_or(Start::Live, Start::After);
        let mut command = SubscribeCommand::starting(away.subject.as_str(), start);
        command.presence = away.watches;
        Wanted { command, before: Some(away) }
    }));
    wanted
}

/// Those that are still to be; of the others the reply says why not.
fn without_ended(
    all: Vec<Starting>,
    subscribed: &mut [(String, Result<Subscribed, CommandError>)],
) -> Vec<Starting> {
    let mut left = Vec::with_capacity(all.len());
    for starting in all {
        let Some(error) = starting.ended() else {
            left.push(starting);
            continue;
        };
        let mut named = subscribed.iter_mut().filter(|(name, _)| name == starting.name());
        if let Some((_, outcome)) = named.find(|(_, outcome)| outcome.is_ok()) {
            *outcome = Err(error);
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        message::{Epoch, Position},
        outbox::Subject,
        session::seat::By,
    };

    #[test]
    fn what_the_client_knows_goes_before_what_the_server_knows() {
        let at = |offset| Position::new(Epoch::new(1), offset);
        let away = |name: &str, after| {
            let subject = Subject::parse(name).unwrap();
            Away { subject, by: By::Client, watches: name == "c", after }
        };
        let before =
            vec![away("a", Some(at(3))), away("b", Some(at(4))), away("c", Some(at(5))), away("d.*", None)];
        let asked = vec![
            SubscribeCommand::starting("b", Start::After(at(9))),
            SubscribeCommand::live("new"),
            SubscribeCommand::live("a"),
        ];
        let wanted: Vec<_> = wanted(asked, before)
            .into_iter()
            .inspect(|wanted| assert_eq!(wanted.command.presence, wanted.command.topic == "c"))
            .map(|wanted| (wanted.command.topic, wanted.command.start, wanted.before.is_some()))
            .collect();
        let expected = [
            ("b", Start::After(at(9)), true),
            ("new", Start::Live, false),
            ("a", Start::After(at(3)), true),
            ("c", Start::After(at(5)), true),
            ("d.*", Start::Live, true),
        ];
        assert_eq!(wanted, expected.map(|(name, start, known)| (name.to_owned(), start, known)));
    }
}
