//! Measures Windlass: `cargo run --release --manifest-path bench/Cargo.toml -- --backend sqlite [--quick] [--json FILE]`.
//!
//! Every workload starts on a fresh database; figures are medians of several runs with their minimum and maximum.

mod report;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use report::{Report, Row};
use windlass::Client;
use work::{Result, Sizes};

#[derive(Parser)]
struct Args {
    /// What to measure on.
    #[arg(long, default_value = "sqlite", value_parser = ["sqlite", "memory"])]
    backend: String,
    /// One small run of each, to see that all works.
    #[arg(long)]
    quick: bool,
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
    let mut report = Report::default();
    for (workload, config, unit) in WORKLOADS {
        if args.backend == "memory" && *workload == "latency, other process" {
            continue;
        }
        let mut values: Vec<Vec<f64>> = Vec::new();
        for _ in 0..sizes.runs {
            let dir = tempfile::tempdir()?;
            let url = match args.backend.as_str() {
                "memory" => "memory:".to_owned(),
                _ => format!("sqlite:{}", dir.path().join("jobs.db").display()),
            };
            let client = windlass::connect(&url).await?;
            values.push(measure(workload, &client, &url, &sizes).await?);
            client.close().await?;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let names: &[&str] = if *unit == "ms" { &[" p50", " p99"] } else { &[""] };
        for (i, name) in names.iter().enumerate() {
            let column = values.iter().map(|run| run[i]).collect();
            report.add(Row::new(&args.backend, &format!("{workload}{name}"), config, unit, column));
        }
    }
    report.print();
    if let Some(path) = args.json {
        std::fs::write(path, report.json()?)?;
    }
    Ok(())
}

/// Workload, configuration, unit.
const WORKLOADS: &[(&str, &str, &str)] = &[
    ("enqueue 1 at once", "default", "jobs/s"),
    ("enqueue 8 at once", "default", "jobs/s"),
    ("enqueue 64 at once", "default", "jobs/s"),
    ("enqueue in bulks of 1,000", "default", "jobs/s"),
    ("drain of no-op jobs", "concurrency 100", "jobs/s"),
    ("latency, same process", "idle queue", "ms"),
    ("latency, other process", "idle queue", "ms"),
];

async fn measure(workload: &str, client: &Client, url: &str, sizes: &Sizes) -> Result<Vec<f64>> {
    Ok(match workload {
        "enqueue 1 at once" => vec![work::enqueue(client, 1, sizes.singles).await?],
        "enqueue 8 at once" => vec![work::enqueue(client, 8, sizes.singles * 4).await?],
        "enqueue 64 at once" => vec![work::enqueue(client, 64, sizes.singles * 8).await?],
        "enqueue in bulks of 1,000" => vec![work::enqueue_bulk(client, sizes.bulk).await?],
        "drain of no-op jobs" => vec![work::drain(client, sizes.bulk).await?],
        "latency, same process" => work::latency(client, sizes.latencies).await?,
        "latency, other process" => work::latency_across(client, url, sizes.latencies).await?,
        other => return Err(format!("unknown workload {other}").into()),
    })
}
