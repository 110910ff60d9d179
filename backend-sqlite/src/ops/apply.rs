//! Applies transitions to stored jobs: every change of state but the insert and the claim goes through here.

use windlass_core::machine::{self, Transition};
use windlass_core::{AttemptError, Cause, Payload, Result, State, UniqueUntil};

use crate::batch::{Rows, ids};
use crate::ops::completed::Completed;
use crate::ops::stored::{Guard, Stored};
use crate::ops::unique;
use crate::script::{Value, statement};
use crate::txn::{Tally, Txn};
use windlass_core::kit::bad_json;
use windlass_core::kit::feed::{self, Fact};
use windlass_core::kit::micros;
use windlass_core::kit::trail;

/// One job's transition.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub(crate) job: Stored,
    pub(crate) to: Transition,
    /// The failure that led here; where it ended an attempt, also added to the job's errors.
    pub(crate) error: Option<AttemptError>,
    /// What the handler returned.
    pub(crate) result: Option<&'a Payload>,
}

impl<'a> Step<'a> {
    pub(crate) fn new(job: Stored, to: Transition) -> Self {
        Self { job, to, error: None, result: None }
    }
}

/// Applies transitions of different jobs, all for one cause, as one entry of the feed.
pub(crate) async fn apply(txn: &mut Txn<'_>, cause: Cause, steps: &[Step<'_>]) -> Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let seq = txn.next_seq();
    let mut writes = Writes::new();
    let mut tally = Tally::default();
    for step in steps {
        writes.add(txn, seq, cause, step);
        let (job, from) = (&step.job, step.job.facts.state);
        tally.count(&job.queue, &job.kind, from, -1);
        tally.count(&job.queue, &job.kind, step.to.to, 1);
    }
    txn.count_all(tally);
    trim(txn, &writes.long, 1).await?;
    writes.write(txn, seq, cause);
    let body = feed::changes(cause, steps.iter().map(|step| fact(step, cause)).collect());
    txn.emit(seq, body);
    Ok(())
}

/// The rows of the statements that apply steps.
struct Writes {
    completed: Completed,
    waiting: Rows,
    finals: Rows,
    revived: Rows,
    freed: Rows,
    held: Rows,
    /// Jobs whose trail is full.
    long: Vec<Guard>,
}

impl Writes {
    fn new() -> Self {
        let rows = Rows::new;
        let (waiting, finals, revived) = (rows(), rows(), rows());
        let (freed, held, long) = (rows(), rows(), Vec::new());
        Self { completed: Completed::default(), waiting, finals, revived, freed, held, long }
    }

    fn add(&mut self, txn: &mut Txn<'_>, seq: i64, cause: Cause, step: &Step<'_>) {
        let (job, to) = (&step.job, step.to.to);
        let from = job.facts.state;
        if job.changes >= limit(txn) {
            self.long.push(job.guard());
        }
        if to.is_final() {
            free(&mut self.freed, job);
        }
        if self.completed.take(step) {
            return;
        }
        let (attempt, error) = (step.to.attempt, step.error.as_ref());
        let change = trail::entry(seq, txn.now, (Some(from), to), attempt, cause, error);
        match (from.is_final(), to.is_final()) {
            (_, true) => final_row(txn, &mut self.finals, step, &change),
            (false, false) => waiting_row(txn, &mut self.waiting, step, &change),
            (true, false) => {
                waiting_row(txn, &mut self.revived, step, &change);
                hold(&mut self.held, job, txn.now);
            }
        }
        if to == State::Available {
            txn.wake(&job.queue);
        }
    }

    fn write(self, txn: &mut Txn<'_>, seq: i64, cause: Cause) {
        self.completed.write(txn, seq, cause);
        if !self.waiting.is_empty() {
            txn.write(self.waiting.guarded_query(include_str!("../sql/apply_waiting.sql")));
        }
        if !self.finals.is_empty() {
            finish(txn, self.finals);
        }
        if !self.revived.is_empty() {
            revive(txn, self.revived);
        }
        if !self.freed.is_empty() {
            txn.write(self.freed.query(include_str!("../sql/unique_free.sql")));
        }
        if !self.held.is_empty() {
            txn.write(self.held.query(include_str!("../sql/unique_hold.sql")));
        }
    }
}

/// Moves jobs to the finished ones.
fn finish(txn: &mut Txn<'_>, rows: Rows) {
    let count = rows.len();
    let (json, blob) = rows.done();
    let json = Value::from(json);
    let query = statement(include_str!("../sql/apply_final.sql")).writes(count);
    txn.write(query.bind(json.clone()).bind(blob).bind(txn.now));
    txn.write(statement(include_str!("../sql/jobs_delete.sql")).writes(count).bind(json));
}

/// Moves finished jobs back.
fn revive(txn: &mut Txn<'_>, rows: Rows) {
    let count = rows.len();
    let json = Value::from(rows.done().0);
    let query = statement(include_str!("../sql/apply_revived.sql")).writes(count);
    txn.write(query.bind(json.clone()));
    txn.write(statement(include_str!("../sql/finished_delete.sql")).writes(count).bind(json));
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

fn waiting_row(txn: &mut Txn<'_>, rows: &mut Rows, step: &Step<'_>, change: &str) {
    let (job, to) = (&step.job, &step.to);
    let rank = (to.to == State::Available).then(|| txn.rank(job.priority));
    let due = to.due_in.map(|delay| txn.now.saturating_add(micros(delay)));
    rows.guarded(&job.guard())
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
    rows.guarded(&job.guard())
        .int(to.to.code())
        .int(to.next_epoch)
        .int(to.attempt)
        .int(to.max_attempts)
        .int(to.snoozes)
        .int(to.crashes)
        .maybe_text(errors(txn, step).as_deref())
        .text(change);
    match step.result {
        Some(result) => rows.int(result.encoding.code()).bytes(&result.bytes),
        None => rows.null(),
    };
}

/// The errors column after the step; `None` when it stays as it is.
fn errors(txn: &Txn<'_>, step: &Step<'_>) -> Option<String> {
    // What ends a job that doesn't run is no failure of an attempt.
    let error = step.error.as_ref().filter(|_| step.job.facts.state == State::Running)?;
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

fn hold(rows: &mut Rows, job: &Stored, now: i64) {
    let Some(unique) = &job.unique else { return };
    if unique.until.is_some_and(|until| until <= now) {
        return;
    }
    rows.row().text(&unique.key).id(job.id.as_bytes()).int(unique.mode).maybe_int(unique.until);
}

/// Cuts the trails of jobs that have too many changes, with room for so many more.
pub(crate) async fn trim(txn: &mut Txn<'_>, jobs: &[Guard], room: usize) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let keep = txn.limits.state_events_per_job.saturating_sub(room).max(1);
    let list = ids(jobs.iter().map(|guard| guard.job.as_bytes()));
    let mut rows = Rows::new();
    let found = txn.fetch(sqlx::query(include_str!("../sql/trail_read.sql")).bind(list)).await?;
    // The rows come in the order of the ids asked for.
    for (guard, row) in jobs.iter().zip(&found) {
        let bytes: &[u8] = txn.get(row, 1)?;
        let trimmed = trail::trim(&String::from_utf8_lossy(bytes), keep).unwrap_or_else(|error| {
            let error = bad_json(&error);
            tracing::error!(job = %guard.job, error, "a job's history can't be read and is left as it is");
            None
        });
        if let Some(text) = trimmed {
            rows.guarded(guard).text(&text).int(crate::batch::size(keep));
        }
    }
    if !rows.is_empty() {
        txn.write(rows.guarded_query(include_str!("../sql/trail_write.sql")));
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
