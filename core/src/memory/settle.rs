//! Settling, each settlement whole or not at all.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::insert::Planned;
use super::state::{Inner, Step};
use crate::limits::at_most;
use crate::machine::{Facts, Fence};
use crate::{
    AttemptError, AttemptOutcome, Cause, Error, JobId, Note, Result, Settled, Settlement, machine,
};

/// Everything that has to be known, and checked, before the first write.
struct Ready {
    follow_ups: Planned,
    notes: Vec<Note>,
}

impl Inner {
    pub(super) fn settle(&mut self, settlement: &Settlement, now: Timestamp) -> Settled {
        let key = &settlement.key;
        let Some(row) = self.jobs.get(&key.job) else { return Settled::Lost };
        match row.fence(key) {
            Fence::Holds => {}
            Fence::Finished => return Settled::Already { state: row.job.state },
            Fence::Stale => return Settled::Lost,
        }
        match self.check_settlement(settlement, now) {
            Ok(ready) => self.apply_settlement(settlement, ready, now),
            Err(error) => Settled::Refused { reason: error.to_string() },
        }
    }

    fn check_settlement(&self, settlement: &Settlement, now: Timestamp) -> Result<Ready> {
        let limits = &self.limits;
        match &settlement.outcome {
            AttemptOutcome::Completed { result, blobs } => {
                result.as_ref().map_or(Ok(()), |result| limits.check_result(result))?;
                at_most("blobs of a result", blobs.len(), limits.blobs, "store them as one blob")?;
            }
            _ if !settlement.follow_ups.is_empty() => {
                return Err(Error::invalid("follow-up jobs", "only a completion can have them"));
            }
            AttemptOutcome::Retry { delay, .. } | AttemptOutcome::Snoozed { delay } => {
                limits.check_delay("delay in seconds", *delay)?;
            }
            _ => {}
        }
        let count = settlement.follow_ups.len();
        at_most("follow-up jobs", count, limits.follow_ups, "insert the rest from a follow-up")?;
        let job = settlement.key.job;
        Ok(Ready {
            notes: self.fit_notes(job, &settlement.notes)?,
            follow_ups: self.plan_insert(&settlement.follow_ups, Some(job), now)?,
        })
    }

    fn apply_settlement(&mut self, settled: &Settlement, ready: Ready, now: Timestamp) -> Settled {
        let id = settled.key.job;
        let Some(row) = self.jobs.get(&id) else { return Settled::Lost };
        let (facts, worker) = (Facts::from(&row.job), row.job.worker);
        self.add_notes(id, ready.notes, now);
        let to = machine::settled(&facts, &settled.outcome);
        let error = self.error_of(&settled.outcome, facts.attempt, now);
        if let Some(error) = &error {
            self.keep_error(id, error);
        }
        if let AttemptOutcome::Completed { result, blobs } = &settled.outcome {
            self.keep_result(id, result.clone(), blobs.iter().cloned().collect());
        }
        // A final row carries the fence of its finisher, so that a repeated settlement is recognised.
        let finisher = worker.filter(|_| to.to.is_final());
        let owner = finisher.map(|worker| (worker, settled.key.claim_id));
        let step = Step { worker, owner, error, ..Step::by(Cause::Settled) };
        self.apply(id, &to, step, now);
        self.apply_insert(&settled.follow_ups, &ready.follow_ups, now);
        Settled::Applied { state: to.to }
    }

    fn error_of(
        &self,
        outcome: &AttemptOutcome,
        attempt: u32,
        at: Timestamp,
    ) -> Option<AttemptError> {
        let failure = outcome.failure()?;
        let message = self.limits.cut_error(&failure.message);
        Some(AttemptError { attempt, at, kind: failure.kind, message })
    }

    fn keep_result(
        &mut self,
        id: JobId,
        result: Option<crate::Payload>,
        blobs: BTreeSet<crate::BlobKey>,
    ) {
        if let Some(row) = self.jobs.get_mut(&id) {
            row.job.result = result;
            self.blobs.refer(&blobs);
            row.result_blobs = blobs;
        }
    }
}
