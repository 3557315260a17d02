//! Random lives of a cluster, with a seed: clients come, go, are lost, come back here or elsewhere, say something else of
//! themselves; nodes die, stop, are cut off from each other; frames are late, doubled, lost. Then the faults end, and all nodes
//! that serve a topic have to agree with what is true, within the time that repairing may take; and each watcher has been
//! told a story without a contradiction, from its first snapshot to what it knows now.

mod truth;
mod watcher;
mod world;

use world::World;

/// One life.
fn live(seed: u64) {
    let mut world = World::new(seed);
    world.run();
    world.heal();
    world.check();
    world.leave();
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    let number = |name| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    match number("FANFARE_PRESENCE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("FANFARE_PRESENCE_SEEDS").unwrap_or(default),
    }
}

#[test]
fn thousands_of_lives_end_in_agreement() {
    for seed in seeds(3000) {
        let result = std::panic::catch_unwind(|| live(seed));
        if let Err(panic) = result {
            eprintln!("FANFARE_PRESENCE_SEED={seed} shows it again");
            std::panic::resume_unwind(panic);
        }
    }
}
