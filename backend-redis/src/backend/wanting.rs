//! What this node wants.

use std::{sync::Arc, time::Duration};

use fanfare_core::{
    backend::{BackendErrorKind, Interest},
    message::Position,
};
use redis::Value;
use tokio::time::sleep;

use super::running::{Running, checked, unexpected};
use crate::{
    error::Trouble,
    keep::{lost, within},
    log,
    wire::{Confirm, Subscribing},
};

impl Running {
    /// Changes a subscription, and waits for the confirmation. A Cluster's server may say that it has just lost the slot.
    async fn change(&self, what: Subscribing, channel: String) -> Result<(), Trouble> {
        let limit = self.node.settings.answer_within;
        let channel: Arc<str> = channel.into();
        let confirmed = async {
            let mut pause = Duration::from_millis(10);
            loop {
                let asked = self.servers.change(Confirm { what, channel: channel.clone() });
                match asked.answer().await.map_err(lost)? {
                    Value::ServerError(error) if error.code() == "MOVED" => {
                        self.servers.look_again();
                        sleep(pause).await;
                        pause *= 2;
                    }
                    answer => return checked(answer).map(drop),
                }
            }
        };
        within(limit, confirmed).await
    }

    fn topic_channel(&self, on: bool) -> Subscribing {
        if self.node.is_cluster() { Subscribing::Shard(on) } else { Subscribing::Channel(on) }
    }

    fn check_pattern(&self) -> Result<(), Trouble> {
        if self.node.is_cluster() && !self.node.settings.cluster_patterns {
            let message = "a Redis Cluster has no patterns for sharded channels: set cluster_patterns on all nodes, which sends each message to every server, or subscribe by name";
            return Err(Trouble::new(BackendErrorKind::Refused, message));
        }
        Ok(())
    }

    pub(super) async fn subscribe(&self, interest: &Interest) -> Result<Option<Position>, Trouble> {
        let node = &self.node;
        match interest {
            Interest::Topic { name, retention } => {
                node.interests.wanted.add(interest);
                let channel = node.names.topic(name);
                self.change(self.topic_channel(true), channel.clone()).await?;
                let Some(retention) = retention else { return Ok(None) };
                let open = log::open(&node.scripts, &node.names, name, retention, node.is_cluster());
                let position = log::parse_position(&self.call(&channel, open).await?).map_err(unexpected)?;
                Ok(Some(position))
            }
            Interest::Pattern(pattern) => {
                self.check_pattern()?;
                node.interests.wanted.add(interest);
                self.change(Subscribing::Pattern(true), node.names.glob(pattern)).await?;
                Ok(None)
            }
            _ => Err(Trouble::new(BackendErrorKind::Refused, "an interest of a kind that is not known")),
        }
    }

    pub(super) async fn unsubscribe(&self, interest: &Interest) -> Result<(), Trouble> {
        if !self.node.interests.give_up(interest) {
            return Ok(());
        }
        match interest {
            Interest::Topic { name, .. } => {
                self.change(self.topic_channel(false), self.node.names.topic(name)).await
            }
            Interest::Pattern(pattern) => {
                self.change(Subscribing::Pattern(false), self.node.names.glob(pattern)).await
            }
            _ => Ok(()),
        }
    }
}
