//! What users change: cancel, retry, reschedule, delete.

use std::collections::HashSet;

use windlass_core::machine;
use windlass_core::{
    AttemptError, Cause, Change, Changed, Cursor, EventBody, FailureKind, JobFilter, JobId, Result,
    Selector, State,
};

use crate::batch::{Query, Rows, ids, size, texts};
use crate::ops::apply::{Step, apply};
use crate::ops::insert::check_start;
use crate::ops::stored::Stored;
use crate::ops::unique;
use crate::script::statement;
use crate::txn::Txn;
use windlass_core::kit::feed::{self, Fact};
use windlass_core::kit::timestamp;

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
    let after = after.map_or_else(Vec::new, |cursor| cursor.0.as_bytes().to_vec());
    let (jobs, next) = match target {
        Selector::Filter(filter) => by_filter(txn, filter, after).await?,
        Selector::Ids(list) => (by_ids(txn, list, after).await?, None),
        _ => {
            return Err(windlass_core::Error::invalid("selector", "this backend does not know it"));
        }
    };
    let count = match change {
        Change::Delete => delete(txn, &jobs),
        _ => transit(txn, jobs, change).await?,
    };
    Ok(Changed { count, next })
}

async fn by_ids(txn: &mut Txn<'_>, list: &[JobId], after: Vec<u8>) -> Result<Vec<Stored>> {
    let list = ids(list.iter().map(JobId::as_bytes));
    let query = sqlx::query(include_str!("../sql/change_ids.sql")).bind(list).bind(after);
    let rows = txn.fetch(query).await?;
    // Who names one job alone is told; else a job that can't be read is in nobody's way.
    match rows.as_slice() {
        [row] => Ok(vec![Stored::read(row)?]),
        rows => Ok(Stored::readable(rows)),
    }
}

/// Looks at the next jobs by id; answers those that pass and where to go on.
async fn by_filter(
    txn: &mut Txn<'_>,
    filter: &JobFilter,
    after: Vec<u8>,
) -> Result<(Vec<Stored>, Option<Cursor>)> {
    let query = sqlx::query(include_str!("../sql/change_filter.sql"));
    let query = query.bind(after).bind(size(txn.limits.batch));
    let mut rows = txn.fetch(bind_filter(query, filter)).await?;
    let mut next = None;
    // The one row without a state is the last one looked at.
    let place = rows.iter().position(|row| matches!(txn.get::<Option<i64>>(row, 1), Ok(None)));
    if let Some(last) = place.map(|place| rows.remove(place)) {
        let looked: i64 = txn.get(&last, 2)?;
        let id: Option<Vec<u8>> = txn.get(&last, 0)?;
        if let Some(id) = id.filter(|_| looked >= size(txn.limits.batch)) {
            next = Some(Cursor(JobId::from_slice(&id)?));
        }
    }
    let mut jobs = Stored::readable(&rows);
    jobs.sort_unstable_by_key(|job| job.id);
    Ok((jobs, next))
}

/// Binds states, queues, kinds, tags and unique key, in this order.
pub(crate) fn bind_filter(query: Query, filter: &JobFilter) -> Query {
    let states: Vec<u8> = filter.states.iter().map(|state| state.code()).collect();
    query
        .bind(format!("{states:?}"))
        .bind(texts(filter.queues.iter().map(|queue| queue.as_str())))
        .bind(texts(filter.kinds.iter().map(|kind| kind.as_str())))
        .bind(texts(filter.tags.iter().map(|tag| tag.as_str())))
        .bind(filter.unique_key.as_ref().map(|key| key.as_str().to_owned()))
}

/// Applies a change that the state machine knows.
async fn transit(txn: &mut Txn<'_>, jobs: Vec<Stored>, change: &Change) -> Result<u64> {
    // May rescue some of the jobs: these stay as they were read, running, and so are not changed.
    let taken = taken_keys(txn, &jobs, change).await?;
    let mut revived = HashSet::new();
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
            if taken.contains(&(unique.key.clone(), job.id)) || revived.contains(&unique.key) {
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
    request_cancel(txn, &cancelling, change)?;
    apply(txn, Cause::Changed, &steps).await?;
    Ok(u64::try_from(steps.len() + cancelling.len()).unwrap_or(u64::MAX))
}

/// Of final jobs to be retried: the unique keys that other jobs hold by now, with the job that wants each.
async fn taken_keys(
    txn: &mut Txn<'_>,
    jobs: &[Stored],
    change: &Change,
) -> Result<HashSet<(String, JobId)>> {
    let mut wanted = Vec::new();
    if matches!(change, Change::Retry | Change::RetryUnlessCompleted) {
        // A job that stays as it is wants nothing: nobody is rescued for its key.
        let now = timestamp(txn.now);
        let moves = |job: &Stored| machine::changed(&job.facts, change, now).is_some();
        for job in jobs.iter().filter(|job| job.facts.state.is_final() && moves(job)) {
            wanted.extend(job.unique.iter().map(|unique| (unique.key.clone(), job.id)));
        }
    }
    if wanted.is_empty() {
        return Ok(HashSet::new());
    }
    let keys = texts(wanted.iter().map(|(key, _)| key.as_str()));
    let holders = unique::holders(txn, keys).await?;
    wanted.retain(|(key, job)| holders.get(key).is_some_and(|holder| holder.job != *job));
    Ok(wanted.into_iter().collect())
}

/// Why a user cancels.
fn reason(txn: &Txn<'_>, change: &Change) -> Option<String> {
    match change {
        Change::Cancel { reason } => reason.as_deref().map(|reason| txn.limits.cut_error(reason)),
        _ => None,
    }
}

/// Asks the workers of running jobs to cancel them.
fn request_cancel(txn: &mut Txn<'_>, jobs: &[Stored], change: &Change) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new();
    for job in jobs {
        rows.guarded(&job.guard());
    }
    txn.write(rows.guarded_query(include_str!("../sql/change_cancelling.sql")));
    let reason = reason(txn, change);
    for job in jobs {
        txn.configured(&job.queue); // its worker should look at once
        let body = EventBody::CancelRequested { reason: reason.clone() };
        txn.emit_single(job.id, &job.kind, &job.queue, body)?;
    }
    Ok(())
}

/// Removes jobs that don't run, with all that belongs to them.
fn delete(txn: &mut Txn<'_>, jobs: &[Stored]) -> u64 {
    let gone: Vec<&Stored> = jobs.iter().filter(|j| j.facts.state != State::Running).collect();
    if gone.is_empty() {
        return 0;
    }
    let (mut waiting, mut finished) = (Rows::new(), Rows::new());
    let mut keys = Rows::new();
    let mut facts = Vec::with_capacity(gone.len());
    for job in &gone {
        txn.count(&job.queue, &job.kind, job.facts.state, -1);
        if job.facts.state.is_final() { &mut finished } else { &mut waiting }.guarded(&job.guard());
        if let Some(unique) = &job.unique {
            keys.row().text(&unique.key).id(job.id.as_bytes()).int(unique.mode);
        }
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
    let list = ids(gone.iter().map(|job| job.id.as_bytes()));
    let query = statement(include_str!("../sql/delete_belongings.sql"));
    txn.write(query.bind(list).bind(txn.now));
    if !waiting.is_empty() {
        txn.write(waiting.guarded_query(include_str!("../sql/jobs_delete.sql")));
    }
    if !finished.is_empty() {
        txn.write(finished.guarded_query(include_str!("../sql/finished_delete.sql")));
    }
    if !keys.is_empty() {
        txn.write(keys.query(include_str!("../sql/unique_free.sql")));
    }
    let seq = txn.next_seq();
    txn.emit(seq, feed::deletions(facts));
    u64::try_from(gone.len()).unwrap_or(u64::MAX)
}
