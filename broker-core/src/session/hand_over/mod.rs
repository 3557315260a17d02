//! A session that goes on at another node than it was begun: who holds it gives it away, once.
//!
//! The secret says which node gave it out: that one is asked. Where it has stopped in good order it has [named](Heirs) the nodes that keep its
//! sessions now, and these are asked. Where that node is gone, or has the session no longer, because the client has been elsewhere since,
//! all others are.
//!
//! Who gives a session away keeps it until it hears that it has arrived: an answer that is lost loses no session, because the same node asks
//! again and is answered the same, and one that ends before it could say so leaves it to the next.

mod draining;
mod heirs;
mod wire;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
pub(crate) use draining::BEQUEATH_WITHIN;
pub(crate) use heirs::Heirs;
use tokio::time::timeout;

use self::wire::Word;
use super::{
    ClientId,
    seat::Parked,
    secret::{KeyHash, Secret},
};
use crate::{
    backend::NodeId,
    broker::{Found, Inner},
    cluster::{Whom, parcels, questions},
};

/// How long nodes may take to answer: a client waits.
const WITHIN: Duration = Duration::from_secs(1);

/// How long one that should have the session may take, before it is asked again: what it was asked, or what it said, may be lost.
const TRY_WITHIN: Duration = Duration::from_millis(500);

/// How often it is asked.
const TRIES: usize = 2;

/// How long it waits at most for what becomes of a session that another node is being given.
const SETTLED_WITHIN: Duration = Duration::from_millis(400);

impl Inner {
    /// Gives away what other nodes ask for, and keeps what they give.
    pub(crate) fn hand_sessions_over(&self) {
        self.cluster.on_question(questions::RESUME, |broker, from, question| async move {
            let (client, key, user) = wire::read_question(question)?;
            let parked = broker.lend(client, key, user.as_deref(), from, SETTLED_WITHIN).await;
            let is_addressed = broker.is_addressed();
            // An answer in any case: the one who asks need not wait.
            Some(parked.map_or_else(Bytes::new, |parked| wire::write_session(&parked, is_addressed)))
        });
        self.cluster.on_question(questions::KEEP, |broker, _, sessions| async move {
            broker.keep_all(wire::read_sessions(sessions)?)
        });
        self.cluster.on_parcel(parcels::SESSIONS, |broker, from, word| match Word::read(word) {
            Some(Word::Arrived(client, key)) => broker.parking.settle(client, key, from, true),
            Some(Word::Heir(heir)) => broker.heirs.add(from, heir),
            None => {}
        });
    }

    /// Finds the session of a secret, here or on another node, and has the connection take it from there.
    pub(crate) async fn find_session(
        self: &Arc<Self>,
        secret: &Secret,
        user: Option<Arc<str>>,
        mut take: impl FnMut(Parked) -> Result<(), Parked>,
    ) -> Option<Found> {
        let (client, key) = (secret.client, secret.hash());
        if let Some(claimed) = self.claim(client, key, user.as_deref(), false, &mut take) {
            return claimed.ok();
        }
        if !self.cluster.nodes().is_empty() {
            // Whatever becomes of the connection that asks: who gives a session away has it no longer.
            let (broker, from, user) = (self.clone(), secret.node, user.clone());
            let (give, given) = tokio::sync::oneshot::channel();
            self.runtime.spawn(async move {
                let parked = broker.ask_for_session(from, client, key, user).await;
                if let Err(Some(parked)) = give.send(parked) {
                    broker.keep(parked);
                }
            });
            if let Some(parked) = given.await.ok()? {
                return self.give(parked, take).ok();
            }
        }
        self.claim(client, key, user.as_deref(), true, take)?.ok()
    }

    async fn ask_for_session(
        self: &Arc<Self>,
        from: NodeId,
        client: ClientId,
        key: KeyHash,
        user: Option<Arc<str>>,
    ) -> Option<Parked> {
        let question = wire::write_question(client, key, user.as_deref());
        let ask =
            |whom, within| self.cluster.ask(self, whom, questions::RESUME, question.clone(), within).all();
        let take = |answers| self.take_session(answers, client, key, &user);
        for node in self.heirs.line_of(from).into_iter().filter(|node| *node != self.node) {
            for _ in 0..TRIES {
                let answers = ask(Whom::Node(node), TRY_WITHIN).await;
                if let Some(parked) = take(answers.answers) {
                    return Some(parked);
                }
                // It has said that it has it no longer, or it is away.
                if answers.answered > 0 || !self.cluster.nodes().contains(&node) {
                    break;
                }
            }
        }
        // After a crash all its clients come at once: only some are looked for everywhere at a time.
        let _permit = timeout(WITHIN, self.searches.acquire()).await.ok()?.ok()?;
        take(ask(Whom::Others, WITHIN).await.answers)
    }

    /// The session among what nodes have answered. Each that has given one hears that it has arrived.
    fn take_session(
        &self,
        answers: Vec<(NodeId, Bytes)>,
        client: ClientId,
        key: KeyHash,
        user: &Option<Arc<str>>,
    ) -> Option<Parked> {
        let read = |(node, answer)| Some((node, wire::read_session(answer, client, key, user.clone())?));
        let given = answers.into_iter().filter_map(read).inspect(|(node, _)| {
            // Where that cannot be said, the session is there once more than it should be, and nobody asks for it.
            let _ = self.cluster.post(Some(*node), parcels::SESSIONS, Word::Arrived(client, key).write());
        });
        given.map(|(_, parked)| parked).reduce(|first, _| first)
    }
}
