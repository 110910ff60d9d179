//! What is measured on Redis alone: memory, and how long scripts hold up the server.

use windlass::redis::RedisBackend;
use windlass::{Backend, Retention, Store};
use windlass_test_servers::RedisServer;

use crate::Result;
use crate::calls::{Drain, fill};

/// What a worker prunes in one call by default.
const PRUNED: u32 = 1_000;
/// Scripts that took longer than so many micros are noted by the server.
const NOTED: &str = "200";

/// A name, its value and its unit.
pub type Figure = (String, f64, &'static str);

async fn used(server: &RedisServer) -> Result<f64> {
    Ok(server.info("used_memory").await?.parse()?)
}

/// The longest command since the last reset in milliseconds, and how many took longer than a few.
async fn longest(server: &RedisServer) -> Result<(f64, [usize; 2])> {
    let log = server.command(&["--json", "SLOWLOG", "GET", "-1"]).await?;
    let log: Vec<Vec<serde_json::Value>> = serde_json::from_str(&log)?;
    let micros: Vec<u64> = log.iter().filter_map(|entry| entry.get(2)?.as_u64()).collect();
    let over = [2_000, 5_000].map(|most| micros.iter().filter(|micros| **micros > most).count());
    Ok((micros.into_iter().max().unwrap_or_default() as f64 / 1e3, over))
}

/// Bytes per waiting and per finished job of 100 bytes of arguments, then what pruning them all costs.
pub async fn memory_and_pruning(server: &RedisServer, url: &str, jobs: u64) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let mut add = |name: &str, value: f64, unit| figures.push((name.to_owned(), value, unit));
    let backend = RedisBackend::connect(url).await?;
    let drain = Drain::new(backend.clone()).await?;
    let each = |bytes: f64| bytes / jobs as f64;
    let empty = used(server).await?;
    fill(&backend, jobs).await?;
    add("memory of a waiting job", each(used(server).await? - empty), "bytes");
    while !drain.batch().await?.0.is_empty() {}
    add("memory of a finished job with its events", each(used(server).await? - empty), "bytes");
    for (name, value) in [("slowlog-log-slower-than", NOTED), ("slowlog-max-len", "1000000")] {
        server.command(&["CONFIG", "SET", name, value]).await?;
    }
    let day = Some(std::time::Duration::ZERO);
    let mut retention = Retention::default();
    retention.events = day;
    backend.prune(&retention, 0).await?;
    server.command(&["SLOWLOG", "RESET"]).await?;
    while backend.prune(&retention, PRUNED).await?.more {}
    let (most, over) = longest(server).await?;
    add("pruning the feed: longest script", most, "ms");
    add("pruning the feed: scripts over 5 ms", over[1] as f64, "scripts");
    add("memory of a finished job", each(used(server).await? - empty), "bytes");
    retention.completed = day;
    server.command(&["SLOWLOG", "RESET"]).await?;
    let (begun, mut pruned) = (std::time::Instant::now(), 0);
    loop {
        let done = backend.prune(&retention, PRUNED).await?;
        pruned += done.jobs;
        if !done.more {
            break;
        }
    }
    let took = begun.elapsed().as_secs_f64();
    if pruned != jobs {
        return Err(format!("{pruned} of {jobs} jobs were pruned").into());
    }
    let (most, over) = longest(server).await?;
    add("pruning finished jobs", jobs as f64 / took, "jobs/s");
    add("pruning finished jobs: longest script", most, "ms");
    add("pruning finished jobs: scripts over 2 ms", over[0] as f64, "scripts");
    add("pruning finished jobs: scripts over 5 ms", over[1] as f64, "scripts");
    backend.close().await?;
    Ok(figures)
}
