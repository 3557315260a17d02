//! The load generator's program: see [`bench::fan`] for what it does and `fan --help` for its options.

use std::process::ExitCode;

use bench::fan::{self, Options};
use clap::Parser;

fn main() -> ExitCode {
    let options = Options::parse();
    match fan::run(&options) {
        Ok(report) => {
            if options.json {
                println!("{}", report.to_json());
            } else {
                print!("{report}");
            }
            if options.strict && !report.is_clean() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
        }
        Err(error) => {
            eprintln!("fan: {error:#}");
            ExitCode::from(2)
        }
    }
}
