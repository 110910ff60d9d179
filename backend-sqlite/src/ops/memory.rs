//! What this process claimed, as it was then. Nobody changes what a completion needs to know of a running job while its lease
//! holds: so a worker's completions need not read what they settle, and the statement that writes compares the fence.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use windlass_core::machine::Facts;
use windlass_core::{
    AttemptOutcome, JobId, Kind, LeaseKey, QueueName, Settlement, State, WorkerId,
};

use crate::ops::picked::Taken;
use crate::ops::stored::Stored;

/// Jobs that are remembered. When there are more, all are forgotten: then settlements read.
const MOST: usize = 16_384;

/// The jobs that run since a claim of this process, and what the last claim found ready. Only a hint: what is written is compared
/// with the row.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    jobs: Mutex<HashMap<JobId, Stored>>,
    ready: Mutex<Option<(QueueName, Kind)>>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, HashMap<JobId, Stored>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which kind alone was ready, and in which queue, at the last claim.
    pub(crate) fn ready(&self) -> Option<(QueueName, Kind)> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn note_ready(&self, ready: Option<(QueueName, Kind)>) {
        *self.ready.lock().unwrap_or_else(PoisonError::into_inner) = ready;
    }

    /// Notes jobs whose claim is committed.
    pub(crate) fn note(&self, claimed: Vec<Stored>) {
        let mut jobs = self.lock();
        if jobs.len() + claimed.len() > MOST {
            jobs.clear();
        }
        jobs.extend(claimed.into_iter().take(MOST).map(|job| (job.id, job)));
    }

    /// Whether the settlements are completions of remembered jobs that need to know no more of them.
    pub(crate) fn knows(&self, settlements: &[&Settlement]) -> bool {
        let jobs = self.lock();
        settlements.iter().all(|one| is_bare(one) && is_of(jobs.get(&one.key.job), &one.key))
    }

    /// The jobs of settlements that it [`knows`](Self::knows); it forgets them.
    pub(crate) fn recall(&self, settlements: &[&Settlement]) -> Option<HashMap<LeaseKey, Stored>> {
        if !self.knows(settlements) {
            return None;
        }
        let mut jobs = self.lock();
        let of = |one: &&Settlement| Some((one.key, jobs.remove(&one.key.job)?));
        Some(settlements.iter().filter_map(of).collect())
    }

    /// Forgets jobs that somebody settles.
    pub(crate) fn forget(&self, settlements: &[Settlement]) {
        let mut jobs = self.lock();
        for one in settlements {
            jobs.remove(&one.key.job);
        }
    }
}

/// What is to be noted of jobs that a claim takes: all but those with a unique key.
pub(crate) fn claimed(taken: &[Taken], worker: WorkerId) -> impl Iterator<Item = Stored> {
    taken.iter().filter(|one| !one.unique).map(move |one| stored(one, worker))
}

/// A completion that adds nothing.
fn is_bare(settlement: &Settlement) -> bool {
    matches!(settlement.outcome, AttemptOutcome::Completed { .. })
        && settlement.notes.is_empty()
        && settlement.follow_ups.is_empty()
}

fn is_of(job: Option<&Stored>, key: &LeaseKey) -> bool {
    job.is_some_and(|job| job.claim == Some(key.claim_id) && job.epoch == i64::from(key.epoch.0))
}

/// The job as the claim leaves it.
fn stored(one: &Taken, worker: WorkerId) -> Stored {
    let lease = &one.lease;
    let facts = Facts {
        state: State::Running,
        attempt: lease.attempt,
        max_attempts: lease.max_attempts,
        snoozes: lease.snoozes,
        crashes: lease.crashes,
        cancel_requested: false,
    };
    Stored {
        id: lease.key.job,
        facts,
        epoch: lease.key.epoch.0.into(),
        claim: Some(lease.key.claim_id),
        kind: lease.kind.as_str().to_owned(),
        queue: lease.queue.as_str().to_owned(),
        priority: lease.priority,
        worker: Some(worker),
        unique: None,
        errors: None,
        changes: one.changes,
        notes: 0,
    }
}
