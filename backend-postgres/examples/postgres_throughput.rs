//! First figures: how fast jobs go in and come out through calls of the backend alone, and through a worker, and how long one takes from the enqueue
//! to its handler on an idle queue. They stay in a schema of their own, to be looked at and dropped.
//!
//! `cargo run --release -p windlass-postgres --example postgres_throughput -- URL [JOBS [BATCH]]`

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use windlass_core::{
    AttemptOutcome, Backend, ClaimRequest, Client, Context, Job, Kind, KindSlots, NewJob, Outcome,
    Payload, Queue, QueueName, QueueSlots, Result, Settlement, Store, Worker, WorkerInfo,
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
    backend.deregister(worker.id).await?;
    through_a_worker(&backend, jobs).await?;
    backend.close().await
}

/// A job that only notes that it ran.
#[derive(Serialize, Deserialize)]
struct Noop {
    text: String,
}

impl Job for Noop {
    const KIND: &'static str = "noop";
    const QUEUE: &'static str = "noop";
    type Output = ();
}

/// What ran.
#[derive(Default)]
struct Ran {
    jobs: AtomicUsize,
    told: tokio::sync::Notify,
    starts: Mutex<Vec<Instant>>,
}

async fn noop(_: Noop, cx: Context<Arc<Ran>>) -> Outcome {
    let ran = cx.state();
    ran.starts.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(Instant::now());
    ran.jobs.fetch_add(1, Ordering::Relaxed);
    ran.told.notify_one();
    Ok(())
}

async fn through_a_worker(backend: &PostgresBackend, jobs: usize) -> Result<()> {
    let client = Client::new(Arc::new(backend.clone()));
    let new = || Noop { text: "x".repeat(85) };
    let mut left = jobs;
    while left > 0 {
        let count = left.min(1_000);
        client.enqueue_many((0..count).map(|_| new()).collect::<Vec<_>>()).await?;
        left -= count;
    }
    let ran = Arc::new(Ran::default());
    let (start, used) = (Instant::now(), cpu());
    let worker = Worker::new(&client).state(ran.clone()).register(noop).queue("noop", 100);
    let worker = worker.start()?;
    while ran.jobs.load(Ordering::Relaxed) < jobs || unfinished(&client).await? > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    report("through a worker", jobs, start);
    let own = (cpu() - used) * 1e6 / jobs as f64;
    println!("  of which this process used {own:.1} us of CPU per job");
    let mut latencies = Vec::new();
    for done in jobs + 1..=jobs + 500 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let start = Instant::now();
        client.enqueue(new()).await?;
        // It may have been told of one before.
        while ran.jobs.load(Ordering::Relaxed) < done {
            ran.told.notified().await;
        }
        let starts = std::mem::take(
            &mut *ran.starts.lock().unwrap_or_else(std::sync::PoisonError::into_inner),
        );
        latencies.extend(starts.last().map(|at| at.saturating_duration_since(start)));
    }
    latencies.sort_unstable();
    let at = |share: f64| latencies.get((latencies.len() as f64 * share) as usize);
    println!("from enqueue to handler: p50 {:.2?}, p99 {:.2?}", at(0.5), at(0.99));
    worker.stop().await
}

async fn unfinished(client: &Client<PostgresBackend>) -> Result<u64> {
    let counts = client.stats().await?.counts;
    Ok(counts.iter().filter(|count| !count.state.is_final()).map(|count| count.jobs).sum())
}

/// Seconds of CPU that this process has used, where the system tells.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn report(what: &str, jobs: usize, start: Instant) {
    let taken = start.elapsed();
    let rate = jobs as f64 / taken.as_secs_f64();
    println!("{what:<20} {jobs:>8} jobs in {taken:>8.2?}: {rate:>9.0}/s");
}
