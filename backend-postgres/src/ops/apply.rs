//! Applies transitions to locked jobs: every change of state but the short paths of insert, claim, completion and promotion goes
//! through here.

use serde::Serialize;
use uuid::Uuid;
use windlass_core::kit::feed::{self, Fact};
use windlass_core::kit::{micros, trail};
use windlass_core::machine::{self, Transition};
use windlass_core::{AttemptError, Cause, JobId, Payload, Result, State, UniqueUntil};

use super::stored::Stored;
use super::unique;
use crate::sql::{query, size};
use crate::txn::{Txn, uuids};

/// One job's transition.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub(crate) job: Stored,
    pub(crate) to: Transition,
    /// The failure that led here; where it ended an attempt, also added to the job's errors.
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

/// A row of the statements that apply steps. `was`, `epoch` and `claim` are the fence: as the row was locked.
#[derive(Serialize)]
struct Row {
    id: JobId,
    was: u8,
    epoch: i64,
    claim: Option<Uuid>,
    state: u8,
    epochs: i32,
    attempt: u32,
    max_attempts: u32,
    snoozes: u32,
    crashes: u32,
    errors: Option<String>,
    change: String,
    // Of a job that waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    lane: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelling: Option<bool>,
    // Of a final job.
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<usize>,
}

/// Applies transitions of different jobs, all for one cause, as one entry of the feed.
pub(crate) async fn apply(txn: &mut Txn<'_>, cause: Cause, steps: &[Step<'_>]) -> Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    let available = steps.iter().filter(|step| step.to.to == State::Available).count();
    let (seqs, turns) = txn.draw(1, available).await?;
    let seq = seqs.first().copied().unwrap_or_default();
    let mut writes = Writes { turns: turns.into_iter(), ..Writes::default() };
    for step in steps {
        writes.add(txn, seq, cause, step);
    }
    writes.write(txn).await?;
    txn.emit(seq, feed::changes(cause, steps.iter().map(|step| fact(step, cause)).collect()));
    let full = limit(txn);
    let long: Vec<JobId> =
        steps.iter().filter(|s| s.job.changes >= full).map(|s| s.job.id).collect();
    trim(txn, &long).await
}

/// The rows of the statements that apply steps.
#[derive(Default)]
struct Writes {
    turns: std::vec::IntoIter<i64>,
    waiting: Vec<Row>,
    finals: Vec<Row>,
    results: Vec<Vec<u8>>,
    revived: Vec<Row>,
    freed: unique::Keys,
    held: unique::Keys,
}

impl Writes {
    fn add(&mut self, txn: &mut Txn<'_>, seq: i64, cause: Cause, step: &Step<'_>) {
        let (job, to) = (&step.job, step.to.to);
        let from = job.facts.state;
        txn.count(&job.queue, &job.kind, from, -1);
        txn.count(&job.queue, &job.kind, to, 1);
        let mut row = row(txn, seq, cause, step);
        if to.is_final() {
            // A key held for a duration stays held, whatever becomes of the job.
            self.freed.extend(&job.unique, job.id, |unique| unique.mode != unique::WINDOW);
            row.owner = Some(step.by_owner);
            if let Some(result) = step.result {
                self.results.push(result.bytes.to_vec());
                (row.encoding, row.place) =
                    (Some(result.encoding.code()), Some(self.results.len()));
            }
            return self.finals.push(row);
        }
        row.lane = Some(u8::from(machine::quarantined(step.to.crashes)));
        row.due_at = step.to.due_in.map(|delay| txn.now.saturating_add(micros(delay)));
        row.cancelling = Some(step.to.cancel_requested);
        if to == State::Available {
            row.turn = self.turns.next();
            txn.wake(&job.queue);
        }
        if from.is_final() {
            let now = txn.now;
            let lasts =
                |unique: &super::stored::StoredUnique| unique.until.is_none_or(|until| until > now);
            self.held.extend(&job.unique, job.id, lasts);
            self.revived.push(row);
        } else {
            self.waiting.push(row);
        }
    }

    async fn write(self, txn: &mut Txn<'_>) -> Result<()> {
        if !self.waiting.is_empty() {
            let statement = query(&txn.sql.apply_waiting).bind(json(&self.waiting)?);
            let changed = txn.execute(statement).await?;
            txn.check_rows("jobs made to wait", changed, self.waiting.len())?;
        }
        if !self.finals.is_empty() {
            let statement = query(&txn.sql.apply_final).bind(json(&self.finals)?);
            let statement = statement.bind(self.results).bind(txn.now);
            let changed = txn.execute(statement).await?;
            txn.check_rows("jobs made final", changed, self.finals.len())?;
        }
        if !self.revived.is_empty() {
            let statement = query(&txn.sql.apply_revived).bind(json(&self.revived)?);
            let changed = txn.execute(statement).await?;
            txn.check_rows("final jobs made to wait", changed, self.revived.len())?;
        }
        self.freed.free(txn).await?;
        self.held.hold(txn).await
    }
}

fn json(rows: &[Row]) -> Result<String> {
    serde_json::to_string(rows).map_err(|e| windlass_core::Error::Encode {
        what: "changes of jobs".into(),
        source: e.into(),
    })
}

fn row(txn: &Txn<'_>, seq: i64, cause: Cause, step: &Step<'_>) -> Row {
    let (job, to) = (&step.job, &step.to);
    let states = (Some(job.facts.state), to.to);
    Row {
        id: job.id,
        was: job.facts.state.code(),
        epoch: job.epoch,
        claim: job.claim_id,
        state: to.to.code(),
        epochs: i32::from(to.next_epoch),
        attempt: to.attempt,
        max_attempts: to.max_attempts,
        snoozes: to.snoozes,
        crashes: to.crashes,
        errors: errors(txn, step),
        change: trail::entry(seq, txn.now, states, to.attempt, cause, step.error.as_ref()),
        lane: None,
        turn: None,
        due_at: None,
        cancelling: None,
        owner: None,
        encoding: None,
        place: None,
    }
}

fn limit(txn: &Txn<'_>) -> i32 {
    i32::try_from(txn.limits.state_events_per_job).unwrap_or(i32::MAX)
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

/// Cuts the trails of jobs that have too many changes.
pub(crate) async fn trim(txn: &mut Txn<'_>, jobs: &[JobId]) -> Result<()> {
    if jobs.is_empty() {
        return Ok(());
    }
    let keep = txn.limits.state_events_per_job.max(1);
    let (mut ids, mut before, mut after) = (Vec::new(), Vec::new(), Vec::new());
    for row in txn.fetch(query(&txn.sql.trail_read).bind(uuids(jobs))).await? {
        let (id, text): (Uuid, String) = (txn.get(&row, 0)?, txn.get(&row, 1)?);
        match trail::trim(&text, keep) {
            Ok(None) => {}
            Ok(Some(short)) => {
                ids.push(id);
                before.push(text);
                after.push(short);
            }
            Err(error) => {
                tracing::error!(job = %id, %error, "a job's history can't be read and is left as it is");
            }
        }
    }
    let kept = i32::try_from(size(keep)).unwrap_or(i32::MAX);
    let statement = query(&txn.sql.trail_write).bind(ids).bind(before).bind(after).bind(kept);
    txn.execute(statement).await?;
    Ok(())
}

/// The stored form of how long a key is held.
pub(crate) fn stored_until(until: UniqueUntil, now: i64) -> (i16, Option<i64>) {
    match until {
        UniqueUntil::Started => (unique::STARTED, None),
        UniqueUntil::Finished => (unique::FINISHED, None),
        UniqueUntil::For(window) => (unique::WINDOW, Some(now.saturating_add(micros(window)))),
    }
}
