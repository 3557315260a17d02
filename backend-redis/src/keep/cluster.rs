//! Follows a Cluster: which server has which slots (Redis documentation, "Redis cluster specification").

use std::{sync::Arc, time::Duration};

use fanfare_core::backend::blocks::Chain;
use redis::Value;
use tokio::time::{sleep, timeout};

use super::Servers;
use crate::{
    error::{Trouble, answered},
    names::{Channel, slot, unescape},
    settings::{Address, Topology},
    wire::{Confirm, Subscribing, command, connect, greet, value},
};

/// How often it is looked, at the least: while everything works, and while it does not.
const LOOK_EVERY: Duration = Duration::from_secs(30);
const LOOK_OFTEN: Duration = Duration::from_millis(500);

/// How soon it may be looked again, however often somebody says that it has changed.
const NO_SOONER: Duration = Duration::from_millis(100);

impl Servers {
    /// Follows the Cluster, for ever.
    pub(super) async fn follow(self: Arc<Self>) {
        let mut moved = self.node.pushed.moved.subscribe();
        loop {
            match self.look().await {
                Ok(ranges) => self.arrange(ranges),
                Err(trouble) => {
                    if !self.stop.is_cancelled() {
                        tracing::debug!(target: "fanfare::redis", error = %Chain(&trouble), "cannot see the Cluster's slots");
                    }
                    self.node.health.failed(&trouble);
                }
            }
            let is_up = self.node.health.is_up();
            tokio::select! {
                () = sleep(if is_up { LOOK_EVERY } else { LOOK_OFTEN }) => {}
                () = self.stale.notified() => {}
                Ok(()) = moved.changed() => {
                    moved.borrow_and_update();
                    self.renew_moved();
                }
            }
            sleep(NO_SOONER).await;
        }
    }

    /// Asks the servers, those that are known first, until one tells.
    async fn look(&self) -> Result<Vec<(u16, u16, Address)>, Trouble> {
        let Topology::Cluster(seeds) = &self.node.settings.topology else {
            return Err(Trouble::configuration("there is no Cluster"));
        };
        let mut known: Vec<_> = self.peers().iter().filter_map(|peer| peer.address.clone()).collect();
        fastrand::shuffle(&mut known);
        let mut trouble = Trouble::configuration("the URL names no server of the Cluster");
        for address in known.iter().chain(seeds) {
            let limit = self.node.settings.answer_within;
            match timeout(limit, self.ask(address)).await {
                Ok(Ok(ranges)) => return Ok(ranges),
                Ok(Err(error)) => trouble = error,
                Err(_) => trouble = Trouble::unavailable(format!("{address} does not answer")),
            }
        }
        Err(trouble)
    }

    /// A server that is new to us may have taken over from another one that still answers: what that one had stored
    /// last may be lost, as if it had gone.
    pub(super) async fn forget_replaced(&self, new: &Address) {
        let Ok(ranges) = self.ask(new).await else { return };
        for peer in self.peers() {
            let Some(address) = &peer.address else { continue };
            if ranges.iter().any(|(_, _, owner)| owner == address) {
                continue;
            }
            let settings = &self.node.settings;
            let role = async {
                let mut connection = connect(address, settings).await?;
                greet(&mut connection, &settings.credentials, 0, settings, &[]).await
            };
            if let Ok(Ok(hello)) = timeout(settings.answer_within, role).await
                && !hello.is_master
            {
                self.node.runs.lock().remove(&peer.id);
            }
        }
    }

    async fn ask(&self, address: &Address) -> Result<Vec<(u16, u16, Address)>, Trouble> {
        let settings = &self.node.settings;
        let mut connection = connect(address, settings).await?;
        let hello = greet(&mut connection, &settings.credentials, 0, settings, &[]).await?;
        if !hello.is_cluster {
            return Err(Trouble::configuration("the server is not part of a Cluster: use a redis:// URL"));
        }
        let answer = connection.ask(&[command("CLUSTER", ["SLOTS"])]).await?.pop().unwrap_or(Value::Nil);
        if let Value::ServerError(error) = &answer {
            return Err(answered(error));
        }
        let ranges: Vec<_> = value::array(answer)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|entry| range(entry, address))
            .collect();
        if ranges.is_empty() {
            return Err(Trouble::unavailable("the Cluster serves no slots yet: is it formed?"));
        }
        Ok(ranges)
    }

    /// Servers have given up subscriptions, as they do with slots that were moved: they are renewed wherever they belong now.
    fn renew_moved(self: &Arc<Self>) {
        let channels = std::mem::take(&mut *self.node.pushed.given_up.lock());
        let mut moved = vec![false; usize::from(crate::names::SLOTS)];
        for channel in &channels {
            moved[usize::from(slot(channel))] = true;
        }
        let (servers, stop) = (self.clone(), self.stop.clone());
        self.tasks().spawn(async move {
            stop.run_until_cancelled_owned(async move { servers.resubscribe(&moved).await }).await
        });
    }

    /// Subscribes anew to what is wanted in these slots, and says that something may have been lost.
    pub(super) async fn resubscribe(&self, moved: &[bool]) {
        let names = &self.node.names;
        let wanted = self.node.interests.wanted.topics();
        let topics = wanted.iter().map(|(name, _)| names.topic(name));
        let channels = [names.node(self.node.id), names.all()].into_iter().chain(topics);
        for channel in channels.filter(|channel| moved[usize::from(slot(channel))]) {
            let mut pause = Duration::from_millis(10);
            // As long as it is wanted: the servers agree on the owner sooner or later.
            while self.is_wanted(&channel) {
                let confirm = Confirm { what: Subscribing::Shard(true), channel: channel.as_str().into() };
                let asked = timeout(self.node.settings.answer_within, self.change(confirm).answer());
                match asked.await {
                    Ok(Ok(Value::ServerError(_))) => self.stale.notify_one(),
                    // Who is down renews everything when it is up.
                    Ok(Err(_)) => break,
                    Ok(Ok(_)) => {
                        if let Channel::Topic(escaped) = names.channel(&channel)
                            && let Some(topic) = unescape(escaped)
                        {
                            self.node.inbox.lost(Some(&topic));
                        }
                        break;
                    }
                    Err(_) => {}
                }
                sleep(pause).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
        }
    }

    fn is_wanted(&self, channel: &str) -> bool {
        match self.node.names.channel(channel) {
            Channel::Topic(escaped) => {
                unescape(escaped).is_some_and(|topic| self.node.interests.wanted.has_topic(&topic))
            }
            _ => true,
        }
    }
}

/// An entry of CLUSTER SLOTS: first slot, last slot, the master (host, port, ...), replicas.
fn range(entry: Value, by: &Address) -> Option<(u16, u16, Address)> {
    let entry = value::array(entry)?;
    let number = |value: &Value| value::number(value).and_then(|n| u16::try_from(n).ok());
    let (first, last) = (number(entry.first()?)?, number(entry.get(1)?)?);
    let master = value::array(entry.into_iter().nth(2)?)?;
    let host = match (value::text(master.first()?), by) {
        // It does not know its own name.
        (None | Some("" | "?"), Address::Tcp(host, _)) => host.clone(),
        (host, _) => host?.to_owned(),
    };
    Some((first, last, Address::Tcp(host, number(master.get(1)?)?)))
}
