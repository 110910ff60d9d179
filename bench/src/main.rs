//! Measures Windlass, its peers and loops without a library, side by side on one server:
//! `cargo run --release --manifest-path bench/Cargo.toml -- --backend sqlite|postgres|redis [--quick]`.
//!
//! Each system is a program of its own (see `contestant/`), which this one builds and runs. Every run starts on a fresh database; rounds take the
//! systems in turn; figures are medians with their minimum and maximum. A Postgres server is started for the run, with the settings
//! that the packages give it and no others that weaken a commit; a Redis server with an append-only file synced every second.

mod aims;
mod calls;
mod contestants;
mod heavy;
mod idle;
mod machine;
mod output;
mod place;
mod plot;
mod postgres;
mod process;
mod redis;
mod report;
mod runner;
mod sizes;
mod special;
mod usage;
mod works;

use std::collections::HashMap;
use std::path::PathBuf;

use clap::Parser;
use output::Output;
use place::Place;
use report::Report;
use runner::Runner;
use sizes::Sizes;

type Error = windlass_bench_contestant::Error;
type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Parser)]
struct Args {
    /// What to measure on.
    #[arg(long, default_value = "sqlite", value_parser = ["sqlite", "postgres", "redis"])]
    backend: String,
    /// One small run of each, to see that all works.
    #[arg(long)]
    quick: bool,
    /// Only the workloads whose names hold this text.
    #[arg(long)]
    only: Option<String>,
    /// Only these systems, by their names.
    #[arg(long, value_delimiter = ',')]
    systems: Vec<String>,
    /// Write the rows to this file as JSON, one object per row.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Write tables and plots to this folder.
    #[arg(long)]
    out: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if !args.quick && !contestants::OPTIMISED {
        return Err("only --release is measured; without it, --quick shows that all works".into());
    }
    if !args.quick {
        machine::check(&std::env::temp_dir())?;
    }
    let sizes = if args.quick { Sizes::quick() } else { Sizes::full() };
    let mut report = Report::default();
    let output = Output { backend: args.backend.clone(), json: args.json, folder: args.out };
    // What can't be written is known before anything is measured.
    output.write(&report)?;
    let contestants = contestants::prepare(&args.backend, &args.systems, &mut report)?;
    let place = Place::open(&args.backend).await?;
    report.title = machine::title(&args.backend, &contestants, place.server().await?);
    if args.quick {
        report.title += "*One small run of each workload: these figures mean nothing.*\n\n";
    }
    let mut runner = Runner {
        place,
        works: works::all(&sizes),
        sizes,
        contestants,
        report,
        output,
        failed: None,
        paces: HashMap::new(),
        backend: args.backend,
        only: args.only,
    };
    // Told once what was measured has been reported.
    let ended = all(&mut runner, args.quick).await;
    println!("{}", runner.report.markdown(&[]));
    ended?;
    runner.failed.map_or(Ok(()), Err)
}

async fn all(runner: &mut Runner, quick: bool) -> Result<()> {
    runner.works().await?;
    idle::run(runner).await?;
    heavy::run(runner).await?;
    special::run(runner, quick).await?;
    works::compare(&mut runner.report);
    heavy::compare(runner);
    runner.save()
}
