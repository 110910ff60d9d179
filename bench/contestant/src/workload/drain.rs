//! Runs what waits.

use std::time::{Duration, Instant};

use crate::command::mark;
use crate::{Contestant, Figures, Handler, Result, Run};

/// How often it is looked whether anything moves.
const LOOK: Duration = Duration::from_millis(250);
/// Where nothing moved for so long, the figures are unsound. It may still be a system that looks more seldom.
const STILL: Duration = Duration::from_secs(3);
/// How long between two questions to the store, once all jobs ran.
const ASK: Duration = Duration::from_millis(2);

pub(super) async fn drain<C: Contestant>(system: &C, run: &Run) -> Result<Figures> {
    let handler = Handler::new(run.wait(), run.first, run.jobs, u64::MAX);
    let mut systems = vec![system.clone()];
    for _ in 1..run.clients {
        systems.push(C::open(&run.setup()).await?);
    }
    mark("begin").await?;
    let (begun, mut workers) = (Instant::now(), Vec::new());
    for system in &systems {
        workers.push((system, system.start(handler.clone(), run.concurrency).await?));
    }
    let watch = Watch { begun, limit: run.limit() };
    let (done, took, figures) = match run.stop_at {
        Some(jobs) => watch.part(&handler, jobs).await?,
        None => watch.all(system, &handler, run.jobs).await?,
    };
    let finishes = Instant::now();
    system.finish().await?;
    let took = took + finishes.elapsed();
    mark("end").await?;
    for (system, worker) in workers {
        system.stop(worker).await?;
    }
    let rate = Some(done as f64 / took.as_secs_f64());
    Ok(Figures { rate, repeated: handler.repeated(), ..figures })
}

struct Watch {
    begun: Instant,
    limit: Duration,
}

impl Watch {
    /// Waits until so many jobs ran, nothing moves and `empty` says that nothing is left, or the time is up. Answers whether something moved for the
    /// last [`STILL`].
    async fn until(
        &self,
        handler: &Handler,
        jobs: u64,
        empty: impl AsyncFn() -> Result<bool>,
    ) -> Result<bool> {
        let (mut count, mut moved) = (0, Instant::now());
        loop {
            let left = self.limit.saturating_sub(self.begun.elapsed()).min(LOOK);
            if tokio::time::timeout(left, handler.until(jobs)).await.is_ok() {
                return Ok(true);
            }
            let now = handler.distinct();
            if now != count {
                (count, moved) = (now, Instant::now());
            } else if empty().await? {
                return Ok(true);
            }
            if self.begun.elapsed() >= self.limit {
                return Ok(moved.elapsed() < STILL);
            }
        }
    }

    /// A part of what waits: by the count of what ran, so that a large store isn't asked. Answers how many count for the rate, and how long they took.
    async fn part(&self, handler: &Handler, jobs: u64) -> Result<(u64, Duration, Figures)> {
        let moves = self.until(handler, jobs, async || Ok(false)).await?;
        let (took, ran) = (self.begun.elapsed(), handler.distinct());
        let figures = Figures {
            jobs: ran,
            unfinished: jobs.saturating_sub(ran),
            hung: !moves,
            ..Figures::default()
        };
        Ok((ran.min(jobs), took, figures))
    }

    /// All that waits: it is done when the store says so. Answers the same.
    async fn all<C: Contestant>(
        &self,
        system: &C,
        handler: &Handler,
        jobs: u64,
    ) -> Result<(u64, Duration, Figures)> {
        let moves = self.until(handler, jobs, async || Ok(system.left().await? == 0)).await?;
        let (took, left) = loop {
            // The answer is of the time of the question, and some take long to count.
            let asked = self.begun.elapsed();
            let left = system.left().await?;
            if left == 0 || asked >= self.limit {
                break (asked, left);
            }
            tokio::time::sleep(ASK).await;
        };
        let (done, ran) = (jobs.saturating_sub(left), handler.distinct());
        let figures = Figures {
            jobs: done,
            lost: if left == 0 { jobs.saturating_sub(ran) } else { 0 },
            unfinished: left,
            hung: !moves,
            ..Figures::default()
        };
        Ok((done, took, figures))
    }
}
