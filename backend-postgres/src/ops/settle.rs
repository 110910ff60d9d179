//! Settlements of any sort: the fenced rows are locked for the whole batch, the state machine says what follows, and the outcomes are applied
//! in a few set statements that compare the fence again. Plain completions take the short way of [`plain`](super::plain).

use std::collections::{HashMap, HashSet};

use uuid::Uuid;
use windlass_core::kit::timestamp;
use windlass_core::machine;
use windlass_core::{
    AttemptError, AttemptOutcome, Cause, Error, JobId, LeaseKey, NewJob, Note, Result, Settled,
    Settlement, State,
};

use super::apply::{Step, apply};
use super::blobs::References;
use super::insert::check_start;
use super::stored::{Stored, fences, lock_owned};
use super::{insert, notes};
use crate::sql::query;
use crate::txn::Txn;

/// Applies settlements; the answers stand in their order. Waits for jobs that others are changing, or else passes them over.
pub(crate) async fn settle(
    txn: &mut Txn<'_>,
    settlements: &[&Settlement],
    wait: bool,
) -> Result<Vec<Settled>> {
    let mut answers: Vec<Option<Settled>> = vec![None; settlements.len()];
    let mut open: Vec<usize> = (0..settlements.len()).collect();
    while !open.is_empty() {
        // A job that stands twice waits for the next round.
        let mut seen = HashSet::with_capacity(open.len());
        let (round, rest): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|n| seen.insert(settlements[*n].key.job));
        let batch: Vec<&Settlement> = round.iter().map(|n| settlements[*n]).collect();
        for (n, answer) in round.into_iter().zip(settle_round(txn, &batch, wait).await?) {
            answers[n] = Some(answer);
        }
        open = rest;
    }
    Ok(answers.into_iter().map(|answer| answer.unwrap_or(Settled::Lost)).collect())
}

/// Applies settlements of different jobs.
async fn settle_round(
    txn: &mut Txn<'_>,
    batch: &[&Settlement],
    wait: bool,
) -> Result<Vec<Settled>> {
    let keys: Vec<LeaseKey> = batch.iter().map(|settlement| settlement.key).collect();
    let mut running: HashMap<JobId, Stored> =
        lock_owned(txn, &keys, wait).await?.into_iter().map(|job| (job.id, job)).collect();
    let mut answers = HashMap::with_capacity(batch.len());
    let (mut ready, mut missing) = (Vec::new(), Vec::new());
    for settlement in batch {
        let Some(job) = running.remove(&settlement.key.job) else {
            missing.push(settlement.key);
            continue;
        };
        match Accepted::check(txn, settlement, job) {
            Ok(accepted) => ready.push(accepted),
            Err(refusal) => {
                let reason = refusal.to_string();
                answers.insert(settlement.key.job, Settled::Refused { reason });
            }
        }
    }
    apply_all(txn, ready, &mut answers).await?;
    if !wait {
        busy(txn, &missing, &mut answers).await?;
    }
    // After the look at what is busy: what ended in between is final by now.
    already(txn, &missing, &mut answers).await?;
    Ok(batch.iter().map(|s| answers.remove(&s.key.job).unwrap_or(Settled::Lost)).collect())
}

/// Answers for jobs that run under their key still, and that others have locked.
async fn busy(
    txn: &mut Txn<'_>,
    keys: &[LeaseKey],
    answers: &mut HashMap<JobId, Settled>,
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let (ids, epochs, claims) = fences(keys);
    let statement = query(&txn.sql.settle_busy).bind(ids).bind(epochs).bind(claims);
    for row in txn.fetch(statement).await? {
        answers.insert(JobId::from_uuid(txn.get::<Uuid>(&row, 0)?), Settled::Busy);
    }
    Ok(())
}

/// Answers for jobs that don't run under their key.
async fn already(
    txn: &mut Txn<'_>,
    keys: &[LeaseKey],
    answers: &mut HashMap<JobId, Settled>,
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let (ids, epochs, claims) = fences(keys);
    let statement = query(&txn.sql.settle_already).bind(ids).bind(epochs).bind(claims);
    for row in txn.fetch(statement).await? {
        let job = JobId::from_uuid(txn.get::<Uuid>(&row, 0)?);
        if let Some(state) = State::from_code(txn.get::<i16>(&row, 1)?.into()) {
            answers.insert(job, Settled::Already { state });
        }
    }
    Ok(())
}

/// A settlement that can be applied, together with its job.
struct Accepted<'a> {
    settlement: &'a Settlement,
    job: Stored,
    notes: Vec<Note>,
}

impl<'a> Accepted<'a> {
    /// Everything that can be refused is refused here, before the first write.
    fn check(txn: &Txn<'_>, settlement: &'a Settlement, job: Stored) -> Result<Self> {
        let limits = txn.limits;
        match &settlement.outcome {
            AttemptOutcome::Completed { result, blobs } => {
                result.as_ref().map_or(Ok(()), |result| limits.check_result(result))?;
                at_most("blobs of a job", blobs.len(), limits.blobs, "store them as one blob")?;
            }
            AttemptOutcome::Retry { delay, .. } | AttemptOutcome::Snoozed { delay } => {
                limits.check_delay("delay in seconds", *delay)?;
            }
            _ => {}
        }
        let follow_ups = &settlement.follow_ups;
        let completed = matches!(settlement.outcome, AttemptOutcome::Completed { .. });
        if !follow_ups.is_empty() && !completed {
            return Err(Error::invalid("follow-up jobs", "only a completed job can have them"));
        }
        at_most(
            "follow-up jobs of one settlement",
            follow_ups.len(),
            limits.follow_ups,
            "insert them with `Store::insert`, or let a follow-up job insert the rest",
        )?;
        for job in follow_ups {
            limits.check_job(job)?;
            check_start(txn, job.start)?;
        }
        let notes = notes::fit(limits, &settlement.notes)?;
        notes::check_room(limits, &job, &notes)?;
        Ok(Self { settlement, job, notes })
    }

    fn step(self, txn: &Txn<'_>) -> Step<'a> {
        let outcome = &self.settlement.outcome;
        let to = machine::settled(&self.job.facts, outcome);
        let error = outcome.failure().map(|failure| AttemptError {
            attempt: self.job.facts.attempt,
            at: timestamp(txn.now),
            kind: failure.kind,
            message: txn.limits.cut_error(&failure.message),
        });
        let result = match outcome {
            AttemptOutcome::Completed { result, .. } => result.as_ref(),
            _ => None,
        };
        Step { error, result, by_owner: true, ..Step::new(self.job, to) }
    }
}

fn at_most(what: &'static str, actual: usize, limit: usize, hint: &'static str) -> Result<()> {
    if actual <= limit {
        return Ok(());
    }
    let (actual, limit) = (actual as u64, limit as u64);
    Err(Error::LimitExceeded { what: what.into(), actual, limit, hint: hint.into() })
}

/// Applies settlements, then inserts their follow-ups, which may take over the unique keys of their parents.
async fn apply_all(
    txn: &mut Txn<'_>,
    accepted: Vec<Accepted<'_>>,
    answers: &mut HashMap<JobId, Settled>,
) -> Result<()> {
    let mut added = notes::Added::default();
    let mut kept = References::default();
    let mut follow_ups: Vec<NewJob> = Vec::new();
    let mut steps = Vec::with_capacity(accepted.len());
    for mut one in accepted {
        added.add(one.settlement.key, &one.job, std::mem::take(&mut one.notes));
        if let AttemptOutcome::Completed { blobs, .. } = &one.settlement.outcome {
            kept.add(one.job.id, blobs);
        }
        follow_ups.extend(one.settlement.follow_ups.iter().cloned());
        let step = one.step(txn);
        answers.insert(step.job.id, Settled::Applied { state: step.to.to });
        steps.push(step);
    }
    added.write(txn).await?;
    kept.refer(txn).await?;
    apply(txn, Cause::Settled, &steps).await?;
    if follow_ups.is_empty() {
        return Ok(());
    }
    insert::follow_ups(txn, &follow_ups).await
}
