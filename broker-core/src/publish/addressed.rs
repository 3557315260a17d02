//! Messages to addresses: how they travel between nodes, and which shards get them.
//!
//! All nodes want one topic, `$nodes`, and what is published to addresses is published to it: one channel for each node,
//! not one for each client. To whom a message goes is written where an ephemeral message has nothing else to say, in its
//! `message_id`: the addresses, as they were published to, with a blank between them, which no name holds. So backends need
//! not know of any of this, and several ephemeral topics can be published to beside.

use std::sync::{Arc, atomic::Ordering};

use crate::{
    backend::Origin,
    broker::Inner,
    fanout::{Cost, Event, Item, Reservation, Special, Whom, bits},
    message::{Message, MessageParts},
    topic::{Address, TopicName},
};

/// An address, and the name by which it was published to.
pub(crate) type To = (TopicName, Address);

/// Addresses as they travel; `None` without any.
pub(super) fn write(to: &[To]) -> Option<Arc<str>> {
    let ((first, _), rest) = to.split_first()?;
    let mut text = first.as_str().to_owned();
    for (name, _) in rest {
        text.push(' ');
        text.push_str(name.as_str());
    }
    Some(text.into())
}

/// The addresses that came with a message. What a newer node means is passed over.
pub(crate) fn read(text: Option<&str>) -> Vec<To> {
    let names = text.unwrap_or_default().split(' ').filter_map(|name| TopicName::new(name).ok());
    names.filter_map(|name| Address::of(&name).map(|address| (name, address))).collect()
}

impl Inner {
    /// Whether messages to addresses have come here at all: who was away may have missed some.
    pub(crate) fn is_addressed(&self) -> bool {
        self.is_addressed.load(Ordering::SeqCst)
    }

    /// Notes that one has, before those it stands for are looked up: who is not among them then is told when it is back.
    pub(crate) fn note_addressed(&self) {
        if !self.is_addressed() {
            self.is_addressed.store(true, Ordering::SeqCst);
        }
    }

    /// Gives a message to those who an address stands for, on shards whose permits have been taken.
    pub(super) fn push_addressed(
        &self,
        parts: &MessageParts,
        to: &TopicName,
        shards: u64,
        cost: Cost,
        special: Option<&Arc<Special>>,
    ) {
        if shards == 0 {
            return;
        }
        let message = Arc::new(Message::ephemeral(MessageParts { topic: to.clone(), ..parts.clone() }));
        for index in bits(shards) {
            let event = Event::Message { message: message.clone(), special: special.cloned() };
            self.inboxes[index].push(Item { topic: self.table.direct.clone(), event, cost });
        }
    }

    /// Takes a message to addresses from another node.
    pub(crate) async fn receive_addressed(
        &self,
        parts: &MessageParts,
        to: &[To],
        origin: Origin,
        special: Option<&Arc<Special>>,
    ) {
        self.note_addressed();
        let direct = &self.table.direct;
        {
            let mut sequencer = direct.sequencer();
            let Some(before) = sequencer.hear(origin) else { return };
            if let Some((gap, _)) = self.lost_before(&mut sequencer, before) {
                self.push_lost(direct, &mut sequencer, gap, Whom::All);
            }
        }
        let cost = self.inboxes[0].cost(parts.payload.len(), 1);
        for (name, address) in to {
            let mut permits = Reservation::none(&self.inboxes, cost);
            let shards = loop {
                let shards = self.shards_of(address);
                if permits.try_extend(shards) {
                    break shards;
                }
                permits.extend(shards).await;
            };
            let cost = permits.use_up(shards);
            self.push_addressed(parts, name, shards, cost, special);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topic::Topic;

    #[test]
    fn addresses_survive_their_text() {
        let to = [Address::All, Address::user("a b.c"), Address::client(crate::session::ClientId::new(7))];
        let to = to.map(|address| (address.name().unwrap(), address));
        assert_eq!(read(write(&to).as_deref()), to);
        assert_eq!((write(&[]), read(None)), (None, Vec::new()));
        assert_eq!(read(Some("$user.ann $group.x $user ")), to_ann());
    }

    fn to_ann() -> Vec<To> {
        vec![(TopicName::new("$user.ann").unwrap(), Address::user("ann"))]
    }
}
