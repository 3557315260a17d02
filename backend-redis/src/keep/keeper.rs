//! Keeps the connections of one node to its servers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use redis::Value;
use tokio::time::{sleep, timeout};

use super::{Health, Peer, Role, establish::establish};
use crate::{
    error::Trouble,
    log::Scripts,
    names::Names,
    receive::{Interests, Pushed, probe},
    settings::{Settings, Topology},
    wire::{self, Confirm, Expect, Lost, Retry, Subscribing, Watch, command},
};

/// How many subscriptions are renewed at once.
const RENEWED_AT_ONCE: usize = 1000;

/// What all connections of one node share.
pub(crate) struct Node {
    pub(crate) settings: Arc<Settings>,
    pub(crate) names: Arc<Names>,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) health: Health,
    pub(crate) interests: Arc<Interests>,
    pub(crate) pushed: Pushed,
    pub(crate) id: fanfare_core::backend::NodeId,
    pub(crate) probes: AtomicU64,
}

impl Node {
    /// Keeps one connection of a server, for ever.
    pub(crate) async fn keep(self: Arc<Self>, peer: Arc<Peer>, role: Role) {
        loop {
            let connection = establish(&self, &peer, role).await;
            let queue = peer.queue(role);
            let watch = Watch {
                ping: self.ping(role),
                ping_every: self.settings.ping_every,
                answer_within: self.settings.answer_within,
                load: self.scripts.load(),
            };
            let pushes = match role {
                Role::Commands => None,
                Role::Pushes => Some(&self.pushed as &dyn wire::Pushes),
            };
            queue.up();
            let trouble = {
                let serving = wire::run(connection, queue, pushes, &watch);
                let using = self.use_connection(&peer, role);
                tokio::select! {
                    trouble = serving => trouble,
                    trouble = using => trouble,
                }
            };
            // First the core knows, then those who wait hear that it failed.
            self.health.failed(&trouble);
            self.health.set(peer.id, role, false);
            if role == Role::Pushes {
                self.interests.forget();
            }
            queue.down();
            tracing::warn!(target: "fanfare::redis", connection = role.name(), error = %trouble, "the connection is lost");
        }
    }

    /// What a connection is asked to see whether it is alive. Where the master can change, this is its role.
    fn ping(&self, role: Role) -> bytes::Bytes {
        match (&self.settings.topology, role) {
            (Topology::Sentinel { .. }, Role::Commands) => command("ROLE", [""; 0]),
            _ => command("PING", [""; 0]),
        }
    }

    /// Readies a connection, then tests it for as long as it is there. Says why it is no good.
    async fn use_connection(&self, peer: &Peer, role: Role) -> Trouble {
        if role == Role::Pushes
            && let Err(trouble) = self.renew(peer).await
        {
            return trouble;
        }
        self.health.set(peer.id, role, true);
        match role {
            Role::Commands => std::future::pending().await,
            Role::Pushes => self.test(peer).await,
        }
    }

    /// Subscribes to all that is wanted, and waits for each confirmation.
    async fn renew(&self, peer: &Peer) -> Result<(), Trouble> {
        let subscriptions = self.subscriptions(peer);
        for some in subscriptions.chunks(RENEWED_AT_ONCE) {
            let asked: Vec<_> =
                some.iter().map(|confirm| (confirm, change(peer, confirm.clone()))).collect();
            for (confirm, asked) in asked {
                match asked.answer().await {
                    Ok(Value::ServerError(error)) => {
                        // Of this one the core hears when it asks itself.
                        let error = Trouble::of(&error);
                        tracing::warn!(target: "fanfare::redis", channel = &*confirm.channel, %error, "cannot subscribe");
                    }
                    Ok(_) => {}
                    Err(_) => return Err(Trouble::unavailable("the subscriptions could not be renewed")),
                }
            }
        }
        Ok(())
    }

    fn subscriptions(&self, _: &Peer) -> Vec<Confirm> {
        let wanted = self.interests.wanted();
        let channel = |channel: String| Confirm { what: Subscribing::Channel(true), channel: channel.into() };
        let mut subscriptions = vec![channel(self.names.node(self.id)), channel(self.names.all())];
        subscriptions.extend(wanted.topics.keys().map(|name| channel(self.names.topic(name))));
        let mut globs: Vec<_> = wanted.patterns.iter().map(|pattern| self.names.glob(pattern)).collect();
        globs.sort_unstable();
        globs.dedup();
        let pattern = |glob: String| Confirm { what: Subscribing::Pattern(true), channel: glob.into() };
        subscriptions.extend(globs.into_iter().map(pattern));
        subscriptions
    }

    /// Sends something to ourselves again and again, and sees it come: a connection can be alive and deaf.
    async fn test(&self, peer: &Peer) -> Trouble {
        let mut probed = self.pushed.probed.subscribe();
        loop {
            sleep(self.settings.ping_every).await;
            let number = self.probes.fetch_add(1, Ordering::Relaxed) + 1;
            let probe = probe(self.id, number);
            let publish = command("PUBLISH", [self.names.node(self.id).as_bytes(), &probe]);
            let answer = timeout(self.settings.answer_within, peer.commands.ask(publish).answer()).await;
            match answer {
                // Nobody is subscribed to our own channel.
                Ok(Ok(Value::Int(0))) => {}
                Ok(Ok(_)) => {
                    let came = probed.wait_for(|highest| *highest >= number);
                    if timeout(self.settings.answer_within, came).await.is_ok() {
                        continue;
                    }
                }
                // The other connection is in trouble, and knows it by itself.
                Ok(Err(_)) | Err(_) => continue,
            }
            return Trouble::unavailable("the connection is alive, but what is published does not arrive on it");
        }
    }
}

/// Changes a subscription.
pub(crate) fn change(peer: &Peer, confirm: Confirm) -> wire::Asking {
    let command = confirm.what.command(&confirm.channel);
    peer.pushes.hand_over(command, Expect::Confirm(confirm), Retry::No)
}

/// What an unanswered command means where nothing was stored by it.
pub(crate) fn lost(lost: Lost) -> Trouble {
    match lost {
        Lost::Full => Trouble::unavailable("too much waits for Redis already: publish less, or later"),
        Lost::Unsent => Trouble::unavailable("Redis is away; the backend is trying to reach it"),
        Lost::Unanswered => Trouble::unavailable("the connection to Redis broke before the answer came"),
    }
}

/// A time within which something has to have happened.
pub(crate) async fn within<T>(
    limit: Duration,
    asked: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let late = || Trouble::unavailable(format!("Redis did not answer within {limit:?}"));
    timeout(limit, asked).await.unwrap_or_else(|_| Err(late()))
}
