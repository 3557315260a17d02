//! What a backend costs beside the bare client of its server: see [`bench::hop`], and `hop --help` for its options.

use std::process::ExitCode;

use bench::hop::{self, Options};
use clap::Parser;

fn main() -> ExitCode {
    match hop::run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hop: {error:#}");
            ExitCode::from(2)
        }
    }
}
