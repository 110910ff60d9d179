//! First figures: how fast jobs go in, come out and are pruned through calls of the backend alone, without a worker runtime; how much of the server's
//! memory they take; and the longest time that a script held up the server. The server must be one that nothing else uses: its slow log is reset.
//!
//! `cargo run --release -p windlass-redis --example redis_throughput -- URL [JOBS [BATCH]]`

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use windlass_core::{
    AttemptOutcome, Backend, ClaimRequest, Error, Kind, KindSlots, NewJob, Payload, Queue,
    QueueName, QueueSlots, Result, Retention, Settlement, Store, WorkerInfo,
};
use windlass_redis::{RedisBackend, RedisOptions};

fn main() -> Result<()> {
    let url = std::env::args().nth(1).unwrap_or_default();
    let mut args = std::env::args().skip(2).filter_map(|arg| arg.parse::<usize>().ok());
    let (jobs, batch) = (args.next().unwrap_or(100_000), args.next().unwrap_or(1_000));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|e| Error::Config(e.to_string().into()))?;
    runtime.block_on(run(&url, jobs, batch))
}

/// Watches the server itself.
struct Server(MultiplexedConnection);

impl Server {
    async fn open(url: &str) -> redis::RedisResult<Self> {
        let base = url.split('?').next().unwrap_or_default();
        let mut conn = redis::Client::open(base)?.get_multiplexed_async_connection().await?;
        let mut set = redis::cmd("CONFIG");
        // By default only the last 128 are kept.
        set.arg(&["SET", "slowlog-log-slower-than", "500", "slowlog-max-len", "1000000"]);
        let () = set.query_async(&mut conn).await?;
        Ok(Self(conn))
    }

    async fn memory(&mut self) -> redis::RedisResult<u64> {
        let info: String = redis::cmd("INFO").arg("memory").query_async(&mut self.0).await?;
        let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
        Ok(used.and_then(|used| used.trim().parse().ok()).unwrap_or(0))
    }

    /// The longest command since the last call.
    async fn longest(&mut self) -> redis::RedisResult<Duration> {
        type Entry = (i64, i64, u64, redis::Value, redis::Value, redis::Value);
        let mut get = redis::cmd("SLOWLOG");
        let entries: Vec<Entry> = get.arg(&["GET", "-1"]).query_async(&mut self.0).await?;
        let () = redis::cmd("SLOWLOG").arg("RESET").query_async(&mut self.0).await?;
        let longest = entries.iter().map(|entry| entry.2).max().unwrap_or(0);
        Ok(Duration::from_micros(longest))
    }

    async fn report(&mut self, what: &str, jobs: usize, start: Instant) -> Result<()> {
        let taken = start.elapsed();
        let rate = jobs as f64 / taken.as_secs_f64();
        let longest = self.longest().await.map_err(failed)?;
        println!(
            "{what:<22} {jobs:>8} jobs in {taken:>8.2?}: {rate:>9.0}/s, longest script {longest:.2?}"
        );
        Ok(())
    }
}

fn failed(error: redis::RedisError) -> Error {
    Error::Backend { backend: "redis", during: "measuring", source: error.into() }
}

async fn run(url: &str, jobs: usize, batch: usize) -> Result<()> {
    let options =
        RedisOptions::from_url(url)?.namespace(format!("bench-{}", std::process::id()))?;
    let backend = RedisBackend::open(options).await?;
    let mut server = Server::open(url).await.map_err(failed)?;
    let (kind, queue) = (Kind::new("bench")?, QueueName::new("bench")?);
    let payload = Payload::json(&serde_json::json!({ "text": "x".repeat(85) }))?;
    let job = || NewJob::new(kind.clone(), queue.clone(), payload.clone());
    server.longest().await.map_err(failed)?;

    let start = Instant::now();
    for _ in 0..2_000 {
        backend.insert(&[job()]).await?;
    }
    server.report("insert singly", 2_000, start).await?;

    let start = Instant::now();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let (backend, new): (_, Vec<NewJob>) =
                (backend.clone(), (0..1_000).map(|_| job()).collect());
            tokio::spawn(async move {
                for job in new {
                    backend.insert(&[job]).await?;
                }
                Ok::<_, Error>(())
            })
        })
        .collect();
    for task in tasks {
        task.await.map_err(|e| Error::Config(e.to_string().into()))??;
    }
    server.report("insert, 8 at once", 8_000, start).await?;

    let empty = server.memory().await.map_err(failed)?;
    for size in [1_000, 10_000] {
        let start = Instant::now();
        let mut left = jobs / 2;
        while left > 0 {
            let count = left.min(size);
            let new: Vec<NewJob> = (0..count).map(|_| job()).collect();
            backend.insert(&new).await?;
            left -= count;
        }
        server.report(&format!("insert by {size}"), jobs / 2, start).await?;
    }
    let bulk = jobs / 2 * 2;
    let waiting = server.memory().await.map_err(failed)?.saturating_sub(empty);
    println!("  {} bytes of memory per waiting job with its events", waiting / bulk.max(1) as u64);

    let worker = WorkerInfo::new("bench", Duration::from_secs(600), vec![queue.clone()]);
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
    server.report("claim and settle", done, start).await?;
    println!("  of which claim {claiming:.2?}, settle {settling:.2?}");
    let finished = server.memory().await.map_err(failed)?;
    let mut events = Retention::keep_all();
    events.events = Some(Duration::ZERO);
    let start = Instant::now();
    let mut pruned = 0;
    loop {
        let step = backend.prune(&events, 10_000).await?;
        pruned += step.events;
        if !step.more {
            break;
        }
    }
    server.report("prune entries", usize::try_from(pruned).unwrap_or(0), start).await?;
    let without = server.memory().await.map_err(failed)?;
    println!("  {} bytes of memory per finished job", without / done.max(1) as u64);
    println!("  {} bytes of memory for its events", (finished - without) / done.max(1) as u64);

    let mut none = Retention::keep_all();
    none.completed = Some(Duration::ZERO);
    let start = Instant::now();
    let mut pruned = 0;
    loop {
        let step = backend.prune(&none, 10_000).await?;
        pruned += step.jobs;
        if !step.more {
            break;
        }
    }
    server.report("prune jobs", usize::try_from(pruned).unwrap_or(0), start).await?;
    backend.close().await
}
