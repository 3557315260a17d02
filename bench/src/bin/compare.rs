//! Runs servers under the same load, in turn: see [`bench::compare`], and `compare --help` for its options.

use std::process::ExitCode;

use bench::compare::{self, Options};
use clap::Parser;

fn main() -> ExitCode {
    match compare::run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::from(2)
        }
    }
}
