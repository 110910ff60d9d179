//! First figures: how fast jobs go in and come out through calls of the backend alone, without a worker runtime. They stay in a schema of
//! their own, to be looked at and dropped.
//!
//! `cargo run --release -p windlass-postgres --example postgres_throughput -- URL [JOBS [BATCH]]`

use std::time::{Duration, Instant};

use windlass_core::{
    AttemptOutcome, Backend, ClaimRequest, Kind, KindSlots, NewJob, Payload, Queue, QueueName,
    QueueSlots, Result, Settlement, Store, WorkerInfo,
};
use windlass_postgres::{PostgresBackend, PostgresOptions};

fn main() -> Result<()> {
    let url = std::env::args().nth(1).unwrap_or_default();
    let mut args = std::env::args().skip(2).filter_map(|arg| arg.parse::<usize>().ok());
    let (jobs, batch) = (args.next().unwrap_or(100_000), args.next().unwrap_or(1_000));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| windlass_core::Error::Config(e.to_string().into()))?;
    runtime.block_on(run(&url, jobs, batch))
}

async fn run(url: &str, jobs: usize, batch: usize) -> Result<()> {
    let options =
        PostgresOptions::from_url(url)?.schema(format!("bench_{}", std::process::id()))?;
    let backend = PostgresBackend::open(options).await?;
    let (kind, queue) = (Kind::new("bench")?, QueueName::new("bench")?);
    let payload = Payload::json(&serde_json::json!({ "text": "x".repeat(85) }))?;
    let job = || NewJob::new(kind.clone(), queue.clone(), payload.clone());

    let start = Instant::now();
    for _ in 0..2_000 {
        backend.insert(&[job()]).await?;
    }
    report("insert singly", 2_000, start);

    let start = Instant::now();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (backend, new): (_, Vec<NewJob>) =
                (backend.clone(), (0..1_000).map(|_| job()).collect());
            tokio::spawn(async move {
                for job in new {
                    backend.insert(&[job]).await?;
                }
                Ok::<_, windlass_core::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.map_err(|e| windlass_core::Error::Config(e.to_string().into()))??;
    }
    report("insert, 8 at once", 8_000, start);

    let start = Instant::now();
    let mut left = jobs - 10_000.min(jobs);
    while left > 0 {
        let count = left.min(10_000);
        let new: Vec<NewJob> = (0..count).map(|_| job()).collect();
        backend.insert(&new).await?;
        left -= count;
    }
    report("insert by 10,000", jobs - 10_000.min(jobs), start);

    let worker = WorkerInfo::new("bench", Duration::from_secs(60), vec![queue.clone()]);
    backend.register(&worker).await?;
    let request = || {
        let slots = QueueSlots { queue: queue.clone(), limit: u32::try_from(batch).unwrap_or(1) };
        let kinds = vec![KindSlots { kind: kind.clone(), limit: None }];
        ClaimRequest::new(worker.id, vec![slots], kinds)
    };
    let start = Instant::now();
    let (mut done, mut claiming, mut settling) = (0, Duration::ZERO, Duration::ZERO);
    loop {
        let step = Instant::now();
        let leases = backend.claim(&request()).await?.leases;
        claiming += step.elapsed();
        if leases.is_empty() {
            break;
        }
        let outcome = || AttemptOutcome::Completed { result: None, blobs: Vec::new() };
        let outcomes: Vec<_> = leases.iter().map(|l| Settlement::new(l.key, outcome())).collect();
        let step = Instant::now();
        done += backend.settle(&outcomes).await?.len();
        settling += step.elapsed();
    }
    report("claim and settle", done, start);
    println!("  of which claim {claiming:.2?}, settle {settling:.2?}");
    backend.close().await
}

fn report(what: &str, jobs: usize, start: Instant) {
    let taken = start.elapsed();
    let rate = jobs as f64 / taken.as_secs_f64();
    println!("{what:<20} {jobs:>8} jobs in {taken:>8.2?}: {rate:>9.0}/s");
}
