//! What is found out before somebody needs a log.

use super::running::{Running, unexpected};
use crate::{error::Trouble, log};

impl Running {
    /// Tries what logs need, and says what will go wrong one day although they work now. On a Cluster one server stands for all.
    pub(super) async fn prepare(&self) -> Result<(), Trouble> {
        let (publish, _) = self.commands();
        let (key, call) = log::trial(&self.node.scripts, &self.node.names, publish);
        let found = log::parse_trial(self.call(&key, call).await?).map_err(unexpected)?;
        self.tell_of_eviction(found.evicts);
        if found.refused.is_empty() {
            return Ok(());
        }
        Err(Trouble::configuration(format!(
            "the ACL user may not use {}, and logs need it: see the crate's documentation for what to grant",
            found.refused
        )))
    }

    /// Said once, until it changes.
    fn tell_of_eviction(&self, policy: Option<String>) {
        let mut told = self.told_policy.lock();
        if *told == policy {
            return;
        }
        *told = policy;
        if let Some(policy) = &*told {
            tracing::warn!(
                target: "fanfare::redis", policy,
                "Redis drops keys when its memory is full: subscribers are told of logs that go, but last values and message_ids go without a \
                 word: set maxmemory-policy to noeviction, and retain less than maxmemory holds"
            );
        }
    }
}
