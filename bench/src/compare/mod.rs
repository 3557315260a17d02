//! `compare`: servers under the same load, in turn, so that what the machine does meanwhile meets all alike.
//!
//! A *cell* is a server under a workload, `fanfare/fanout`. Each round runs every cell once, each against a
//! fresh server; a ratio is taken within a round, and the median over the rounds is what counts. The server
//! has one core to itself, the load generator another.

mod contender;
mod launch;
mod table;
mod workload;

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;

use contender::Contender;
use table::Results;
use workload::Workload;

/// Runs servers under the same load, in turn, and prints medians and paired ratios.
#[derive(Clone, Debug, Parser)]
#[command(name = "compare", version, after_help = after_help())]
pub struct Options {
    /// What to run, as SERVER/WORKLOAD; the first is what the others are compared with
    #[arg(required = true, value_name = "SERVER/WORKLOAD")]
    pub cells: Vec<String>,
    /// Rounds, in each of which every cell runs once
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// Worker threads of the servers
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub threads: u32,
    /// Length of a run under load, in seconds
    #[arg(long, default_value_t = 4.0)]
    pub seconds: f64,
    /// Leave server and load generator to the scheduler, in place of core 0 and core 1
    #[arg(long)]
    pub unpinned: bool,
    /// Another server, as NAME=WIRE:COMMAND or, where subscribers connect elsewhere than is usual on that wire,
    /// NAME=WIRE/PATH:COMMAND; {port} and {threads} are replaced in the command
    #[arg(long = "server", value_name = "NAME=WIRE:COMMAND")]
    pub servers: Vec<String>,
    /// File to which each run's report is appended, one line of JSON each
    #[arg(long)]
    pub out: Option<PathBuf>,
    /// Further options of the load generator, after --
    #[arg(last = true)]
    pub fan: Vec<String>,
}

/// Runs all rounds, printing each run, and prints the table.
///
/// # Errors
///
/// When a server does not start, or the load generator fails: there is nothing to compare then. What a
/// server loses or doubles is in the table instead.
pub fn run(options: &Options) -> Result<()> {
    ensure!(options.seconds.is_finite() && options.seconds >= 1.0, "--seconds must be at least 1");
    let mut contenders = contender::builtin()?;
    for server in &options.servers {
        contenders.insert(0, Contender::parse(server)?);
    }
    let cells = options
        .cells
        .iter()
        .map(|cell| parse_cell(cell, &contenders))
        .collect::<Result<Vec<(&Contender, &Workload)>>>()?;

    let mut results = Results::new(&options.cells, cells[0].1.metric);
    for round in 0..options.runs {
        for (at, (contender, workload)) in cells.iter().enumerate() {
            let name = &options.cells[at];
            let outcome = launch::run(options, name, contender, workload).with_context(|| name.clone())?;
            println!("{:>3}  {}", round + 1, table::run_line(name, &outcome));
            if let Some(path) = &options.out {
                let mut file = OpenOptions::new().create(true).append(true).open(path)?;
                writeln!(file, "{}", outcome.report.to_json())?;
            }
            results.add(at, outcome);
        }
    }
    print!("\n{results}");
    Ok(())
}

fn parse_cell<'a>(cell: &str, contenders: &'a [Contender]) -> Result<(&'a Contender, &'static Workload)> {
    let (server, work) = cell.split_once('/').with_context(|| format!("{cell} is not SERVER/WORKLOAD"))?;
    let Some(contender) = contenders.iter().find(|contender| contender.name == server) else {
        let known: Vec<_> = contenders.iter().map(|contender| contender.name.as_str()).collect();
        bail!("no server is named {server}: {}", known.join(", "));
    };
    let Some(workload) = workload::ALL.iter().find(|workload| workload.name == work) else {
        let known: Vec<_> = workload::ALL.iter().map(|workload| workload.name).collect();
        bail!("no workload is named {work}: {}", known.join(", "));
    };
    Ok((contender, workload))
}

fn after_help() -> String {
    let mut help = String::from(
        "Servers: fanfare, fanfare-plain, fanfare-log, fanfare-sse, fanfare-sse-v1, fanfare-sse-http, \
         fanfare-sse-log, peer, peer-4k, peer-sse, and those of --server\nWorkloads:\n",
    );
    for workload in workload::ALL {
        help.push_str(&format!("  {:<12} {}\n", workload.name, workload.about));
    }
    help
}
