//! The soak for some seconds: it finds nothing where nothing is broken, and what is broken on purpose it finds.

use bench::soak::{Broken, Options, Outcome, run};
use clap::Parser;

#[test]
fn a_hub_keeps_the_law() {
    keeps_the_law("memory");
}

#[test]
fn redis_keeps_the_law() {
    keeps_the_law("redis");
}

#[test]
fn nats_keeps_the_law() {
    keeps_the_law("nats");
}

#[test]
fn what_is_lost_doubled_or_out_of_order_is_noticed() {
    for broken in [Broken::Drops, Broken::Doubles, Broken::Swaps, Broken::Lies] {
        let mut options = options("memory");
        (options.broken, options.patience) = (Some(broken), 10.0);
        let outcome = soak(&options).expect("a hub needs no program");
        assert!(outcome.violation.is_some(), "{broken:?} is not noticed: {:?}", outcome.counts);
    }
}

fn keeps_the_law(carrier: &str) {
    let Some(outcome) = soak(&options(carrier)) else { return };
    assert!(outcome.violation.is_none(), "seed {}: {:#?}", outcome.seed, outcome.violation);
    for kind in ["published", "deliveries", "subscriptions", "pages", "connected"] {
        assert!(outcome.counts.get(kind).is_some_and(|count| *count > 0), "no {kind}: {:?}", outcome.counts);
    }
}

/// Without faults, which take longer than a test should.
fn options(carrier: &str) -> Options {
    Options::parse_from(["soak", carrier, "--minutes", "0.1", "--quiet-every", "3", "--calm", "--seed", "1"])
}

fn soak(options: &Options) -> Option<Outcome> {
    run(options).expect("the server and the nodes start")
}
