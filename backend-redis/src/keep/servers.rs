//! Which server does what: one for everything, or on a Cluster one for each slot.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{Node, Peer, Role};
use crate::{
    names::{SLOTS, slot},
    settings::Address,
    wire::{Asking, Confirm, Expect, Packed, Redirect, Retry, Subscribing},
};

/// The servers of one node, with the tasks that keep their connections.
pub(crate) struct Servers {
    pub(crate) node: Arc<Node>,
    tasks: TaskTracker,
    pub(super) stop: CancellationToken,
    /// Handing over a command and moving commands from server to server happen under this lock, so that none overtakes another.
    state: Mutex<State>,
    /// The Cluster may have changed.
    pub(super) stale: Notify,
}

#[derive(Default)]
struct State {
    peers: Vec<Entry>,
    /// The owner of each slot, on a Cluster.
    slots: Vec<Option<Arc<Peer>>>,
    next: u32,
}

struct Entry {
    peer: Arc<Peer>,
    stop: CancellationToken,
}

impl Servers {
    pub(crate) fn start(node: Arc<Node>, tasks: TaskTracker, stop: CancellationToken) -> Arc<Self> {
        let servers = Arc::new(Self { node, tasks, stop, state: Mutex::default(), stale: Notify::new() });
        if servers.node.is_cluster() {
            servers.state.lock().slots = vec![None; usize::from(SLOTS)];
            let (stop, follow) = (servers.stop.clone(), servers.clone().follow());
            servers.tasks.spawn(async move { stop.run_until_cancelled_owned(follow).await });
        } else {
            let state = &mut *servers.state.lock();
            servers.add(state, None);
        }
        servers
    }

    /// Hands over a command that belongs to a key or channel.
    pub(crate) fn hand_over(
        &self,
        key: &str,
        packed: impl Into<Packed>,
        expect: Expect,
        retry: Retry,
    ) -> Asking {
        let state = self.state.lock();
        let slot = (!state.slots.is_empty()).then(|| slot(key));
        let Some(peer) = state.owner(slot) else { return Asking::nobody() };
        peer.commands.hand_over(packed, expect, retry, slot)
    }

    /// Changes a subscription.
    pub(crate) fn change(&self, confirm: Confirm) -> Asking {
        let state = self.state.lock();
        let slot = match confirm.what {
            Subscribing::Shard(_) => Some(slot(&confirm.channel)),
            _ => None,
        };
        match state.owner(slot) {
            Some(peer) => subscribe(peer, confirm),
            None => Asking::nobody(),
        }
    }

    /// The Cluster may have changed.
    pub(crate) fn look_again(&self) {
        self.stale.notify_one();
    }

    pub(super) fn tasks(&self) -> &TaskTracker {
        &self.tasks
    }

    pub(crate) fn peers(&self) -> Vec<Arc<Peer>> {
        self.state.lock().peers.iter().map(|entry| entry.peer.clone()).collect()
    }

    /// Whether a key or channel belongs to a server.
    pub(super) fn owns(&self, peer: &Peer, key: &str) -> bool {
        let state = self.state.lock();
        let slot = (!state.slots.is_empty()).then(|| slot(key));
        state.owner(slot).is_some_and(|owner| owner.id == peer.id)
    }

    /// Whether classic subscriptions, which a Cluster's servers share, are this one's.
    pub(super) fn is_first(&self, peer: &Peer) -> bool {
        self.state.lock().owner(None).is_some_and(|first| first.id == peer.id)
    }

    /// Gives each command that waits at a server to where it belongs.
    pub(super) fn redirect(self: &Arc<Self>, from: &Arc<Peer>) {
        let state = &mut *self.state.lock();
        let drained = from.commands.drain();
        for (_, redirect) in &drained {
            if let Some(Redirect::Moved(slot, to)) = redirect {
                self.stale.notify_one();
                if let Some(to) = address(to, from)
                    && let Some(Some(owner)) = state.slots.get(usize::from(*slot))
                    && owner.id == from.id
                {
                    let peer = self.at(state, to);
                    state.slots[usize::from(*slot)] = Some(peer);
                }
            }
        }
        for (request, _) in drained {
            state.owner(request.slot).unwrap_or(from).commands.adopt(request);
        }
    }

    /// The Cluster's slots are these. Servers that have none left are given up. A slot whose old owner still has commands for it is
    /// left for another time: they are answered first, or sent on, and nothing overtakes them.
    pub(super) fn arrange(self: &Arc<Self>, ranges: Vec<(u16, u16, Address)>) {
        let state = &mut *self.state.lock();
        let mut slots = vec![None; usize::from(SLOTS)];
        for (first, last, address) in ranges {
            let peer = self.at(state, address);
            if let Some(range) = slots.get_mut(usize::from(first)..=usize::from(last)) {
                range.fill(Some(peer));
            }
        }
        let mut is_left = false;
        for (slot, (before, now)) in (0..).zip(state.slots.iter().zip(&mut slots)) {
            if let (Some(before), Some(owner)) = (before, &*now)
                && before.id != owner.id
                && before.commands.holds(slot)
            {
                *now = Some(before.clone());
                is_left = true;
            }
        }
        if is_left {
            self.stale.notify_one();
        }
        let before = std::mem::replace(&mut state.slots, slots);
        let owners: Vec<u32> = {
            let mut owners: Vec<u32> = state.slots.iter().flatten().map(|peer| peer.id).collect();
            owners.dedup();
            owners
        };
        let gone: Vec<_> = state.peers.extract_if(.., |entry| !owners.contains(&entry.peer.id)).collect();
        for entry in gone {
            entry.stop.cancel();
            let held = entry.peer.commands.drain();
            entry.peer.commands.close();
            entry.peer.pushes.close();
            for (request, _) in held {
                match state.owner(request.slot) {
                    Some(owner) => owner.commands.adopt(request),
                    None => request.fail(crate::wire::Lost::Unsent),
                }
            }
            self.node.runs.lock().remove(&entry.peer.id);
            self.node.health.forget(entry.peer.id);
        }
        // What was held back for a server that is away goes where it belongs now.
        for entry in state.peers.iter().filter(|entry| !entry.peer.commands.is_up()) {
            for (request, _) in entry.peer.commands.drain() {
                state.owner(request.slot).unwrap_or(&entry.peer).commands.adopt(request);
            }
        }
        let has_moved = before.iter().zip(&state.slots).map(|(before, now)| match (before, now) {
            (Some(before), Some(now)) => before.id != now.id,
            _ => false,
        });
        let moved: Vec<bool> = has_moved.collect();
        if moved.contains(&true) {
            let servers = self.clone();
            let stop = self.stop.clone();
            self.tasks.spawn(async move {
                stop.run_until_cancelled_owned(async move { servers.resubscribe(&moved).await }).await
            });
        }
    }

    /// The server at an address.
    fn at(self: &Arc<Self>, state: &mut State, address: Address) -> Arc<Peer> {
        let held = state.peers.iter().find(|entry| entry.peer.address.as_ref() == Some(&address));
        match held {
            Some(entry) => entry.peer.clone(),
            None => self.add(state, Some(address)),
        }
    }

    fn add(self: &Arc<Self>, state: &mut State, address: Option<Address>) -> Arc<Peer> {
        let peer = Arc::new(Peer::new(state.next, address, &self.node.settings));
        state.next += 1;
        self.node.health.expect(peer.id);
        let stop = self.stop.child_token();
        for role in [Role::Commands, Role::Pushes] {
            let (stop, keep) = (stop.clone(), self.clone().keep(peer.clone(), role));
            self.tasks.spawn(async move { stop.run_until_cancelled_owned(keep).await });
        }
        state.peers.push(Entry { peer: peer.clone(), stop });
        peer
    }
}

impl State {
    /// The owner of a slot; without one, the first server.
    fn owner(&self, slot: Option<u16>) -> Option<&Arc<Peer>> {
        match slot {
            Some(slot) => self.slots.get(usize::from(slot))?.as_ref(),
            None => self.peers.first().map(|entry| &entry.peer),
        }
    }
}

pub(super) fn subscribe(peer: &Peer, confirm: Confirm) -> Asking {
    let command = confirm.what.command(&confirm.channel);
    peer.pushes.hand_over(command, Expect::Confirm(confirm), Retry::No, None)
}

/// `host:port`; without a host it is that of the server that said so.
fn address(text: &str, by: &Peer) -> Option<Address> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match (host, &by.address) {
        ("" | "?", Some(Address::Tcp(host, _))) => host,
        (host, _) => host,
    };
    Some(Address::Tcp(host.to_owned(), port.parse().ok()?))
}
