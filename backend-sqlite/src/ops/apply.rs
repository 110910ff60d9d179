//! Applies transitions to stored jobs: every change of state but the insert and the claim goes through here.

use sqlx::Row as _;
use sqlx::sqlite::SqliteRow;
use windlass_core::machine::{self, Facts, Transition};
use windlass_core::{
    AttemptError, Cause, JobId, Payload, Priority, Result, State, UniqueUntil, WorkerId,
};

use crate::batch::{Rows, ids};
use crate::clock::micros;
use crate::error::{map, unreadable};
use crate::feed::{self, Fact};
use crate::ops::unique;
use crate::trail;
use crate::txn::Txn;

/// What a transition needs to know of a stored job. The statements that read it select these columns in this order:
/// `id, state, attempt, max_attempts, snoozes, crashes, cancelling, kind, queue, priority, worker, unique_key, unique_mode,
/// unique_until, errors, changes, notes`.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) id: JobId,
    pub(crate) facts: Facts,
    pub(crate) kind: String,
    pub(crate) queue: String,
    pub(crate) priority: Priority,
    pub(crate) worker: Option<WorkerId>,
    pub(crate) unique: Option<StoredUnique>,
    pub(crate) errors: Option<String>,
    pub(crate) changes: i64,
    pub(crate) notes: i64,
}

/// A stored job's unique rule.
#[derive(Debug, Clone)]
pub(crate) struct StoredUnique {
    pub(crate) key: String,
    pub(crate) mode: i64,
    pub(crate) until: Option<i64>,
}

impl Stored {
    pub(crate) fn read(during: &'static str, row: &SqliteRow) -> Result<Self> {
        Self::decode(row).map_err(map(during))?.ok_or_else(|| unreadable("a job", "unknown state"))
    }

    fn decode(row: &SqliteRow) -> sqlx::Result<Option<Self>> {
        let count = |n: i64| u32::try_from(n).unwrap_or(u32::MAX);
        let Some(state) = State::from_code(row.try_get(1)?) else { return Ok(None) };
        let Ok(id) = JobId::from_slice(row.try_get(0)?) else { return Ok(None) };
        let facts = Facts {
            state,
            attempt: count(row.try_get(2)?),
            max_attempts: count(row.try_get(3)?),
            snoozes: count(row.try_get(4)?),
            crashes: count(row.try_get(5)?),
            cancel_requested: row.try_get(6)?,
        };
        let worker: Option<&[u8]> = row.try_get(10)?;
        let key: Option<String> = row.try_get(11)?;
        let unique = match key {
            Some(key) => Some(StoredUnique {
                key,
                mode: row.try_get::<Option<i64>, _>(12)?.unwrap_or(unique::FINISHED),
                until: row.try_get(13)?,
            }),
            None => None,
        };
        Ok(Some(Self {
            id,
            facts,
            kind: row.try_get(7)?,
            queue: row.try_get(8)?,
            priority: Priority(row.try_get(9)?),
            worker: worker.and_then(|w| WorkerId::from_slice(w).ok()),
            unique,
            errors: row.try_get(14)?,
            changes: row.try_get(15)?,
            notes: row.try_get(16)?,
        }))
    }
}

/// One job's transition.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub(crate) job: Stored,
    pub(crate) to: Transition,
    /// The failure that led here; also added to the job's errors.
    pub(crate) error: Option<AttemptError>,
    /// What the handler returned.
    pub(crate) result: Option<&'a Payload>,
    /// The owner settled it: a final row keeps worker and claim id.
    pub(crate) by_owner: bool,
}

impl<'a> Step<'a> {
    pub(crate) fn new(job: Stored, to: Transition) -> Self {
        Self { job, to, error: None, result: None, by_owner: false }
    }
}

/// Applies transitions of different jobs, all for one cause, as one entry of the feed.
pub(crate) async fn apply(txn: &mut Txn<'_>, cause: Cause, steps: &[Step<'_>]) -> Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let seq = txn.next_seq();
    let (mut waiting, mut finals, mut revived) = (Rows::new(), Rows::new(), Rows::new());
    let (mut freed, mut held, mut long) = (Rows::new(), Rows::new(), Vec::new());
    for step in steps {
        let (job, to) = (&step.job, step.to.to);
        let from = job.facts.state;
        let change = trail::entry(
            seq,
            txn.now,
            (Some(from), to),
            step.to.attempt,
            cause,
            step.error.as_ref(),
        );
        match (from.is_final(), to.is_final()) {
            (_, true) => {
                final_row(txn, &mut finals, step, &change);
                free(&mut freed, job);
            }
            (false, false) => waiting_row(txn, &mut waiting, step, &change),
            (true, false) => {
                waiting_row(txn, &mut revived, step, &change);
                hold(&mut held, job);
            }
        }
        if job.changes + 1 > limit(txn) {
            long.push(job.id);
        }
        if to == State::Available {
            txn.wake(&job.queue);
        }
        txn.count_move(&job.queue, &job.kind, from, to);
    }
    trim(txn, &long, 1).await?;
    write(txn, waiting, include_str!("../sql/apply_waiting.sql"), None).await?;
    let moved = (
        include_str!("../sql/apply_final.sql"),
        Some(include_str!("../sql/apply_final_delete.sql")),
    );
    write(txn, finals, moved.0, moved.1).await?;
    let moved = (
        include_str!("../sql/apply_revived.sql"),
        Some(include_str!("../sql/apply_revived_delete.sql")),
    );
    write(txn, revived, moved.0, moved.1).await?;
    if !freed.is_empty() {
        txn.execute(freed.query(include_str!("../sql/unique_free.sql"))).await?;
    }
    if !held.is_empty() {
        txn.execute(held.query(include_str!("../sql/unique_hold.sql"))).await?;
    }
    let body = feed::changes(cause, steps.iter().map(|step| fact(step, cause)).collect());
    txn.emit(seq, body);
    Ok(())
}

fn limit(txn: &Txn<'_>) -> i64 {
    crate::batch::size(txn.limits.state_events_per_job)
}

fn fact<'a>(step: &'a Step<'_>, cause: Cause) -> Fact<'a> {
    Fact {
        job: step.job.id,
        kind: &step.job.kind,
        queue: &step.job.queue,
        from: Some(step.job.facts.state),
        to: step.to.to,
        attempt: step.to.attempt,
        worker: step.job.worker.filter(|_| matches!(cause, Cause::Settled | Cause::Rescued)),
        error: step.error.as_ref(),
    }
}

/// Runs the statement on the rows, if there are any, then another on the same rows.
async fn write(
    txn: &mut Txn<'_>,
    rows: Rows,
    sql: &'static str,
    then: Option<&'static str>,
) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let (json, blob) = rows.done();
    let json = std::sync::Arc::<str>::from(json);
    txn.execute(sqlx::query(sql).bind(json.clone()).bind(blob).bind(txn.now)).await?;
    if let Some(then) = then {
        txn.execute(sqlx::query(then).bind(json)).await?;
    }
    Ok(())
}

fn waiting_row(txn: &mut Txn<'_>, rows: &mut Rows, step: &Step<'_>, change: &str) {
    let (job, to) = (&step.job, &step.to);
    let rank = (to.to == State::Available).then(|| txn.rank(job.priority));
    let due = to.due_in.map(|delay| txn.now.saturating_add(micros(delay)));
    rows.row()
        .id(job.id.as_bytes())
        .int(to.to.code())
        .int(machine::quarantined(to.crashes))
        .maybe_int(rank)
        .maybe_int(due)
        .int(to.next_epoch)
        .int(to.attempt)
        .int(to.max_attempts)
        .int(to.snoozes)
        .int(to.crashes)
        .int(to.cancel_requested)
        .maybe_text(errors(txn, step).as_deref())
        .text(change);
}

fn final_row(txn: &Txn<'_>, rows: &mut Rows, step: &Step<'_>, change: &str) {
    let (job, to) = (&step.job, &step.to);
    rows.row()
        .id(job.id.as_bytes())
        .int(to.to.code())
        .int(to.next_epoch)
        .int(to.attempt)
        .int(to.max_attempts)
        .int(to.snoozes)
        .int(to.crashes)
        .maybe_text(errors(txn, step).as_deref())
        .text(change)
        .int(step.by_owner);
    match step.result {
        Some(result) => rows.int(result.encoding.code()).bytes(&result.bytes),
        None => rows.null(),
    };
}

/// The errors column after the step; `None` when it stays as it is.
fn errors(txn: &Txn<'_>, step: &Step<'_>) -> Option<String> {
    let error = step.error.as_ref()?;
    let mut errors: Vec<AttemptError> =
        step.job.errors.as_deref().and_then(|e| serde_json::from_str(e).ok()).unwrap_or_default();
    errors.push(error.clone());
    let surplus = errors.len().saturating_sub(txn.limits.errors);
    errors.drain(..surplus);
    serde_json::to_string(&errors).ok()
}

fn free(rows: &mut Rows, job: &Stored) {
    let Some(unique) = &job.unique else { return };
    // A key held for a duration stays held, whatever becomes of the job.
    if unique.mode != unique::WINDOW {
        rows.row().text(&unique.key).id(job.id.as_bytes()).int(unique.mode);
    }
}

fn hold(rows: &mut Rows, job: &Stored) {
    let Some(unique) = &job.unique else { return };
    rows.row().text(&unique.key).id(job.id.as_bytes()).int(unique.mode).maybe_int(unique.until);
}

/// Cuts the trails of jobs that have too many changes, with room for so many more.
pub(crate) async fn trim(txn: &mut Txn<'_>, jobs: &[JobId], room: usize) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let keep = txn.limits.state_events_per_job.saturating_sub(room).max(1);
    let list = ids(jobs.iter().map(JobId::as_bytes));
    let mut rows = Rows::new();
    for row in txn.fetch(sqlx::query(include_str!("../sql/trail_read.sql")).bind(list)).await? {
        let (id, text): (Vec<u8>, String) = (txn.get(&row, 0)?, txn.get(&row, 1)?);
        if let Some(text) = trail::trim(&text, keep)? {
            let id = JobId::from_slice(&id)?;
            rows.row().id(id.as_bytes()).text(&text).int(crate::batch::size(keep));
        }
    }
    if !rows.is_empty() {
        txn.execute(rows.query(include_str!("../sql/trail_write.sql"))).await?;
    }
    Ok(())
}

/// The stored form of how long a key is held.
pub(crate) fn stored_until(until: UniqueUntil, now: i64) -> (i64, Option<i64>) {
    match until {
        UniqueUntil::Started => (unique::STARTED, None),
        UniqueUntil::Finished => (unique::FINISHED, None),
        UniqueUntil::For(window) => (unique::WINDOW, Some(now.saturating_add(micros(window)))),
    }
}
