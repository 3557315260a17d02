//! Quiet points: nothing goes wrong, nothing is published, and all settles.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use fanfare::{Stats, backend::BackendState};
use tokio::time::{sleep, timeout};

use super::{gate::Phase, growth::Sample, people, world::World};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Lets all settle, holds it against the truth, and says what the process takes.
pub(super) async fn settle(world: &Arc<World>) -> Option<Sample> {
    world.gate.set(Phase::Quiet);
    if timeout(world.patience * 2, world.gate.idle()).await.is_err() {
        world.verdict.wrong("quiet point", "somebody publishes, stops or starts for ever", String::new);
        return None;
    }
    world.site.heal();
    world.verdict.deed("quiet");
    if !until(world.patience, || is_up(world)).await {
        let states: Vec<_> =
            world.nodes.all().iter().map(|node| *node.broker.backend_state().borrow()).collect();
        world.verdict.wrong("quiet point", format!("not all nodes are up again: {states:?}"), String::new);
        return None;
    }
    if !until(world.patience, || world.verdict.is_over() || world.roster.behind(world).is_none()).await {
        world.roster.blame(world);
    }
    people_agree(world).await;
    world.roster.check(world);
    if let Err(wrong) = world.ledger.check_logs() {
        world.verdict.wrong("ledger", wrong, String::new);
    }
    if !until(world.patience, || {
        world.nodes.all().iter().all(|node| unbalanced(&node.broker.stats()).is_none())
    })
    .await
    {
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

/// Every node knows who is there, every client that watches was told, and all answer.
async fn people_agree(world: &World) {
    let began = Instant::now();
    let wrong = loop {
        let wrong = match people::mistaken(world).await {
            Some(wrong) => Some(wrong),
            None => people::believes_wrong(world),
        };
        if wrong.is_none() || began.elapsed() > world.patience || world.verdict.is_over() {
            break wrong;
        }
        sleep(LOOK_EVERY * 5).await;
    };
    let wrong = match wrong {
        Some(wrong) => Some(wrong),
        None => people::silent(world).await,
    };
    if let Some(wrong) = wrong {
        world.verdict.wrong("people", wrong, String::new);
    }
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

async fn until(patience: Duration, done: impl Fn() -> bool) -> bool {
    let began = Instant::now();
    while !done() {
        if began.elapsed() > patience {
            return false;
        }
        sleep(LOOK_EVERY).await;
    }
    true
}
