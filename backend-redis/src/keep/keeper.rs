//! Keeps one connection of a server.

use std::{pin::pin, sync::Arc, time::Duration};

use fanfare_core::backend::blocks::{Chain, Outage};
use redis::Value;
use tokio::time::{Instant, sleep, timeout};

use super::{Peer, Role, Servers, establish::establish, sentinel, servers::subscribe};
use crate::{
    error::{Trouble, answered},
    receive::probe,
    settings::{Address, Topology},
    wire::{self, Confirm, Retry, Subscribing, Watch, command},
};

/// How many subscriptions are renewed at once.
const RENEWED_AT_ONCE: usize = 1000;

/// A connection that is lost sooner than this was none: the next one is not made without a pause.
const LASTING: Duration = Duration::from_millis(500);

/// How many names are tried for a channel in a slot of one server. The probability that none fits is nil.
const PROBE_NAMES: u32 = 100_000;

impl Servers {
    /// Keeps one connection of a server, for ever.
    pub(super) async fn keep(self: Arc<Self>, peer: Arc<Peer>, role: Role) {
        let node = &self.node;
        let mut outage = Outage::new();
        loop {
            let (connection, hello, address) = establish(node, &peer, role, &mut outage).await;
            let since = Instant::now();
            let queue = peer.queue(role);
            let watch = Watch {
                ping: command("PING", [""; 0]),
                ping_every: node.settings.ping_every,
                answer_within: node.settings.answer_within,
                load: node.scripts.load(),
                runs: {
                    let (servers, peer) = (self.clone(), peer.id);
                    Box::new(move || servers.node.runs(peer))
                },
                redirect: node.is_cluster().then(|| {
                    let (servers, peer) = (self.clone(), peer.clone());
                    Box::new(move || servers.redirect(&peer)) as Box<dyn Fn() + Send + Sync>
                }),
            };
            let pushes = match role {
                Role::Commands => {
                    if node.is_cluster() {
                        self.forget_replaced(&address).await;
                        node.runs.lock().insert(peer.id, hello.run);
                    }
                    None
                }
                Role::Pushes => Some(&node.pushed as &dyn wire::Pushes),
            };
            queue.up();
            let trouble = tokio::select! {
                trouble = wire::run(connection, queue, pushes, &watch) => trouble,
                trouble = self.use_connection(&peer, role, &address) => trouble,
            };
            // First the core knows, then those who wait hear that it failed.
            node.health.failed(&trouble);
            node.health.set(peer.id, role, false);
            match role {
                Role::Commands => drop(node.runs.lock().remove(&peer.id)),
                Role::Pushes => node.interests.forget(|channel| self.owns(&peer, channel)),
            }
            queue.down();
            self.stale.notify_one();
            let has_lasted = since.elapsed() > LASTING;
            if has_lasted {
                outage = Outage::new();
            }
            if outage.failed(&trouble) {
                tracing::warn!(target: "fanfare::redis", connection = role.name(), error = %Chain(&trouble), "the connection is lost");
            }
            if !has_lasted {
                sleep(outage.pause()).await;
            }
        }
    }

    /// Sees to it that the server is still the one that the Sentinels name. A master that was replaced may not know it for a
    /// while, and what it takes until then is lost. The connection for subscriptions follows: nothing comes back on it.
    async fn follow_master(&self, address: &Address) -> Trouble {
        let settings = &self.node.settings;
        let Topology::Sentinel { sentinels, master, credentials } = &settings.topology else {
            return std::future::pending().await;
        };
        loop {
            sleep(settings.ping_every).await;
            match sentinel::master(settings, sentinels, master, credentials).await {
                Ok(now) if now != *address => {
                    return Trouble::unavailable(format!("the Sentinels name another master: {now}"));
                }
                // Who cannot ask goes on with what is known.
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// Readies a connection, then tests it for as long as it is there. Says why it is no good.
    async fn use_connection(&self, peer: &Peer, role: Role, address: &Address) -> Trouble {
        if role == Role::Pushes {
            // What comes first may follow on what was missed, and that can only be read by the other connection.
            peer.commands.until_up().await;
            if let Err(trouble) = self.renew(peer).await {
                return trouble;
            }
        }
        self.node.health.set(peer.id, role, true);
        match role {
            Role::Commands => self.follow_master(address).await,
            Role::Pushes => self.test(peer).await,
        }
    }

    /// Subscribes to all that is wanted of this server, and waits for each confirmation.
    async fn renew(&self, peer: &Peer) -> Result<(), Trouble> {
        let names = &self.node.names;
        let own = [names.node(self.node.id), names.all()];
        for some in self.subscriptions(peer).chunks(RENEWED_AT_ONCE) {
            let asked: Vec<_> =
                some.iter().map(|confirm| (confirm, subscribe(peer, confirm.clone()))).collect();
            for (confirm, asked) in asked {
                match asked.answer().await {
                    Ok(Value::ServerError(error)) => {
                        let error = answered(&error);
                        if error.is_lasting() && own.iter().any(|own| **own == *confirm.channel) {
                            // Nodes would not hear each other, and none would hear itself.
                            return Err(error);
                        }
                        // Of this one the core hears when it asks itself.
                        tracing::warn!(target: "fanfare::redis", channel = &*confirm.channel, error = %Chain(&error), "cannot subscribe");
                        self.stale.notify_one();
                    }
                    Ok(_) => {}
                    Err(_) => return Err(Trouble::unavailable("the subscriptions could not be renewed")),
                }
            }
        }
        Ok(())
    }

    fn subscriptions(&self, peer: &Peer) -> Vec<Confirm> {
        let names = &self.node.names;
        let wanted = &self.node.interests.wanted;
        let what = if self.node.is_cluster() { Subscribing::Shard(true) } else { Subscribing::Channel(true) };
        let own = [names.node(self.node.id), names.all()].into_iter();
        let channels = own.chain(wanted.topics().into_iter().map(|(name, _)| names.topic(&name)));
        let owned = channels.filter(|channel| self.owns(peer, channel));
        let mut subscriptions: Vec<_> =
            owned.map(|channel| Confirm { what, channel: channel.into() }).collect();
        if self.is_first(peer) {
            let mut globs: Vec<_> = wanted.patterns().iter().map(|pattern| names.glob(pattern)).collect();
            globs.sort_unstable();
            globs.dedup();
            let pattern = |glob: String| Confirm { what: Subscribing::Pattern(true), channel: glob.into() };
            subscriptions.extend(globs.into_iter().map(pattern));
        }
        subscriptions
    }

    /// Sends something to ourselves again and again, and sees it come: a connection can be alive and deaf.
    async fn test(&self, peer: &Peer) -> Trouble {
        let settings = &self.node.settings;
        let mut probed = self.node.pushed.probed.subscribe();
        let mut channel: Option<String> = None;
        let mut is_told = false;
        loop {
            sleep(settings.ping_every).await;
            let channel = match channel.as_ref().filter(|channel| self.owns(peer, channel)) {
                Some(channel) => channel.clone(),
                None => {
                    let Some(found) = self.probe_channel(peer).await else { continue };
                    channel.insert(found).clone()
                }
            };
            let number = self.node.next_probe();
            let probe = probe(self.node.id, peer.id, number);
            let name = if self.node.is_cluster() { "SPUBLISH" } else { "PUBLISH" };
            let publish = command(name, [channel.as_bytes(), &probe]);
            let asked = peer.commands.hand_over(publish, wire::Expect::One, Retry::No, None);
            match timeout(settings.answer_within, asked.answer()).await {
                // Nobody is subscribed to our own channel.
                Ok(Ok(Value::Int(0))) => {}
                Ok(Ok(Value::Int(_))) => {
                    let came = probed
                        .wait_for(|probed| probed.get(&peer.id).is_some_and(|highest| *highest >= number));
                    if patiently(settings.answer_within, came).await {
                        continue;
                    }
                }
                Ok(Ok(Value::ServerError(error))) => {
                    let trouble = answered(&error);
                    // Nothing that is published is carried. Others pass: the slot has just been moved, say.
                    if trouble.is_lasting() && !std::mem::replace(&mut is_told, true) {
                        tracing::warn!(target: "fanfare::redis", channel, error = %Chain(&trouble), "cannot publish");
                    }
                    continue;
                }
                // The other connection is in trouble, and knows it by itself.
                Ok(_) | Err(_) => continue,
            }
            return Trouble::unavailable(
                "the connection is alive, but what is published does not arrive on it",
            );
        }
    }

    /// A channel of ours that this server carries, subscribed to.
    async fn probe_channel(&self, peer: &Peer) -> Option<String> {
        let names = &self.node.names;
        if !self.node.is_cluster() {
            return Some(names.node(self.node.id));
        }
        let channel = (0..PROBE_NAMES)
            .map(|tag| names.probe(self.node.id, tag))
            .find(|channel| self.owns(peer, channel))?;
        let confirm = Confirm { what: Subscribing::Shard(true), channel: channel.as_str().into() };
        let asked = timeout(self.node.settings.answer_within, subscribe(peer, confirm).answer());
        matches!(asked.await, Ok(Ok(Value::Okay))).then_some(channel)
    }
}

/// Whether something comes in time, where time in which this program itself stood still counts for little.
async fn patiently<T>(limit: Duration, coming: impl Future<Output = T>) -> bool {
    const STEPS: u32 = 16;
    let mut coming = pin!(coming);
    for _ in 0..STEPS {
        if timeout(limit / STEPS, &mut coming).await.is_ok() {
            return true;
        }
    }
    false
}
