//! Measures Windlass: `cargo run --release --manifest-path bench/Cargo.toml -- --backend sqlite|postgres|redis|memory [--quick] [--json FILE]`.
//!
//! Every workload starts on a fresh database; figures are medians of several runs with their minimum and maximum. A Postgres server is
//! started for the run, with the settings that the packages give it and no others that weaken a commit; a Redis server with an append-only
//! file synced every second.

mod calls;
mod place;
mod postgres;
mod redis;
mod report;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use place::Place;
use report::{Report, Row};
use windlass::Client;
use work::{Result, Sizes};

#[derive(Parser)]
struct Args {
    /// What to measure on.
    #[arg(long, default_value = "sqlite", value_parser = ["sqlite", "postgres", "redis", "memory"])]
    backend: String,
    /// One small run of each, to see that all works.
    #[arg(long)]
    quick: bool,
    /// Only the workloads whose names hold this text.
    #[arg(long)]
    only: Option<String>,
    /// Write the rows to this file as JSON, one object per row.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Internal: work on this database until the standard input closes, printing latencies.
    #[arg(long, hide = true)]
    latency_worker: Option<String>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(url) = args.latency_worker {
        return work::latency_child(&url).await;
    }
    let sizes = if args.quick { Sizes::quick() } else { Sizes::full() };
    let place = Place::open(&args.backend).await?;
    let mut report = Report::default();
    // Told once all has been reported.
    let mut promises = Ok(());
    for workload in WORKLOADS {
        let wanted = args.only.as_ref().is_none_or(|text| workload.name.contains(text.as_str()));
        if !wanted || !workload.backends.contains(&args.backend.as_str()) {
            continue;
        }
        let mut runs: Vec<Vec<f64>> = Vec::new();
        for _ in 0..sizes.runs {
            let database = place.create().await?;
            let client = windlass::connect(&database.url).await?;
            runs.push(measure(workload.name, &client, &database.url, &sizes).await?);
            client.close().await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
            place.remove(database).await?;
        }
        if workload.name == "pinned xmin" && !args.quick {
            promises = postgres::check_pinned(&runs);
        }
        for (i, (part, unit)) in workload.columns.iter().enumerate() {
            let column = runs.iter().map(|run| run[i]).collect();
            let name = format!("{}{part}", workload.name);
            report.add(Row::new(&args.backend, &name, workload.config, unit, column));
        }
    }
    let sizes_wanted = args.only.as_ref().is_none_or(|text| "table sizes".contains(text.as_str()));
    if args.backend == "postgres" && sizes_wanted {
        let database = place.create().await?;
        for (relation, bytes) in postgres::table_sizes(&database.url, sizes.kept).await? {
            let name = format!("table sizes after {} jobs: {relation}", sizes.kept);
            let config = format!("{bytes} bytes in all");
            let each = bytes / sizes.kept as f64;
            report.add(Row::new(&args.backend, &name, &config, "bytes/job", vec![each]));
        }
        place.remove(database).await?;
    }
    let memory_wanted = args.only.as_ref().is_none_or(|text| "memory".contains(text.as_str()));
    if let Place::Redis(server) = &place
        && memory_wanted
    {
        let database = place.create().await?;
        let config = format!("{} jobs", sizes.kept);
        for (name, value, unit) in
            redis::memory_and_pruning(server, &database.url, sizes.kept).await?
        {
            report.add(Row::new(&args.backend, &name, &config, unit, vec![value]));
        }
        place.remove(database).await?;
    }
    report.print();
    if let Some(path) = args.json {
        std::fs::write(path, report.json()?)?;
    }
    promises
}

struct Workload {
    name: &'static str,
    config: &'static str,
    /// What is added to the name for each figure, and its unit.
    columns: &'static [(&'static str, &'static str)],
    backends: &'static [&'static str],
}

const RATE: &[(&str, &str)] = &[("", "jobs/s")];
const LATENCY: &[(&str, &str)] = &[(" p50", "ms"), (" p99", "ms")];
const PINNED: &[(&str, &str)] = &[
    (", claim rate of the last tenth over the first", "ratio"),
    (", rate with settling of the last tenth over the first", "ratio"),
    (", claimed and settled", "jobs/s"),
    (", longest wait of a job committed late", "ms"),
];
const ALL: &[&str] = &["sqlite", "postgres", "redis", "memory"];
const SHARED: &[&str] = &["sqlite", "postgres", "redis"];

const WORKLOADS: &[Workload] = &[
    of("enqueue 1 at once", "default", RATE, ALL),
    of("enqueue 8 at once", "default", RATE, ALL),
    of("enqueue 64 at once", "default", RATE, ALL),
    of("enqueue in bulks of 1,000", "default", RATE, ALL),
    of("drain of no-op jobs", "concurrency 100", RATE, ALL),
    of("latency, same process", "idle queue", LATENCY, ALL),
    of("latency, other process", "idle queue", LATENCY, SHARED),
    of("pinned xmin", "calls of the backend by 500", PINNED, &["postgres"]),
];

const fn of(
    name: &'static str,
    config: &'static str,
    columns: &'static [(&'static str, &'static str)],
    backends: &'static [&'static str],
) -> Workload {
    Workload { name, config, columns, backends }
}

async fn measure(workload: &str, client: &Client, url: &str, sizes: &Sizes) -> Result<Vec<f64>> {
    Ok(match workload {
        "enqueue 1 at once" => vec![work::enqueue(client, 1, sizes.singles).await?],
        "enqueue 8 at once" => vec![work::enqueue(client, 8, sizes.singles * 4).await?],
        "enqueue 64 at once" => vec![work::enqueue(client, 64, sizes.singles * 8).await?],
        "enqueue in bulks of 1,000" => vec![work::enqueue_bulk(client, sizes.bulk).await?],
        "drain of no-op jobs" => vec![work::drain(client, sizes.bulk).await?],
        "latency, same process" => work::latency(client, sizes.latencies).await?,
        "latency, other process" => work::latency_across(client, url, sizes.latencies).await?,
        "pinned xmin" => postgres::pinned(url, sizes.bulk * 2).await?,
        other => return Err(format!("unknown workload {other}").into()),
    })
}
