//! Everything at once for a long time: see [`bench::soak`], and `soak --help` for its options.

use std::process::ExitCode;

use bench::soak::{self, Options};
use clap::Parser;

fn main() -> ExitCode {
    tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::ERROR).init();
    match soak::run(&Options::parse()) {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(outcome)) => {
            for (kind, count) in &outcome.counts {
                println!("{count:>12} {kind}");
            }
            let Some(violation) = outcome.violation else {
                println!("nothing is wrong; the seed was {}", outcome.seed);
                return ExitCode::SUCCESS;
            };
            println!(
                "WRONG, seed {}, after {:.3} s, {}: {}\n{}",
                outcome.seed, violation.seconds, violation.who, violation.what, violation.story
            );
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("soak: {error:#}");
            ExitCode::from(2)
        }
    }
}
