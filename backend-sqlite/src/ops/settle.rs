//! Settlements: the fence is read once for the whole batch, or not at all where all jobs are remembered (then the statements that
//! write decide); the state machine says what follows, and the outcomes are applied in a few set statements.

use std::collections::{HashMap, HashSet};

use sqlx::Row as _;
use windlass_core::machine;
use windlass_core::{
    AttemptError, AttemptOutcome, Cause, Error, JobId, LeaseKey, NewJob, Note, Result, Settled,
    Settlement, State,
};

use crate::batch::Lines;
use crate::ops::apply::{Step, apply};
use crate::ops::blobs::{self, References};
use crate::ops::insert::check_start;
use crate::ops::memory::Memory;
use crate::ops::stored::Stored;
use crate::ops::{insert, notes};
use crate::script::{Statement, statement};
use crate::txn::{Tick, Txn};
use windlass_core::kit::timestamp;

/// Applies settlements; the answers stand in their order.
pub(crate) async fn settle(txn: &mut Txn<'_>, settlements: &[Settlement]) -> Result<Vec<Settled>> {
    let mut answers: Vec<Option<Settled>> = vec![None; settlements.len()];
    let mut open: Vec<usize> = (0..settlements.len()).collect();
    while !open.is_empty() {
        // A job that stands twice waits for the next round.
        let mut seen = HashSet::with_capacity(open.len());
        let (round, rest): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|n| seen.insert(settlements[*n].key.job));
        let batch: Vec<&Settlement> = round.iter().map(|n| &settlements[*n]).collect();
        for (n, answer) in round.into_iter().zip(settle_round(txn, &batch).await?) {
            answers[n] = Some(answer);
        }
        open = rest;
    }
    txn.forget(settlements);
    Ok(answers.into_iter().map(|answer| answer.unwrap_or(Settled::Lost)).collect())
}

/// Applies settlements of different jobs.
async fn settle_round(txn: &mut Txn<'_>, batch: &[&Settlement]) -> Result<Vec<Settled>> {
    let keys: Vec<LeaseKey> = batch.iter().map(|settlement| settlement.key).collect();
    let mut running = match txn.recall(batch) {
        Some(jobs) => jobs,
        None => running(txn, &keys).await?,
    };
    let mut answers = HashMap::with_capacity(batch.len());
    let (mut ready, mut missing) = (Vec::new(), Vec::new());
    for settlement in batch {
        let Some(job) = running.remove(&settlement.key) else {
            missing.push(&settlement.key);
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
    already(txn, &missing, &mut answers).await?;
    Ok(batch.iter().map(|s| answers.remove(&s.key.job).unwrap_or(Settled::Lost)).collect())
}

/// Reads the jobs that run under their key.
pub(crate) async fn running(
    txn: &mut Txn<'_>,
    keys: &[LeaseKey],
) -> Result<HashMap<LeaseKey, Stored>> {
    let rows = match txn.take_looked() {
        Some(rows) => Some(rows),
        None => txn.read_json(fenced(keys)).await?,
    };
    if let Some(json) = rows.as_deref().and_then(|rows| rows.first()?.try_get(0).ok()) {
        return Stored::read_json(json, keys);
    }
    // A column of one of the jobs holds what JSON can't.
    let query = statement(include_str!("../sql/settle_rows.sql")).bind(fences(keys.iter()));
    Ok(Stored::read_rows(&txn.read(query).await?, keys))
}

fn fenced(keys: &[LeaseKey]) -> Statement {
    statement(include_str!("../sql/settle.sql")).bind(fences(keys.iter()))
}

/// Whether [`settle`] needs to look at nothing, thanks to what the claims saw.
pub(crate) fn knows(settlements: &[Settlement], memory: &Memory) -> bool {
    memory.knows(&settlements.iter().collect::<Vec<_>>())
}

/// Fails unless the tick is as given.
pub(crate) fn check_guess(tick: &Tick) -> Statement {
    statement(include_str!("../sql/settle_guess.sql"))
        .bind(tick.now)
        .bind(tick.seq)
        .bind(tick.turn)
        .bind(tick.config)
}

/// What [`settle`] looks at first.
pub(crate) fn look(settlements: &[Settlement]) -> Option<Statement> {
    let mut seen = HashSet::with_capacity(settlements.len());
    let keys: Vec<LeaseKey> = settlements.iter().map(|settlement| settlement.key).collect();
    keys.iter().all(|key| seen.insert(key.job)).then(|| fenced(&keys))
}

fn fences<'a>(keys: impl Iterator<Item = &'a LeaseKey>) -> String {
    let mut lines = Lines::default();
    for key in keys {
        lines.row(key.job.as_bytes()).id(key.claim_id.as_bytes()).number(key.epoch.0);
    }
    lines.done().0
}

/// Answers for jobs that don't run under their key.
async fn already(
    txn: &mut Txn<'_>,
    keys: &[&LeaseKey],
    answers: &mut HashMap<JobId, Settled>,
) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(include_str!("../sql/settle_already.sql"));
    let query = query.bind(fences(keys.iter().copied()));
    for row in txn.fetch(query).await? {
        let job = JobId::from_slice(&txn.get::<Vec<u8>>(&row, 0)?)?;
        if let Some(state) = State::from_code(txn.get(&row, 1)?) {
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
        Step { error, result, ..Step::new(self.job, to) }
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
    let mut kept = References::new();
    let mut follow_ups: Vec<NewJob> = Vec::new();
    let mut steps = Vec::with_capacity(accepted.len());
    for mut one in accepted {
        added.add(txn, &one.job, std::mem::take(&mut one.notes))?;
        if let AttemptOutcome::Completed { blobs, .. } = &one.settlement.outcome {
            kept.add(one.job.id, blobs);
        }
        follow_ups.extend(one.settlement.follow_ups.iter().cloned());
        let step = one.step(txn);
        answers.insert(step.job.id, Settled::Applied { state: step.to.to });
        steps.push(step);
    }
    added.write(txn, include_str!("../sql/notes.sql")).await?;
    blobs::refer(txn, kept);
    apply(txn, Cause::Settled, &steps).await?;
    if follow_ups.is_empty() {
        return Ok(());
    }
    insert::follow_ups(txn, &follow_ups).await
}
