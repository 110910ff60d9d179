//! The store of the small model: rows and leases, moved by the library's own state machine.
//!
//! Fields that say "told" are not the store's: they record what really happened, for the properties to compare with. They are part
//! of the store because a restore takes them back as well: what a lost replica accepted never happened.

use std::collections::BTreeSet;
use std::time::Duration;

use windlass_core::machine::{self, Facts, Fence, Rescue, Transition};
use windlass_core::{
    AttemptOutcome, ClaimId, Epoch, Failure, FailureKind, JobId, LeaseKey, State, WorkerId,
};

use super::Guard;

/// How an attempt ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It succeeded.
    Done,
    /// It failed; another follows at once, unless it was the last.
    Failed,
    /// It is given back.
    Released,
}

impl Outcome {
    fn of(self, row: &Row) -> AttemptOutcome {
        match self {
            Self::Done => AttemptOutcome::Completed { result: None, blobs: Vec::new() },
            Self::Failed => {
                let failure = Failure { kind: FailureKind::Error, message: String::new() };
                machine::after_failure(row.attempt, MAX_ATTEMPTS, Duration::ZERO, failure)
            }
            Self::Released => AttemptOutcome::Released,
        }
    }
}

/// What a settlement is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Answer {
    /// Applied.
    Applied,
    /// Applied before.
    Already,
    /// The key is stale.
    Lost,
}

pub(super) const MAX_ATTEMPTS: u32 = 2;

/// A job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Row {
    pub(super) id: JobId,
    pub(super) state: State,
    pub(super) attempt: u32,
    pub(super) crashes: u32,
    pub(super) epoch: Epoch,
    pub(super) claim_id: Option<ClaimId>,
    pub(super) owner: Option<WorkerId>,
    /// Told: the key of the claim that really holds it.
    pub(super) holder: Option<LeaseKey>,
    /// Told: claims, less those whose attempt was given back.
    pub(super) counted: u32,
    /// Told: the final state it reached.
    pub(super) ended: Option<State>,
}

impl Row {
    fn new(id: JobId) -> Self {
        Self {
            id,
            state: State::Available,
            attempt: 0,
            crashes: 0,
            epoch: Epoch(0),
            claim_id: None,
            owner: None,
            holder: None,
            counted: 0,
            ended: None,
        }
    }

    fn facts(&self) -> Facts {
        Facts {
            state: self.state,
            attempt: self.attempt,
            max_attempts: MAX_ATTEMPTS,
            snoozes: 0,
            crashes: self.crashes,
            cancel_requested: false,
        }
    }

    pub(super) fn key(&self) -> Option<LeaseKey> {
        let claim_id = self.claim_id.filter(|_| self.state == State::Running)?;
        Some(LeaseKey { job: self.id, epoch: self.epoch, claim_id })
    }

    fn apply(&mut self, to: &Transition, owner: Option<(WorkerId, ClaimId)>) {
        self.state = to.to;
        self.attempt = to.attempt;
        self.crashes = to.crashes;
        if to.next_epoch {
            self.epoch = self.epoch.next();
        }
        self.owner = owner.map(|(worker, _)| worker);
        self.claim_id = owner.map(|(_, claim_id)| claim_id);
        if to.to.is_final() && self.ended.is_none() {
            self.ended = Some(to.to);
        }
    }
}

/// What must never happen, once it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wrong {
    /// A key was accepted that is not of the claim that holds the job.
    StaleAccepted,
    /// A claim finished twice.
    FinishedTwice,
}

/// The store.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Db {
    pub(super) rows: Vec<Row>,
    /// Workers with a row, and whether their lease is good.
    leases: Vec<(WorkerId, bool)>,
    /// Told: claims whose finish was accepted.
    finished: BTreeSet<LeaseKey>,
}

impl Db {
    pub(super) fn new(jobs: u128) -> Self {
        let row = |n| Row::new(JobId::from_uuid(uuid::Uuid::from_u128(n)));
        Self { rows: (1..=jobs).map(row).collect(), leases: Vec::new(), finished: BTreeSet::new() }
    }

    pub(super) fn register(&mut self, worker: WorkerId) {
        self.leases.push((worker, true));
    }

    pub(super) fn is_alive(&self, worker: WorkerId) -> bool {
        self.leases.contains(&(worker, true))
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = WorkerId> {
        self.leases.iter().filter(|(_, alive)| *alive).map(|(worker, _)| *worker)
    }

    /// A lease runs out.
    pub(super) fn expire(&mut self, worker: WorkerId) {
        for lease in self.leases.iter_mut().filter(|(known, _)| *known == worker) {
            lease.1 = false;
        }
    }

    /// One job at most. `Err` when the worker has no lease.
    pub(super) fn claim(
        &mut self,
        worker: WorkerId,
        claim_id: ClaimId,
        resend: bool,
    ) -> Result<Option<LeaseKey>, ()> {
        if !self.is_alive(worker) {
            return Err(());
        }
        let mine = |row: &&Row| {
            row.owner == Some(worker) && row.key().is_some_and(|k| k.claim_id == claim_id)
        };
        if let Some(row) = self.rows.iter().find(mine).filter(|_| resend) {
            return Ok(row.key());
        }
        let Some((row, to)) =
            self.rows.iter_mut().find_map(|row| machine::claimed(&row.facts()).map(|to| (row, to)))
        else {
            return Ok(None);
        };
        row.apply(&to, Some((worker, claim_id)));
        row.counted += 1;
        row.holder = row.key();
        Ok(row.key())
    }

    pub(super) fn settle(
        &mut self,
        guard: Guard,
        sender: WorkerId,
        key: &LeaseKey,
        outcome: Outcome,
    ) -> Result<Answer, BTreeSet<Wrong>> {
        let alive = self.is_alive(sender);
        let Some(row) = self.rows.iter_mut().find(|row| row.id == key.job) else {
            return Ok(Answer::Lost);
        };
        match guard.fence(row, key, alive && row.owner == Some(sender)) {
            Fence::Stale => return Ok(Answer::Lost),
            Fence::Finished => return Ok(Answer::Already),
            Fence::Holds => {}
        }
        let twice = (!self.finished.insert(*key)).then_some(Wrong::FinishedTwice);
        let stale = (row.holder != Some(*key)).then_some(Wrong::StaleAccepted);
        if twice.or(stale).is_some() {
            return Err(twice.into_iter().chain(stale).collect());
        }
        let to = machine::settled(&row.facts(), &outcome.of(row));
        let owner = Some((sender, key.claim_id)).filter(|_| to.to.is_final());
        row.apply(&to, owner);
        row.holder = None;
        if outcome == Outcome::Released {
            row.counted -= 1;
        }
        Ok(Answer::Applied)
    }

    /// Whether the job runs under a worker without a lease.
    pub(super) fn is_orphan(&self, job: usize) -> bool {
        let row = &self.rows[job];
        row.state == State::Running && row.owner.is_none_or(|worker| !self.is_alive(worker))
    }

    pub(super) fn rescue(&mut self, job: usize) {
        let row = &mut self.rows[job];
        if let Some(to) = machine::rescued(&row.facts(), Rescue::WorkerLost) {
            row.apply(&to, None);
            row.holder = None;
        }
    }
}
