//! The workloads.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use windlass::{Client, Context, Job, Outcome, Worker};

pub type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

pub struct Sizes {
    pub runs: usize,
    pub singles: u64,
    pub bulk: u64,
    pub latencies: usize,
    /// Jobs after which tables are weighed.
    pub kept: u64,
}

impl Sizes {
    pub fn quick() -> Self {
        Self { runs: 1, singles: 200, bulk: 5_000, latencies: 50, kept: 5_000 }
    }

    pub fn full() -> Self {
        Self { runs: 5, singles: 5_000, bulk: 100_000, latencies: 1_000, kept: 1_000_000 }
    }
}

/// About 100 bytes of args.
#[derive(Job, Serialize, Deserialize)]
#[job(kind = "noop")]
struct Noop {
    number: u64,
    padding: String,
}

impl Noop {
    fn new(number: u64) -> Self {
        Self { number, padding: "x".repeat(64) }
    }
}

#[derive(Job, Serialize, Deserialize)]
#[job(kind = "stamp")]
struct Stamp {
    sent_at: u128,
}

fn nanos() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

pub async fn enqueue(client: &Client, at_once: u64, jobs: u64) -> Result<f64> {
    let started = Instant::now();
    let tasks: Vec<_> = (0..at_once)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                for n in 0..jobs / at_once {
                    client.enqueue(Noop::new(n)).await?;
                }
                Ok::<_, windlass::Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok(jobs as f64 / started.elapsed().as_secs_f64())
}

pub async fn enqueue_bulk(client: &Client, jobs: u64) -> Result<f64> {
    let started = Instant::now();
    for n in 0..jobs / 1_000 {
        client.enqueue_many((0..1_000).map(|i| Noop::new(n * 1_000 + i))).await?;
    }
    Ok(jobs as f64 / started.elapsed().as_secs_f64())
}

pub async fn drain(client: &Client, jobs: u64) -> Result<f64> {
    enqueue_bulk(client, jobs).await?;
    let done = Arc::new(AtomicU64::new(0));
    async fn noop(_: Noop, cx: Context<Arc<AtomicU64>>) -> Outcome {
        cx.state().fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
    let started = Instant::now();
    let worker =
        Worker::new(client).state(done.clone()).register(noop).queue("default", 100).start()?;
    // Done when the store says so, not when the handlers have run.
    loop {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if done.load(Ordering::Relaxed) >= jobs {
            let stats = client.stats().await?;
            if stats.in_state(windlass::State::Completed) == jobs {
                break;
            }
        }
    }
    let rate = jobs as f64 / started.elapsed().as_secs_f64();
    worker.stop().await?;
    Ok(rate)
}

async fn stamp(job: Stamp, cx: Context<mpsc::UnboundedSender<f64>>) -> Outcome {
    let _ = cx.state().send((nanos() - job.sent_at) as f64 / 1e6);
    Ok(())
}

pub async fn latency(client: &Client, samples: usize) -> Result<Vec<f64>> {
    let (tx, mut rx) = mpsc::unbounded_channel();
    let worker = Worker::new(client).state(tx).register(stamp).queue("default", 8).start()?;
    let mut seen = Vec::with_capacity(samples);
    for _ in 0..samples {
        tokio::time::sleep(Duration::from_millis(5)).await;
        client.enqueue(Stamp { sent_at: nanos() }).await?;
        seen.push(rx.recv().await.ok_or("the worker ended")?);
    }
    worker.stop().await?;
    Ok(percentiles(seen))
}

/// The worker runs in a child process and prints each latency as a line.
pub async fn latency_across(client: &Client, url: &str, samples: usize) -> Result<Vec<f64>> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--latency-worker", url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let out = child.stdout.take().ok_or("no output of the child")?;
    let (tx, mut rx) = mpsc::unbounded_channel();
    let reader = std::thread::spawn(move || {
        for line in BufReader::new(out).lines().map_while(|line| line.ok()) {
            let _ = tx.send(line.parse::<f64>());
        }
    });
    let mut seen = Vec::with_capacity(samples);
    for n in 0..=samples {
        tokio::time::sleep(Duration::from_millis(5)).await;
        client.enqueue(Stamp { sent_at: nanos() }).await?;
        let latency = rx.recv().await.ok_or("the child ended")??;
        if n > 0 {
            seen.push(latency); // the first one includes the child's start
        }
    }
    drop(child.stdin.take());
    child.wait()?;
    reader.join().map_err(|_| "the reader panicked")?;
    Ok(percentiles(seen))
}

pub async fn latency_child(url: &str) -> Result<()> {
    let client = windlass::connect(url).await?;
    let (tx, mut rx) = mpsc::unbounded_channel();
    let worker = Worker::new(&client).state(tx).register(stamp).queue("default", 8).start()?;
    let stdin = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    let print = async {
        while let Some(latency) = rx.recv().await {
            println!("{latency}");
        }
    };
    tokio::select! {
        _ = stdin => {}
        () = print => {}
    }
    worker.stop().await?;
    Ok(())
}

fn percentiles(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share) as usize];
    vec![at(0.5), at(0.99)]
}
