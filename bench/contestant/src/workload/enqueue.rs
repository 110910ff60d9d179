//! Enqueues without a worker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use tokio::task::JoinSet;

use super::BULK;
use crate::command::mark;
use crate::{Contestant, Figures, Payload, Result, Run};

/// Enqueues at the same time where there is no bulk.
const AT_ONCE: usize = 64;
/// Jobs that each task enqueues before the time begins, while connections open.
const WARM: u64 = 5;

fn payloads(from: u64, to: u64) -> Vec<Payload> {
    (from..to).map(Payload::new).collect()
}

/// Enqueues the numbers from `next` up to `end` from tasks at the same time, until the time is up.
async fn spread<C: Contestant>(
    system: &C,
    tasks: usize,
    next: &Arc<AtomicU64>,
    end: u64,
    until: Option<Instant>,
) -> Result<()> {
    let mut set = JoinSet::new();
    for _ in 0..tasks.max(1) {
        let (system, next) = (system.clone(), next.clone());
        set.spawn(async move {
            while until.is_none_or(|until| Instant::now() < until) {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    break;
                }
                system.enqueue(Payload::new(number)).await?;
            }
            Ok::<_, crate::Error>(())
        });
    }
    while let Some(task) = set.join_next().await {
        task??;
    }
    Ok(())
}

/// Enqueues so many jobs, or fewer if the time is up before, and tells how many.
pub(super) async fn fill<C: Contestant>(system: &C, run: &Run) -> Result<Figures> {
    let (end, begun) = (run.first + run.jobs, Instant::now());
    let next = Arc::new(AtomicU64::new(run.first));
    if C::BULK {
        let mut from = run.first;
        while from < end && begun.elapsed() < run.limit() {
            let to = end.min(from + BULK);
            system.enqueue_bulk(payloads(from, to)).await?;
            from = to;
        }
        next.store(from, Ordering::Relaxed);
    } else {
        spread(system, AT_ONCE, &next, end, begun.checked_add(run.limit())).await?;
    }
    let jobs = next.load(Ordering::Relaxed).min(end) - run.first;
    Ok(Figures { jobs, ..Figures::default() })
}

pub(super) async fn singles<C: Contestant>(system: &C, run: &Run) -> Result<Figures> {
    let next = Arc::new(AtomicU64::new(run.first));
    let warm = run.first + WARM * run.concurrency as u64;
    spread(system, run.concurrency, &next, warm, None).await?;
    next.store(warm, Ordering::Relaxed);
    mark("begin").await?;
    let begun = Instant::now();
    let end = warm + run.jobs;
    spread(system, run.concurrency, &next, end, begun.checked_add(run.limit())).await?;
    let took = begun.elapsed();
    mark("end").await?;
    let last = next.load(Ordering::Relaxed).min(end);
    figures(system, last - warm, last - run.first, took).await
}

pub(super) async fn bulks<C: Contestant>(system: &C, run: &Run) -> Result<Figures> {
    system.enqueue_bulk(payloads(run.first, run.first + BULK)).await?;
    mark("begin").await?;
    let (begun, mut jobs) = (Instant::now(), 0);
    while jobs < run.jobs && begun.elapsed() < run.limit() {
        let from = run.first + BULK + jobs;
        system.enqueue_bulk(payloads(from, from + BULK)).await?;
        jobs += BULK;
    }
    let took = begun.elapsed();
    mark("end").await?;
    figures(system, jobs, jobs + BULK, took).await
}

/// The rate of `jobs`, and how many of `all` the store doesn't have.
async fn figures<C: Contestant>(
    system: &C,
    jobs: u64,
    all: u64,
    took: std::time::Duration,
) -> Result<Figures> {
    Ok(Figures {
        rate: Some(jobs as f64 / took.as_secs_f64()),
        jobs,
        lost: all.saturating_sub(system.left().await?),
        ..Figures::default()
    })
}
