//! Who an address stands for on this node.

use std::sync::Arc;

use super::{Inner, registry::Registry};
use crate::{session::seat::Seat, subscriber::Subscriber, topic::Address};

impl Inner {
    /// The shards of those who an address stands for now. Not to be asked under a topic's lock.
    pub(crate) fn shards_of(&self, address: &Address) -> u64 {
        match address {
            Address::Client(client) => self.registry.seat(*client).map_or(0, |seat| 1 << seat.shard),
            Address::User(user) => {
                self.registry.seats_of(user).iter().fold(0, |shards, seat| shards | 1 << seat.shard)
            }
            // There are 64 at most.
            Address::All => u64::MAX >> (64 - self.inboxes.len()),
        }
    }
}

impl Registry {
    /// Those on a shard who an address stands for now: who is admitted, and can tell what is for it from what it is subscribed to.
    pub(super) fn receivers(&self, address: &Address, shard: usize) -> Vec<Arc<dyn Subscriber>> {
        let receive = |seat: &Arc<Seat>| seat.shard == shard && seat.outbox.takes_direct();
        let subscriber = |seat: &Arc<Seat>| seat.outbox.as_subscriber();
        match address {
            Address::Client(client) => {
                let seat = self.seat(*client).filter(|seat| receive(seat) && seat.is_admitted());
                seat.iter().map(subscriber).collect()
            }
            Address::User(user) => {
                self.seats_of(user).iter().filter(|seat| receive(seat)).map(subscriber).collect()
            }
            Address::All => {
                let there: Vec<_> = self.seats_where(receive);
                // Without the lock of the map.
                there.iter().filter(|seat| seat.is_admitted()).map(subscriber).collect()
            }
        }
    }
}
