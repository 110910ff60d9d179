//! What users change: cancel, retry, reschedule, delete.

use std::collections::{HashMap, HashSet};

use sqlx::Row as _;
use uuid::Uuid;
use windlass_core::kit::feed::{self, Fact};
use windlass_core::kit::timestamp;
use windlass_core::machine;
use windlass_core::{
    AttemptError, Cause, Change, Changed, Cursor, EventBody, FailureKind, JobFilter, JobId, Result,
    Selector, State,
};

use super::apply::{Step, apply};
use super::blobs;
use super::insert::check_start;
use super::stored::{Stored, lock_any};
use super::unique::{self, Holder, Keys};
use crate::error::map;
use crate::sql::{Query, query, size};
use crate::txn::{Txn, uuids};

/// Applies a change to the next jobs of the selection.
pub(crate) async fn change(
    txn: &mut Txn<'_>,
    target: &Selector,
    change: &Change,
    after: Option<&Cursor>,
) -> Result<Changed> {
    if let Change::Reschedule { start } = change {
        check_start(txn, *start)?;
    }
    let after = after.map_or(Uuid::nil(), |cursor| *cursor.0.as_uuid());
    let (jobs, next) = match target {
        Selector::Filter(filter) => by_filter(txn, filter, after).await?,
        Selector::Ids(list) => {
            let mut ids = list.clone();
            ids.retain(|id| *id.as_uuid() > after);
            ids.sort_unstable();
            ids.dedup();
            (lock_any(txn, &ids).await?, None)
        }
        _ => {
            return Err(windlass_core::Error::invalid("selector", "this backend does not know it"));
        }
    };
    let count = match change {
        Change::Delete => delete(txn, &jobs).await?,
        _ => transit(txn, jobs, change).await?,
    };
    Ok(Changed { count, next })
}

/// Looks at the next jobs by id; answers those that pass, locked, and where to go on.
async fn by_filter(
    txn: &mut Txn<'_>,
    filter: &JobFilter,
    after: Uuid,
) -> Result<(Vec<Stored>, Option<Cursor>)> {
    let batch = size(txn.limits.batch);
    let statement = query(&txn.sql.change_filter).bind(after).bind(batch);
    let (mut ids, mut next) = (Vec::new(), None);
    for row in txn.fetch(bind_filter(statement, filter)).await? {
        let id = JobId::from_uuid(txn.get(&row, 0)?);
        if txn.get(&row, 1)? {
            ids.push(id);
        } else if txn.get::<i64>(&row, 2)? >= batch {
            next = Some(Cursor(id));
        }
    }
    ids.sort_unstable();
    let mut jobs = lock_any(txn, &ids).await?;
    if !jobs.is_empty() {
        // What others changed between the look and the lock may pass no longer.
        let statement = query(&txn.sql.change_still).bind(uuids(jobs.iter().map(|job| &job.id)));
        let rows = txn.fetch(bind_filter(statement, filter)).await?;
        let passing: sqlx::Result<HashSet<Uuid>> = rows.iter().map(|row| row.try_get(0)).collect();
        let passing = passing.map_err(map(txn.during))?;
        jobs.retain(|job| passing.contains(job.id.as_uuid()));
    }
    jobs.sort_unstable_by_key(|job| job.id);
    Ok((jobs, next))
}

/// Binds states, queues, kinds, tags and unique key, in this order.
pub(crate) fn bind_filter(query: Query, filter: &JobFilter) -> Query {
    let states: Vec<i16> = filter.states.iter().map(|state| i16::from(state.code())).collect();
    let texts = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect::<Vec<_>>();
    query
        .bind(states)
        .bind(texts(filter.queues.iter().map(|queue| queue.as_str()).collect()))
        .bind(texts(filter.kinds.iter().map(|kind| kind.as_str()).collect()))
        .bind(texts(filter.tags.iter().map(|tag| tag.as_str()).collect()))
        .bind(filter.unique_key.as_ref().map(|key| key.as_str().to_owned()))
}

/// Applies a change that the state machine knows.
async fn transit(txn: &mut Txn<'_>, jobs: Vec<Stored>, change: &Change) -> Result<u64> {
    // May rescue some of the jobs: these stay as they were read, running, and so are not changed.
    let holders = holders(txn, &jobs, change).await?;
    let mut revived: HashSet<String> = HashSet::new();
    let (mut steps, mut cancelling) = (Vec::new(), Vec::new());
    for job in jobs {
        let Some(to) = machine::changed(&job.facts, change, timestamp(txn.now)) else { continue };
        if to.to == State::Running {
            cancelling.push(job);
            continue;
        }
        if job.facts.state.is_final()
            && let Some(unique) = &job.unique
        {
            let taken = holders.get(&unique.key).is_some_and(|holder| holder.job != job.id);
            if taken || revived.contains(&unique.key) {
                continue;
            }
            // A job whose window has passed takes its key from nobody else.
            if unique.until.is_none_or(|until| until > txn.now) {
                revived.insert(unique.key.clone());
            }
        }
        let error = reason(txn, change).map(|message| AttemptError {
            attempt: job.facts.attempt,
            at: timestamp(txn.now),
            kind: FailureKind::Cancelled,
            message,
        });
        steps.push(Step { error, ..Step::new(job, to) });
    }
    // A key that the job itself still holds, a window, is let go to be taken again with the job.
    let mut own = Keys::default();
    for step in steps.iter().filter(|step| step.job.facts.state.is_final()) {
        own.extend(&step.job.unique, step.job.id, |_| true);
    }
    own.free(txn).await?;
    request_cancel(txn, &cancelling, change).await?;
    apply(txn, Cause::Changed, &steps).await?;
    Ok(u64::try_from(steps.len() + cancelling.len()).unwrap_or(u64::MAX))
}

/// Who holds the unique keys of final jobs that are to be retried.
async fn holders(
    txn: &mut Txn<'_>,
    jobs: &[Stored],
    change: &Change,
) -> Result<HashMap<String, Holder>> {
    if !matches!(change, Change::Retry | Change::RetryUnlessCompleted) {
        return Ok(HashMap::new());
    }
    // A job that stays as it is wants nothing: nobody is rescued for its key.
    let now = timestamp(txn.now);
    let moves = |job: &Stored| machine::changed(&job.facts, change, now).is_some();
    let finals = jobs.iter().filter(|job| job.facts.state.is_final() && moves(job));
    let keys: Vec<String> =
        finals.filter_map(|job| job.unique.as_ref().map(|unique| unique.key.clone())).collect();
    if keys.is_empty() {
        return Ok(HashMap::new());
    }
    unique::live_holders(txn, keys).await
}

/// Why a user cancels.
fn reason(txn: &Txn<'_>, change: &Change) -> Option<String> {
    match change {
        Change::Cancel { reason } => reason.as_deref().map(|reason| txn.limits.cut_error(reason)),
        _ => None,
    }
}

/// Asks the workers of running jobs to cancel them.
async fn request_cancel(txn: &mut Txn<'_>, jobs: &[Stored], change: &Change) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let statement = query(&txn.sql.change_cancelling).bind(uuids(jobs.iter().map(|job| &job.id)));
    let changed = txn.execute(statement).await?;
    txn.check_rows("jobs to be cancelled", changed, jobs.len())?;
    let reason = reason(txn, change);
    let (seqs, _) = txn.draw(jobs.len(), 0).await?;
    for (seq, job) in seqs.into_iter().zip(jobs) {
        txn.wake(&job.queue); // its worker should look at once
        let body = EventBody::CancelRequested { reason: reason.clone() };
        txn.emit_single(seq, job.id, &job.kind, &job.queue, body)?;
    }
    Ok(())
}

/// Removes jobs that don't run, with all that belongs to them.
async fn delete(txn: &mut Txn<'_>, jobs: &[Stored]) -> Result<u64> {
    let gone: Vec<&Stored> = jobs.iter().filter(|j| j.facts.state != State::Running).collect();
    if gone.is_empty() {
        return Ok(0);
    }
    let mut keys = Keys::default();
    let mut facts = Vec::with_capacity(gone.len());
    let ids: Vec<JobId> = gone.iter().map(|job| job.id).collect();
    for job in &gone {
        txn.count(&job.queue, &job.kind, job.facts.state, -1);
        keys.extend(&job.unique, job.id, |_| true);
        facts.push(Fact {
            job: job.id,
            kind: &job.kind,
            queue: &job.queue,
            from: Some(job.facts.state),
            to: job.facts.state,
            attempt: job.facts.attempt,
            worker: None,
            error: None,
        });
    }
    blobs::release(txn, &ids).await?;
    let statement = query(&txn.sql.delete_jobs).bind(uuids(&ids));
    let rows = txn.fetch(statement).await?;
    let removed: i64 = rows.first().map_or(Ok(0), |row| txn.get(row, 0))?;
    txn.check_rows("jobs deleted", u64::try_from(removed).unwrap_or(0), gone.len())?;
    keys.free(txn).await?;
    let (seqs, _) = txn.draw(1, 0).await?;
    txn.emit(seqs.first().copied().unwrap_or_default(), feed::deletions(facts));
    Ok(u64::try_from(gone.len()).unwrap_or(u64::MAX))
}
