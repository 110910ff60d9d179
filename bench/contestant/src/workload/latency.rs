//! How long a job takes from the enqueue to the start of its handler.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::command::mark;
use crate::{Contestant, Error, Figures, Handler, Payload, Result, Run, micros};

/// Jobs whose latencies aren't kept, while connections open.
const WARM: u64 = 20;
/// The time between two jobs.
const GAP: Duration = Duration::from_millis(1);
/// How often it is looked which jobs are due.
const TICK: Duration = Duration::from_millis(1);
/// Jobs that are enqueued at the same time before those at a pace, and how often: pools open their connections then.
const BURST: u64 = 64;
const BURSTS: u64 = 4;
/// Of the jobs at a pace, those whose latencies aren't kept.
const WARM_SHARE: f64 = 0.2;
/// How long a job is waited for.
const PATIENCE: Duration = Duration::from_secs(5);

/// What ran, and how many of the jobs that were sent didn't: the latencies of the others alone would look too good.
fn figures(handler: &Handler, sent: u64) -> Figures {
    let figures = handler.figures();
    let unfinished = sent.saturating_sub(figures.jobs);
    Figures { unfinished, hung: unfinished > 0, ..figures }
}

pub(super) async fn one_by_one<C: Contestant>(system: &C, run: &Run) -> Result<Figures> {
    let count = WARM + run.jobs;
    let handler = Handler::new(run.wait(), run.first, count, run.first + WARM);
    let worker = system.start(handler.clone(), run.concurrency).await?;
    mark("begin").await?;
    let (begun, mut sent) = (Instant::now(), 0);
    while sent < count && (begun.elapsed() < run.limit() || sent <= WARM) {
        tokio::time::sleep(GAP).await;
        system.enqueue(Payload::new(run.first + sent)).await?;
        sent += 1;
        if tokio::time::timeout(PATIENCE, handler.until(sent)).await.is_err() {
            break;
        }
    }
    mark("end").await?;
    let figures = figures(&handler, sent);
    system.stop(worker).await?;
    Ok(figures)
}

/// Enqueues jobs at the same time and waits until they ran. Answers whether they did in time.
async fn burst<C: Contestant>(system: &C, handler: &Handler, run: &Run, sent: u64) -> Result<bool> {
    let mut enqueues = JoinSet::new();
    for number in sent..sent + BURST {
        let (system, payload) = (system.clone(), Payload::new(run.first + number));
        enqueues.spawn(async move { system.enqueue(payload).await });
    }
    while let Some(ended) = enqueues.join_next().await {
        ended??;
    }
    Ok(tokio::time::timeout(PATIENCE, handler.until(sent + BURST)).await.is_ok())
}

/// Jobs come at a pace, whether those before them are enqueued or not; what the enqueue waits counts.
pub(super) async fn at_a_pace<C: Contestant>(system: &C, run: &Run) -> Result<Figures> {
    let (paced, mut before) = ((run.rate * run.seconds) as u64, 0);
    let most = BURST * BURSTS + paced;
    let handler = Handler::new(run.wait(), run.first, most, run.first + most);
    let worker = system.start(handler.clone(), run.concurrency).await?;
    while before < BURST * BURSTS {
        before += BURST;
        // Who looks more seldom begins as it is.
        if !burst(system, &handler, run, before - BURST).await? {
            break;
        }
    }
    handler.warm_until(run.first + before + (paced as f64 * WARM_SHARE) as u64);
    let count = before + paced;
    mark("begin").await?;
    let (begun, begun_at) = (Instant::now(), micros());
    let (mut sent, mut enqueues) = (before, JoinSet::new());
    while sent < count {
        let due = before + (begun.elapsed().as_secs_f64() * run.rate) as u64;
        while sent < due.min(count) {
            let at = begun_at + ((sent - before) as f64 / run.rate * 1e6) as u64;
            let (system, payload) = (system.clone(), Payload::sent(run.first + sent, at));
            enqueues.spawn(async move { system.enqueue(payload).await });
            sent += 1;
        }
        while let Some(ended) = enqueues.try_join_next() {
            ended??;
        }
        tokio::time::sleep(TICK).await;
    }
    let rest = async {
        while let Some(ended) = enqueues.join_next().await {
            ended??;
        }
        handler.until(count).await;
        Ok::<_, Error>(())
    };
    if let Ok(ended) = tokio::time::timeout(PATIENCE, rest).await {
        ended?;
    }
    mark("end").await?;
    let figures = Figures { rate: Some(run.rate), ..figures(&handler, sent) };
    system.stop(worker).await?;
    Ok(figures)
}

/// The bench program runs [`pace`] in another process between the two marks.
pub(super) async fn serve<C: Contestant>(system: &C, run: &Run) -> Result<Figures> {
    let count = WARM + run.jobs;
    let handler = Handler::new(run.wait(), run.first, count, run.first + WARM);
    let worker = system.start(handler.clone(), run.concurrency).await?;
    mark("begin").await?;
    // What is missing after that never comes.
    let _ = tokio::time::timeout(run.limit().max(PATIENCE), handler.until(count)).await;
    mark("end").await?;
    let figures = figures(&handler, count);
    system.stop(worker).await?;
    Ok(figures)
}

pub(super) async fn pace<C: Contestant>(system: &C, run: &Run) -> Result<Figures> {
    let jobs = WARM + run.jobs;
    for number in run.first..run.first + jobs {
        tokio::time::sleep(GAP).await;
        system.enqueue(Payload::new(number)).await?;
    }
    Ok(Figures { jobs, ..Figures::default() })
}
