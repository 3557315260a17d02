//! Quiet points: nothing goes wrong, nothing is published, and all settles.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fanfare::{Stats, backend::BackendState};
use tokio::time::{sleep, timeout};

use super::{gate::Phase, growth::Sample, world::World};

/// How long anything may take to settle, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Lets all settle, holds it against the truth, and says what the process takes.
pub(super) async fn settle(world: &Arc<World>) -> Option<Sample> {
    world.gate.set(Phase::Quiet);
    if timeout(PATIENCE * 2, world.gate.idle()).await.is_err() {
        world.verdict.wrong("quiet point", "somebody publishes, stops or starts for ever", String::new);
        return None;
    }
    world.site.heal();
    world.verdict.deed("quiet");
    if !until(|| is_up(world)).await {
        let states: Vec<_> =
            world.nodes.all().iter().map(|node| *node.broker.backend_state().borrow()).collect();
        world.verdict.wrong("quiet point", format!("not all nodes are up again: {states:?}"), String::new);
        return None;
    }
    if !until(|| world.verdict.is_over() || world.roster.behind(world).is_none()).await {
        world.roster.blame(world);
    }
    world.roster.check(world);
    if let Err(wrong) = world.ledger.check_logs() {
        world.verdict.wrong("ledger", wrong, String::new);
    }
    if !until(|| world.nodes.all().iter().all(|node| unbalanced(&node.broker.stats()).is_none())).await {
        for node in world.nodes.all() {
            let stats = node.broker.stats();
            if let Some(wrong) = unbalanced(&stats) {
                let what = format!("{wrong} on node {}: {stats:?}", node.slot);
                world.verdict.wrong("stats", what, String::new);
            }
        }
    }
    if world.verdict.is_over() {
        return None;
    }
    world.ledger.prune();
    Some(Sample::take(world.verdict.seconds()))
}

/// Whether a broker that does nothing has accounted for all that was offered.
fn unbalanced(stats: &Stats) -> Option<&'static str> {
    let accounted =
        [stats.delivered, stats.conflated, stats.dropped, stats.discarded, stats.resynced, stats.hidden];
    if stats.offered != accounted.iter().sum::<u64>() + stats.queued {
        return Some("messages that were offered are not accounted for");
    }
    if stats.queued > 0 || stats.queued_bytes > 0 {
        return Some("messages are queued");
    }
    if stats.publishes_in_flight > 0 {
        return Some("publishes are in flight");
    }
    if stats.shard_depths.iter().any(|depth| *depth > 0) {
        return Some("messages wait for a shard");
    }
    None
}

fn is_up(world: &World) -> bool {
    let nodes = world.nodes.all();
    nodes.len() == world.nodes.len()
        && nodes.iter().all(|node| {
            *node.broker.backend_state().borrow() == BackendState::Up
                && node.broker.nodes().len() == world.nodes.len() - 1
        })
}

async fn until(done: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > PATIENCE {
            return false;
        }
        sleep(LOOK_EVERY).await;
    }
    true
}
