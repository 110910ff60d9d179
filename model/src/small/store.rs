//! The store of the small model: rows and leases, moved by the library's own state machine.
//!
//! Fields that say "told" are not the store's: they record what really happened, for the properties to compare with. They are part
//! of the store because a restore takes them back as well: what a lost replica accepted never happened.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use windlass_core::machine::{self, Facts, Fence, Rescue, Transition};
use windlass_core::{
    AttemptOutcome, ClaimId, Epoch, Failure, FailureKind, JobId, LeaseKey, State, WorkerId,
};

use super::{Flaw, Guard};

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

/// Told: one taking of a job. No store hands it out and no guard sees it; it goes with a key to show whose the key is, so that
/// two takings with the same key would be told apart. A claim applied again after a restore is the same
/// taking, since the first never happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    claim_id: ClaimId,
    /// How often the store had applied this claim by then, this time too.
    nth: u8,
}

/// A key, and whose it really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Held {
    pub(super) key: LeaseKey,
    pub(super) ticket: Ticket,
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
    /// Told: who really holds it.
    pub(super) holder: Option<Ticket>,
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

    pub(super) fn held(&self) -> Option<Held> {
        Some(Held { key: self.key()?, ticket: self.holder? })
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
    /// A write was accepted from somebody who does not hold the job.
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
    /// Told: how often each claim was applied.
    applied: BTreeMap<ClaimId, u8>,
    /// Told: takings whose finish was accepted.
    finished: BTreeSet<Ticket>,
}

impl Db {
    pub(super) fn new(jobs: u128) -> Self {
        let row = |n| Row::new(JobId::from_uuid(uuid::Uuid::from_u128(n)));
        Self {
            rows: (1..=jobs).map(row).collect(),
            leases: Vec::new(),
            applied: BTreeMap::new(),
            finished: BTreeSet::new(),
        }
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
    ) -> Result<Option<Held>, ()> {
        if !self.is_alive(worker) {
            return Err(());
        }
        let mine = |row: &&Row| {
            row.owner == Some(worker) && row.key().is_some_and(|k| k.claim_id == claim_id)
        };
        if let Some(row) = self.rows.iter().find(mine).filter(|_| resend) {
            return Ok(row.held());
        }
        let Some((row, to)) =
            self.rows.iter_mut().find_map(|row| machine::claimed(&row.facts()).map(|to| (row, to)))
        else {
            return Ok(None);
        };
        row.apply(&to, Some((worker, claim_id)));
        let nth = self.applied.entry(claim_id).or_default();
        *nth += 1;
        row.counted += 1;
        row.holder = Some(Ticket { claim_id, nth: *nth });
        Ok(row.held())
    }

    /// What is accepted is written, right or wrong.
    pub(super) fn settle(
        &mut self,
        (guard, flaw): (Guard, Option<Flaw>),
        sender: WorkerId,
        held: &Held,
        (outcome, in_lease): (Outcome, bool),
    ) -> (Answer, BTreeSet<Wrong>) {
        let mut wrong = BTreeSet::new();
        let Some(row) = self.rows.iter_mut().find(|row| row.id == held.key.job) else {
            return (Answer::Lost, wrong);
        };
        match guard.fence(row, &held.key, in_lease) {
            Fence::Stale => return (Answer::Lost, wrong),
            Fence::Finished => return (Answer::Already, wrong),
            Fence::Holds => {}
        }
        if !self.finished.insert(held.ticket) {
            wrong.insert(Wrong::FinishedTwice);
        }
        if row.holder != Some(held.ticket) {
            wrong.insert(Wrong::StaleAccepted);
        }
        let before = row.attempt;
        let to = machine::settled(&row.facts(), &outcome.of(row));
        let owner = Some((sender, held.key.claim_id)).filter(|_| to.to.is_final());
        row.apply(&to, owner);
        if flaw == Some(Flaw::KeepsAttempts) {
            row.attempt = before;
        }
        row.holder = None;
        if outcome == Outcome::Released {
            row.counted = row.counted.saturating_sub(1);
        }
        (Answer::Applied, wrong)
    }

    /// Whether the job runs under a worker without a lease.
    pub(super) fn is_orphan(&self, job: usize, flaw: Option<Flaw>) -> bool {
        let row = &self.rows[job];
        let runs = match flaw {
            Some(Flaw::NeverRescues) => false,
            Some(Flaw::RescuesFinal) => row.owner.is_some(),
            _ => row.state == State::Running,
        };
        runs && row.owner.is_none_or(|worker| !self.is_alive(worker))
    }

    pub(super) fn rescue(&mut self, job: usize, flaw: Option<Flaw>) {
        let row = &mut self.rows[job];
        let mut facts = row.facts();
        if flaw == Some(Flaw::RescuesFinal) {
            facts.state = State::Running;
        }
        if let Some(to) = machine::rescued(&facts, Rescue::WorkerLost) {
            row.apply(&to, None);
            row.holder = None;
        }
    }

    /// Whether all jobs end once nothing goes wrong any more: every lease runs out, what is orphaned is rescued, and a fresh
    /// worker takes job after job.
    pub(super) fn drains(&self, guard: Guard, flaw: Option<Flaw>) -> bool {
        let mut db = self.clone();
        db.leases.iter_mut().for_each(|lease| lease.1 = false);
        for job in 0..db.rows.len() {
            if db.is_orphan(job, flaw) {
                db.rescue(job, flaw);
            }
        }
        let fresh = WorkerId::from_uuid(uuid::Uuid::max());
        db.register(fresh);
        for n in 0..db.rows.len() {
            let claim_id = ClaimId::from_uuid(uuid::Uuid::from_u128(u128::MAX - n as u128));
            let Ok(Some(held)) = db.claim(fresh, claim_id, false) else { break };
            db.settle((guard, flaw), fresh, &held, (Outcome::Done, true));
        }
        db.rows.iter().all(|row| row.state.is_final())
    }
}
