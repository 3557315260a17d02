//! Who is up, by what was heard and when: no clock of its own, no network.

use std::{collections::VecDeque, time::Duration};

use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::parcel::Joiner;
use crate::backend::NodeId;

/// How many other nodes there may be; what further ones say is passed over.
const MAX_NODES: usize = 1024;

/// How many that have said goodbye are remembered: what was on its way then does not bring them back.
const MAX_DEPARTED: usize = 64;

/// How many heartbeats may be missing before a node counts as away.
const MISSED: u32 = 3;

/// And how much later than due the last one may come.
const SLACK: Duration = Duration::from_secs(1);

/// The longest time between two heartbeats that is believed.
const SLOWEST: Duration = Duration::from_secs(3600);

/// The other nodes that are up.
#[derive(Default)]
pub(super) struct Peers {
    peers: FxHashMap<NodeId, Peer>,
    departed: VecDeque<NodeId>,
}

/// Another node that is up.
pub(super) struct Peer {
    heard: Instant,
    bound: Duration,
    /// Of the run that has this name.
    stamp: Option<u64>,
    pub(super) joiner: Joiner,
}

/// What a frame says of the node that it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// It was up.
    Known,
    /// It is up from now on.
    New,
    /// It has said goodbye, or there are too many.
    Ignored,
}

/// Two runs have drawn the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SameName;

/// How long a node may be silent that sends a heartbeat every so often.
pub(super) fn bound(every: Duration) -> Duration {
    every.min(SLOWEST) * MISSED + SLACK
}

impl Peers {
    /// Anything was heard of a node. `every`: how often it is taken to send heartbeats, until it says so itself.
    pub(super) fn hear(&mut self, node: NodeId, every: Duration, now: Instant) -> Heard {
        if let Some(peer) = self.peers.get_mut(&node) {
            peer.heard = now;
            return Heard::Known;
        }
        if self.departed.contains(&node) {
            return Heard::Ignored;
        }
        if self.peers.len() >= MAX_NODES {
            tracing::warn!(target: "fanfare::core", %node, limit = MAX_NODES, "there are too many nodes: this one is ignored");
            return Heard::Ignored;
        }
        let peer = Peer { heard: now, bound: bound(every), stamp: None, joiner: Joiner::default() };
        self.peers.insert(node, peer);
        Heard::New
    }

    /// A node that is up has said how often it sends heartbeats. True when that is another pace: it may be away sooner.
    pub(super) fn keeps_pace(&mut self, node: NodeId, every: Duration) -> bool {
        let Some(peer) = self.peers.get_mut(&node) else { return false };
        std::mem::replace(&mut peer.bound, bound(every)) != bound(every)
    }

    /// A node that is up has said which run of its name it is.
    pub(super) fn stamps(&mut self, node: NodeId, stamp: u64) -> Result<(), SameName> {
        let Some(peer) = self.peers.get_mut(&node) else { return Ok(()) };
        match peer.stamp.replace(stamp) {
            Some(before) if before != stamp => Err(SameName),
            _ => Ok(()),
        }
    }

    /// A node says that it stops. True when it was up.
    pub(super) fn leave(&mut self, node: NodeId) -> bool {
        if !self.departed.contains(&node) {
            if self.departed.len() >= MAX_DEPARTED {
                self.departed.pop_front();
            }
            self.departed.push_back(node);
        }
        self.peers.remove(&node).is_some()
    }

    /// Takes out who has not been heard for too long.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<NodeId> {
        let away = |(node, peer): (&NodeId, &Peer)| (peer.due() <= now).then_some(*node);
        let mut away: Vec<_> = self.peers.iter().filter_map(away).collect();
        away.sort_unstable();
        for node in &away {
            self.peers.remove(node);
        }
        away
    }

    /// This node itself has stood still for so long: it could hear nobody.
    pub(super) fn forgive(&mut self, stood_still: Duration, now: Instant) {
        for peer in self.peers.values_mut() {
            peer.heard = (peer.heard + stood_still).min(now);
        }
    }

    /// When the next one has to be looked at.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.peers.values().map(Peer::due).min()
    }

    pub(super) fn get_mut(&mut self, node: NodeId) -> Option<&mut Peer> {
        self.peers.get_mut(&node)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = NodeId> {
        self.peers.keys().copied()
    }

    /// Bytes of parcels that are not whole yet.
    pub(super) fn held(&self) -> usize {
        self.peers.values().map(|peer| peer.joiner.held()).sum()
    }
}

impl Peer {
    fn due(&self) -> Instant {
        self.heard + self.bound
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(2);
    const A: NodeId = NodeId::new(1);
    const B: NodeId = NodeId::new(2);
    const C: NodeId = NodeId::new(3);

    fn after(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_unheard_for_three_heartbeats_and_a_second_is_away_once() {
        let (mut peers, start) = (Peers::default(), Instant::now());
        assert_eq!(peers.hear(A, EVERY, start), Heard::New);
        assert_eq!(peers.hear(B, EVERY, after(start, 10)), Heard::New);
        assert_eq!(peers.hear(A, EVERY, after(start, 5000)), Heard::Known);
        assert_eq!(peers.next_due(), Some(after(start, 7010)));
        assert_eq!(peers.expire(after(start, 7009)), []);
        assert_eq!(peers.expire(after(start, 7010)), [B]);
        assert_eq!(peers.expire(after(start, 7010)), [], "once");
        assert_eq!(peers.expire(after(start, 11_999)), []);
        assert_eq!(peers.expire(after(start, 12_000)), [A]);
        assert_eq!(peers.next_due(), None);
        assert_eq!(peers.hear(A, EVERY, after(start, 13_000)), Heard::New, "it was only cut off");
    }

    #[tokio::test(start_paused = true)]
    async fn each_is_judged_by_how_often_it_says_it_speaks() {
        let (mut peers, start) = (Peers::default(), Instant::now());
        peers.hear(A, EVERY, start);
        assert!(peers.keeps_pace(A, Duration::from_secs(10)));
        assert!(!peers.keeps_pace(A, Duration::from_secs(10)));
        assert_eq!(peers.next_due(), Some(after(start, 31_000)));
        // What would never end is not believed.
        peers.keeps_pace(A, Duration::MAX);
        assert_eq!(peers.next_due(), Some(start + bound(SLOWEST)));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_said_goodbye_does_not_come_back_by_what_was_on_its_way() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        peers.hear(A, EVERY, now);
        assert!(peers.leave(A));
        assert!(!peers.leave(A));
        assert_eq!(peers.hear(A, EVERY, now), Heard::Ignored);
        assert!(!peers.leave(B), "it was not known");
        assert_eq!(peers.hear(B, EVERY, now), Heard::Ignored);
        // However often one says so, the others are remembered.
        for _ in 0..MAX_DEPARTED {
            peers.leave(B);
        }
        assert_eq!(peers.hear(A, EVERY, now), Heard::Ignored);
        for node in 100..100 + MAX_DEPARTED as u64 {
            peers.leave(NodeId::new(node));
        }
        assert_eq!(peers.departed.len(), MAX_DEPARTED);
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_is_blamed_for_what_this_node_slept_through() {
        let (mut peers, start) = (Peers::default(), Instant::now());
        peers.hear(A, EVERY, start);
        peers.hear(B, EVERY, after(start, 2000));
        peers.hear(C, EVERY, after(start, 59_500));
        let woken = after(start, 60_000);
        peers.forgive(Duration::from_secs(57), woken);
        assert_eq!(peers.expire(woken), []);
        assert_eq!(peers.next_due(), Some(after(start, 64_000)));
        assert_eq!(peers.expire(after(start, 67_000)), [A, B, C], "nobody was heard later than now");
    }

    #[tokio::test(start_paused = true)]
    async fn two_runs_of_one_name_are_noticed() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        peers.hear(A, EVERY, now);
        assert_eq!(peers.stamps(A, 7), Ok(()));
        assert_eq!(peers.stamps(A, 7), Ok(()));
        assert_eq!(peers.stamps(A, 8), Err(SameName));
    }

    #[tokio::test(start_paused = true)]
    async fn there_are_not_more_than_there_may_be() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        for node in 0..MAX_NODES as u64 {
            assert_eq!(peers.hear(NodeId::new(node), EVERY, now), Heard::New);
        }
        assert_eq!(peers.hear(NodeId::new(u64::MAX), EVERY, now), Heard::Ignored);
        assert_eq!(peers.names().count(), MAX_NODES);
    }
}
