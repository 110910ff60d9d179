//! Moves time on: promotes what is due, rescues what was lost, frees worn-out keys, folds the counts. Any number of processes may do so at
//! once: each passes over what another is working on.

use std::time::{Duration, Instant};

use sqlx::Row as _;
use sqlx::postgres::PgRow;
use uuid::Uuid;
use windlass_core::kit::{duration, micros};
use windlass_core::machine::Rescue;
use windlass_core::{Cause, DEADLINE_GRACE, Error, JobId, Maintained, Result};

use super::apply::apply;
use super::pace::{Budget, HEAD, Passed};
use super::stored::Stored;
use super::unique::rescue_steps;
use crate::PostgresBackend;
use crate::calls::{RescueJobs, TrimTrails};
use crate::error::map;
use crate::sql::{query, size};
use crate::txn::{News, Txn, uuids};

const DURING: &str = "maintain";
/// Rows of the counts that are left as they are.
const COUNTS_KEPT: i64 = 1_000;
/// Rows of the counts folded at a time.
const COUNTS_FOLDED: i64 = 10_000;

/// What upkeep has dealt with.
#[derive(Debug)]
pub(crate) struct Upkeep {
    /// The time up to which jobs were promoted and rescued, and windows freed.
    time: Passed,
    /// By final state, and of the feed: how far was pruned.
    pub(crate) pruned: [Passed; 4],
}

impl Upkeep {
    pub(crate) fn new(budget: Budget) -> Self {
        Self { time: Passed::new(budget), pruned: std::array::from_fn(|_| Passed::new(budget)) }
    }
}

/// Does at most `limit` of each kind of work.
pub(crate) async fn maintain(backend: &PostgresBackend, limit: u32) -> Result<Maintained> {
    let mut done = Maintained::default();
    let time = &backend.upkeep.time;
    let (from, start) = (time.from(), Instant::now());
    let (work, next_due) = peek(backend, from).await?;
    let cost = start.elapsed();
    done.next_due = next_due;
    done.workers = work.leased;
    if work.promote {
        promote(backend, limit, from, &mut done).await?;
    }
    if work.rescue_lost {
        rescue(backend, limit, from, Rescue::WorkerLost, &mut done).await?;
    }
    if work.rescue_late {
        rescue(backend, limit, from, Rescue::DeadlinePassed, &mut done).await?;
    }
    if work.workers {
        let rows = backend.short(DURING, || query(&backend.sql.maintain_workers)).await?;
        done.workers_removed = rows.len() as u64;
    }
    if work.windows {
        let most = limit.max(1);
        let statement = || query(&backend.sql.maintain_unique).bind(i64::from(most)).bind(from);
        done.more |= backend.short(DURING, statement).await?.len() >= most as usize;
    }
    if work.counts {
        let statement = || query(&backend.sql.maintain_counts).bind(COUNTS_FOLDED);
        backend.short(DURING, statement).await?;
    }
    // What others have locked is left to looks from the head.
    time.looked(from, cost, (!done.more).then_some(work.now));
    if done.promoted > 0 || !done.rescued.is_empty() {
        done.next_due = peek(backend, work.now).await?.1;
    }
    Ok(done)
}

/// What there is to do.
struct Work {
    promote: bool,
    rescue_lost: bool,
    rescue_late: bool,
    workers: bool,
    windows: bool,
    counts: bool,
    now: i64,
    /// Workers with a lease.
    leased: u64,
}

async fn peek(backend: &PostgresBackend, from: i64) -> Result<(Work, Option<Duration>)> {
    let statement = query(&backend.sql.maintain_peek).bind(micros(DEADLINE_GRACE));
    let statement = statement.bind(COUNTS_KEPT).bind(from).bind(from == HEAD);
    let rows = backend.session.fetch(DURING, statement).await?;
    let row = rows.first().ok_or_else(|| map(DURING)(sqlx::Error::RowNotFound))?;
    let flag = |column: usize| row.try_get::<bool, _>(column).map_err(map(DURING));
    let work = Work {
        promote: flag(0)?,
        rescue_lost: flag(1)?,
        rescue_late: flag(2)?,
        workers: flag(3)?,
        windows: flag(4)?,
        counts: flag(5)?,
        now: row.try_get(7).map_err(map(DURING))?,
        leased: u64::try_from(row.try_get::<i64, _>(8).map_err(map(DURING))?).unwrap_or(0),
    };
    let next: Option<i64> = row.try_get(6).map_err(map(DURING))?;
    Ok((work, next.map(duration)))
}

async fn promote(
    backend: &PostgresBackend,
    limit: u32,
    from: i64,
    done: &mut Maintained,
) -> Result<()> {
    let statement = || query(&backend.sql.maintain_promote).bind(i64::from(limit)).bind(from);
    let rows = backend.short(DURING, statement).await?;
    let full = i32::try_from(backend.options.limits.state_events_per_job).unwrap_or(i32::MAX);
    let (mut news, mut long) = (News { events: !rows.is_empty(), ..News::default() }, Vec::new());
    for row in &rows {
        news.queues.insert(row.try_get(1).map_err(map(DURING))?);
        if row.try_get::<i32, _>(2).map_err(map(DURING))? > full {
            long.push(JobId::from_uuid(row.try_get(0).map_err(map(DURING))?));
        }
    }
    done.promoted = u64::try_from(rows.len()).unwrap_or(u64::MAX);
    done.more |= done.promoted >= u64::from(limit);
    backend.hub.committed(&news);
    backend.trim(long).await
}

async fn rescue(
    backend: &PostgresBackend,
    limit: u32,
    from: i64,
    why: Rescue,
    done: &mut Maintained,
) -> Result<()> {
    let (mut after, mut rescued) = (Uuid::nil(), 0_usize);
    while rescued < limit as usize {
        let left = limit as usize - rescued;
        let mut ids = found(backend, why, from, after, left + 1).await?;
        let full = ids.len() > left;
        ids.truncate(left);
        let Some(last) = ids.last() else { break };
        after = *last.as_uuid();
        let moved = rescue_each(backend, ids, why).await?;
        rescued += moved.len();
        done.rescued.extend(moved);
        done.more |= full && rescued >= limit as usize;
        if !full {
            break;
        }
    }
    Ok(())
}

/// A page of jobs to be rescued. Nothing is locked.
async fn found(
    backend: &PostgresBackend,
    why: Rescue,
    from: i64,
    after: Uuid,
    limit: usize,
) -> Result<Vec<JobId>> {
    let statement = match why {
        Rescue::WorkerLost => {
            query(&backend.sql.maintain_lost).bind(after).bind(size(limit)).bind(from == HEAD)
        }
        Rescue::DeadlinePassed => query(&backend.sql.maintain_overdue)
            .bind(after)
            .bind(size(limit))
            .bind(micros(DEADLINE_GRACE))
            .bind(from),
    };
    let rows = backend.session.fetch(DURING, statement).await?;
    let id = |row: &PgRow| row.try_get(0).map(JobId::from_uuid).map_err(map(DURING));
    rows.iter().map(id).collect()
}

/// Rescues jobs together; when that fails, each by itself, passing over those that can't be.
async fn rescue_each(
    backend: &PostgresBackend,
    jobs: Vec<JobId>,
    why: Rescue,
) -> Result<Vec<JobId>> {
    let operation = RescueJobs { jobs, why };
    let error = match backend.call(&operation).await {
        Ok(moved) => return Ok(moved),
        Err(error) => error,
    };
    if error.is_transient() || matches!(error, Error::Closed(_)) {
        return Err(error);
    }
    let mut moved = Vec::new();
    for job in operation.jobs {
        match backend.call(&RescueJobs { jobs: vec![job], why }).await {
            Ok(done) => moved.extend(done),
            Err(error) if error.is_transient() => return Err(error),
            Err(error) => {
                tracing::error!(%job, ?error, "a job can't be rescued and is passed over")
            }
        }
    }
    Ok(moved)
}

/// Takes jobs from their owners, where this is still due and nobody else is at it.
pub(crate) async fn rescue_locked(
    txn: &mut Txn<'_>,
    jobs: &[JobId],
    why: Rescue,
) -> Result<Vec<JobId>> {
    let statement = query(&txn.sql.rescue_lock)
        .bind(uuids(jobs))
        .bind(why == Rescue::WorkerLost)
        .bind(micros(DEADLINE_GRACE));
    let rows = txn.fetch(statement).await?;
    let mut jobs = Stored::readable(txn.during, &rows);
    if why == Rescue::WorkerLost && !jobs.is_empty() {
        // Where the lock met a newer row, the workers were those of the look: another may have rescued a job meanwhile, and a worker that came
        // later may run it.
        let statement = query(&txn.sql.rescue_alive).bind(uuids(jobs.iter().map(|job| &job.id)));
        for row in txn.fetch(statement).await? {
            let alive = JobId::from_uuid(txn.get(&row, 0)?);
            jobs.retain(|job| job.id != alive);
        }
    }
    let steps = rescue_steps(txn.now, jobs, why);
    apply(txn, Cause::Rescued, &steps).await?;
    Ok(steps.into_iter().map(|step| step.job.id).collect())
}

impl PostgresBackend {
    /// Cuts trails that have become too long.
    pub(crate) async fn trim(&self, jobs: Vec<JobId>) -> Result<()> {
        if jobs.is_empty() {
            return Ok(());
        }
        self.call(&TrimTrails { jobs }).await
    }
}
