//! Everything at once, again and again: nothing piles up.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::server::undisturbed;
use crate::{
    abrupt, budgets, commands, endless, framing, handshake, headers, names, pings, plain, queues,
    subscriptions, utf8,
};

const ROUNDS: usize = 1000;
/// The allocator takes its room in these.
const WARM_UP: usize = 30;
const AT_ONCE: usize = 4;
/// Bytes of resident memory.
const GROWS_AT_MOST: u64 = 16 << 20;

fn everything(address: SocketAddr, round: usize) {
    handshake::all(address);
    headers::all(address);
    framing::all(address);
    utf8::all(address);
    endless::all(address);
    commands::all(address);
    names::all(address);
    subscriptions::all(address);
    budgets::all(address);
    pings::all(address);
    plain::all(address);
    abrupt::round(address, round);
    queues::leaves_unread(address, round);
}

/// Rounds with these numbers, some at the same time.
fn rounds(address: SocketAddr, from: usize, to: usize) {
    let next = AtomicUsize::new(from);
    std::thread::scope(|threads| {
        for _ in 0..AT_ONCE {
            threads.spawn(|| {
                loop {
                    let round = next.fetch_add(1, Ordering::Relaxed);
                    if round >= to {
                        return;
                    }
                    everything(address, round);
                }
            });
        }
    });
}

#[test]
fn a_thousand_rounds_of_everything_leave_nothing() {
    // Sessions of those who broke off are kept for a while: as many after the first rounds as after the last.
    undisturbed(&["--parked-sessions", "20"], |server| {
        rounds(server.address, 0, WARM_UP);
        let before = server.resident();
        rounds(server.address, WARM_UP, WARM_UP + ROUNDS);
        let grown = server.resident().saturating_sub(before);
        println!("{before} bytes resident before, {grown} more after {ROUNDS} rounds");
        assert!(grown <= GROWS_AT_MOST, "{grown} bytes more after {ROUNDS} rounds");
    });
}
