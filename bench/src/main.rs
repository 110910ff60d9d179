//! Measures Windlass, its peers and loops without a library, side by side on one server:
//! `cargo run --release --manifest-path bench/Cargo.toml -- --backend sqlite|postgres|redis [--quick]`.
//!
//! Each system is a program of its own (see `contestant/`), which this one builds and runs. Every run starts on a fresh database; rounds take the
//! systems in turn; figures are medians with their minimum and maximum. A Postgres server is started for the run, with the settings
//! that the packages give it and no others that weaken a commit; a Redis server with an append-only file synced every second.

mod calls;
mod contestants;
mod heavy;
mod idle;
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
use std::path::{Path, PathBuf};

use clap::Parser;
use place::Place;
use report::{Report, Row};
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
    let sizes = if args.quick { Sizes::quick() } else { Sizes::full() };
    let contestants = contestants::prepare(&args.backend, &args.systems)?;
    let mut runner = Runner {
        place: Place::open(&args.backend).await?,
        works: works::all(&sizes),
        sizes,
        contestants,
        report: Report::default(),
        paces: HashMap::new(),
        backend: args.backend,
        only: args.only,
    };
    // Told once what was measured has been reported.
    let ended = all(&mut runner, args.quick).await;
    println!("{}", runner.report.markdown(&[]));
    if let Some(path) = args.json {
        std::fs::write(path, runner.report.json()?)?;
    }
    if let Some(folder) = args.out {
        publish(&runner.backend, &runner.report, &folder)?;
    }
    ended
}

async fn all(runner: &mut Runner, quick: bool) -> Result<()> {
    runner.works().await?;
    idle::run(runner).await?;
    heavy::run(runner).await?;
    special::run(runner, quick).await
}

/// Writes the tables of a backend, and its plots.
fn publish(backend: &str, report: &Report, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let mut plots = Vec::new();
    for workload in report.workloads() {
        let rows: Vec<&Row> = report.rows().iter().filter(|row| row.workload == workload).collect();
        if let Some(svg) = plot::svg(workload, &rows) {
            let file = plot::file(backend, workload);
            std::fs::write(folder.join(&file), svg)?;
            plots.push((workload.to_owned(), file));
        }
    }
    std::fs::write(folder.join(format!("{backend}.md")), report.markdown(&plots))?;
    Ok(())
}
