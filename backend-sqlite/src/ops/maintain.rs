//! Moves time on: promotes what is due, rescues what was lost, frees worn-out keys.

use windlass_core::machine::{self, Rescue};
use windlass_core::{Cause, DEADLINE_GRACE, JobId, Maintained, Result};

use crate::batch::{Query, size};
use crate::ops::apply::{Step, apply};
use crate::ops::stored::Stored;
use crate::ops::unique;
use crate::txn::Txn;
use windlass_core::kit::{duration, micros};

/// Asks whether there is anything to do. Answers that, when the next job is due, and how many workers have a lease.
pub(crate) fn peek(now: i64) -> Query {
    sqlx::query(include_str!("../sql/maintain_peek.sql")).bind(now).bind(grace_over(now))
}

/// Deadlines before this are past their grace.
fn grace_over(now: i64) -> i64 {
    now.saturating_sub(micros(DEADLINE_GRACE))
}

/// Does at most `limit` of each kind of work.
pub(crate) async fn maintain(txn: &mut Txn<'_>, limit: u32) -> Result<Maintained> {
    let mut done = Maintained::default();
    let promoted = promote(txn, limit, &mut done.more).await?;
    done.promoted = promoted;
    let lost = rescue(txn, limit, Rescue::WorkerLost, &mut done.more).await?;
    let overdue = rescue(txn, limit, Rescue::DeadlinePassed, &mut done.more).await?;
    done.rescued = lost.into_iter().chain(overdue).collect();
    let workers = sqlx::query(include_str!("../sql/maintain_workers.sql")).bind(txn.now);
    done.workers_removed = txn.execute(workers).await?;
    let windows = sqlx::query(include_str!("../sql/maintain_unique.sql")).bind(txn.now).bind(limit);
    done.more |= txn.execute(windows).await? >= u64::from(limit.max(1));
    let rows = txn.fetch(peek(txn.now)).await?;
    if let Some(row) = rows.first() {
        done.next_due =
            txn.get::<Option<i64>>(row, 1)?.map(|due| duration(due.saturating_sub(txn.now)));
        done.workers = u64::try_from(txn.get::<i64>(row, 2)?).unwrap_or(0);
    }
    Ok(done)
}

async fn promote(txn: &mut Txn<'_>, limit: u32, more: &mut bool) -> Result<u64> {
    let (mut due_at, mut after) = (i64::MIN, vec![]);
    let mut promoted = 0;
    while promoted < u64::from(limit) {
        let left = i64::from(limit) - i64::try_from(promoted).unwrap_or(0);
        let query = sqlx::query(include_str!("../sql/maintain_due.sql"));
        let query = query.bind(txn.now).bind(due_at).bind(after).bind(left + 1);
        let mut rows = txn.fetch(query).await?;
        let full = size(rows.len()) > left;
        rows.truncate(usize::try_from(left).unwrap_or(0));
        let Some(last) = rows.last() else { break };
        (due_at, after) = (txn.get(last, 18)?, txn.get(last, 0)?);
        let mut steps = Vec::with_capacity(rows.len());
        for job in Stored::readable(&rows) {
            if let Some(to) = machine::promoted(&job.facts) {
                steps.push(Step::new(job, to));
            }
        }
        promoted += size_u64(apply_each(txn, Cause::Promoted, steps).await?.len());
        *more |= full && promoted >= u64::from(limit);
        if !full {
            break;
        }
    }
    Ok(promoted)
}

fn size_u64(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

async fn rescue(txn: &mut Txn<'_>, limit: u32, why: Rescue, more: &mut bool) -> Result<Vec<JobId>> {
    let (sql, moment) = match why {
        Rescue::WorkerLost => (include_str!("../sql/maintain_lost.sql"), txn.now),
        Rescue::DeadlinePassed => {
            (include_str!("../sql/maintain_overdue.sql"), grace_over(txn.now))
        }
    };
    let (mut after, mut rescued) = (Vec::new(), Vec::new());
    while rescued.len() < limit as usize {
        let left = limit as usize - rescued.len();
        let query = sqlx::query(sql).bind(moment).bind(after).bind(size(left) + 1);
        let mut rows = txn.fetch(query).await?;
        let full = rows.len() > left;
        rows.truncate(left);
        let Some(last) = rows.last() else { break };
        after = txn.get(last, 0)?;
        let jobs = Stored::readable(&rows);
        let steps = unique::rescue_steps(txn.now, jobs, why);
        rescued.extend(apply_each(txn, Cause::Rescued, steps).await?);
        *more |= full && rescued.len() >= limit as usize;
        if !full {
            break;
        }
    }
    Ok(rescued)
}

/// Applies steps together; when that fails, each by itself, passing over those that can't be applied. Answers the
/// jobs that were moved.
async fn apply_each(txn: &mut Txn<'_>, cause: Cause, steps: Vec<Step<'_>>) -> Result<Vec<JobId>> {
    let jobs: Vec<JobId> = steps.iter().map(|step| step.job.id).collect();
    if guarded(txn, &[(cause, &steps)]).await?.is_none() {
        return Ok(jobs);
    }
    let mut moved = Vec::new();
    for step in steps {
        let job = step.job.id;
        match guarded(txn, &[(cause, &[step])]).await? {
            None => moved.push(job),
            Some(error) => {
                tracing::error!(%job, ?error, "a job can't be moved and is passed over");
            }
        }
    }
    Ok(moved)
}

/// Applies steps in a savepoint. Answers the error that concerns them; one of the connection ends the call.
pub(crate) async fn guarded(
    txn: &mut Txn<'_>,
    parts: &[(Cause, &[Step<'_>])],
) -> Result<Option<windlass_core::Error>> {
    let mark = txn.mark();
    txn.execute(sqlx::query("SAVEPOINT windlass_step")).await?;
    let mut applied = Ok(());
    for (cause, steps) in parts {
        if applied.is_ok() {
            applied = apply(txn, *cause, steps).await;
        }
    }
    if applied.is_ok() {
        applied = txn.settle().await;
    }
    let problem = match applied {
        Ok(()) => None,
        Err(error) if error.is_transient() => return Err(error),
        Err(error) => {
            txn.reset(mark);
            txn.execute(sqlx::query("ROLLBACK TO windlass_step")).await?;
            Some(error)
        }
    };
    txn.execute(sqlx::query("RELEASE windlass_step")).await?;
    Ok(problem)
}
