//! What goes on for long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::command::mark;
use crate::{Contestant, Error, Figures, Handler, Payload, Result, Run, Setup};

/// Tasks that enqueue one job after another.
const PRODUCERS: u64 = 8;
/// Producers wait while so many jobs wait.
const BACKLOG: u64 = 10_000;
/// How long they wait.
const PAUSE: Duration = Duration::from_millis(1);
/// Something must move in the last of so many parts of the time.
const PARTS: u32 = 5;
/// How long it goes on before it counts, of the time, and at least: pools open their connections then.
const WARM_PART: u32 = 10;
const WARM: Duration = Duration::from_millis(500);
/// How long idle workers get to start, before it begins: their polls come more rarely until then, and a session of Postgres tells what it did at the
/// start up to 10 s after that.
const SETTLE: Duration = Duration::from_secs(31);
/// A time that is shorter only tries whether it works, and so much of it is enough to start.
const TRIAL: Duration = Duration::from_secs(1);
const TRIAL_SETTLE: u32 = 10;
/// More jobs per second than anything runs.
const MOST: f64 = 300_000.0;
/// How long the rest is waited for at the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a run goes on before it counts, of one that lasts so long.
fn warm(time: Duration) -> Duration {
    if time < TRIAL { time / WARM_PART } else { WARM.max(time / WARM_PART) }
}

pub(super) async fn steady<C: Contestant>(system: &C, run: &Run) -> Result<Figures> {
    let warm = warm(run.limit());
    let end = run.first + ((run.seconds + warm.as_secs_f64()) * MOST) as u64;
    let handler = Handler::new(run.wait(), run.first, end - run.first, end);
    let worker = system.start(handler.clone(), run.concurrency).await?;
    let (next, stop) = (Arc::new(AtomicU64::new(run.first)), Arc::new(AtomicBool::new(false)));
    let mut producers = JoinSet::new();
    for _ in 0..PRODUCERS {
        let (system, handler) = (system.clone(), handler.clone());
        let (next, stop, first) = (next.clone(), stop.clone(), run.first);
        producers.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                if next.load(Ordering::Relaxed) - first > handler.distinct() + BACKLOG {
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return Err("more jobs than there are numbers for".into());
                }
                system.enqueue(Payload::new(number)).await?;
            }
            Ok::<_, Error>(())
        });
    }
    tokio::time::sleep(warm).await;
    mark("begin").await?;
    handler.warm_until(next.load(Ordering::Relaxed));
    let (begun, earlier, last) = (Instant::now(), handler.distinct(), run.limit() / PARTS);
    tokio::time::sleep(run.limit() - last).await;
    let before = handler.distinct();
    tokio::time::sleep(last).await;
    // What runs earlier or later doesn't count, as what it uses doesn't.
    let figures = handler.figures();
    let jobs = figures.jobs - earlier;
    let rate = jobs as f64 / begun.elapsed().as_secs_f64();
    // Nothing moves, though there is something to be done.
    let ran = handler.distinct();
    let hung = ran == before && next.load(Ordering::Relaxed) - run.first > ran;
    mark("end").await?;
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = producers.join_next().await {
        ended??;
    }
    let sent = next.load(Ordering::Relaxed) - run.first;
    let all = tokio::time::timeout(PATIENCE, handler.until(sent)).await.is_ok();
    // In this order: a job that ends in between counts as neither.
    let left = if all { 0 } else { system.left().await? };
    let missing = sent.saturating_sub(handler.distinct());
    system.stop(worker).await?;
    Ok(Figures {
        rate: Some(rate),
        jobs,
        hung,
        lost: missing.saturating_sub(left),
        unfinished: missing.min(left),
        repeated: handler.repeated(),
        ..figures
    })
}

/// How long workers get to start, of a run that is idle for so long.
fn settle(idle: Duration) -> Duration {
    if idle < TRIAL { idle / TRIAL_SETTLE } else { SETTLE }
}

/// Clients of their own, with workers on each, as if they were processes.
pub(super) async fn idle<C: Contestant>(setup: &Setup, run: &Run) -> Result<Figures> {
    let handler = Handler::new(Duration::ZERO, 0, 0, 0);
    let mut started = Vec::new();
    for _ in 0..run.clients {
        let system = C::open(setup).await?;
        for _ in 0..run.workers {
            started.push((system.clone(), system.start(handler.clone(), run.concurrency).await?));
        }
    }
    // The start is not a part of it.
    tokio::time::sleep(settle(run.limit())).await;
    mark("begin").await?;
    tokio::time::sleep(run.limit()).await;
    mark("end").await?;
    for (system, worker) in started {
        system.stop(worker).await?;
    }
    Ok(Figures::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_settle_for_longer_than_postgres_keeps_its_counts() {
        for seconds in [1, 4, 60] {
            assert!(settle(Duration::from_secs(seconds)) > Duration::from_secs(10));
        }
        assert_eq!(settle(Duration::from_millis(500)), Duration::from_millis(50));
    }
}
