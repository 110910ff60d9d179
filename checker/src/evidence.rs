//! What the checker looks at.

use serde::{Deserialize, Serialize};
use windlass_core::{
    Cause, ClaimId, EventBody, FailureKind, JobId, JobRecord, LeaseKey, State, WorkerId,
};

use crate::history::Entry;

/// A state change in a job's history, as the store keeps it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The state before.
    pub from: Option<State>,
    /// The state after.
    pub to: State,
    /// The attempt counter after.
    pub attempt: u32,
    /// What did it.
    pub cause: Cause,
    /// Who did it.
    pub worker: Option<WorkerId>,
    /// The failure that led here.
    pub failure: Option<FailureKind>,
}

impl Change {
    /// The state change that an event tells, if it tells one.
    pub fn of(body: &EventBody) -> Option<Self> {
        let EventBody::State { from, to, attempt, cause, worker, error } = body else {
            return None;
        };
        let failure = error.as_ref().map(|error| error.kind);
        let (from, to, attempt) = (*from, *to, *attempt);
        Some(Self { from, to, attempt, cause: *cause, worker: *worker, failure })
    }
}

/// A job in the store at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FinalJob {
    /// Its id.
    pub id: JobId,
    /// Its kind.
    pub kind: String,
    /// Its state.
    pub state: State,
    /// Claims that count.
    pub attempt: u32,
    /// Its snoozes.
    pub snoozes: u32,
    /// Its epoch.
    pub epoch: u32,
    /// The claim that finished it.
    pub claim: Option<ClaimId>,
    /// Its unique key.
    pub unique: Option<String>,
    /// Its state changes, in order.
    pub changes: Vec<Change>,
}

impl FinalJob {
    /// A job as the store tells it.
    pub fn of(job: &JobRecord, changes: Vec<Change>) -> Self {
        Self {
            id: job.id,
            kind: job.kind.to_string(),
            state: job.state,
            attempt: job.attempt,
            snoozes: job.snoozes,
            epoch: job.epoch.0,
            claim: job.claim_id,
            unique: job.unique_key.as_ref().map(|key| key.as_str().to_owned()),
            changes,
        }
    }
}

impl FinalJob {
    /// The claim that ended it, if its last end was a settlement.
    pub fn finisher(&self) -> Option<ClaimId> {
        let settled = self.changes.last().is_some_and(|last| last.cause == Cause::Settled);
        self.claim.filter(|_| settled && self.state.is_final())
    }
}

/// An effect in the host's own table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// The job.
    pub job: JobId,
    /// The epoch under which it was written.
    pub epoch: u32,
    /// The claim under which it was written.
    pub claim: ClaimId,
}

impl Committed {
    /// Whether it was written under this key.
    pub fn is_of(&self, key: &LeaseKey) -> bool {
        (self.job, self.epoch, self.claim) == (key.job, key.epoch.0, key.claim_id)
    }
}

/// A state change that a reader of the feed was told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// When.
    pub t: u64,
    /// The job.
    pub job: JobId,
    /// The change.
    pub change: Change,
}

/// Which faults may undo what was answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UndoneBy {
    /// None: what was answered is there for good.
    Nothing,
    /// A full disk, and the end of the server that could not write.
    FullDisk,
    /// That, and the end of the server, whose log is written a moment later.
    KilledServer,
    /// The failover to a replica that has not heard of everything.
    Failover,
}

/// What the backend promises under the faults of a run, and how fast.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Promises {
    /// What may undo answers of any kind: inserts, claims, leases, finishes.
    pub undone_by: UndoneBy,
    /// Jobs that were acknowledged are there for good, whatever happens.
    pub inserts: bool,
    /// A process that is stopped may hold the one lock that all others need.
    pub one_writer: bool,
    /// Host transactions are there.
    pub transactional: bool,
    /// Workers always have something to do, so that of several that are lost some held jobs: their recovery must be seen.
    #[serde(default)]
    pub busy: bool,
    /// The lease, in microseconds.
    pub lease: u64,
    /// How soon jobs of a lost worker must be taken up, in microseconds after the fault.
    pub recovery: u64,
    /// How long a call that a fault of the server holds up may take, in microseconds.
    pub call: u64,
}

/// How many jobs of a queue, or of a kind, each process may run at once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// The queue or the kind.
    pub name: String,
    /// It is of a kind.
    pub of_kind: bool,
    /// With how many workers are built.
    pub built: u32,
    /// How many a setting of the queue allows, which workers follow within a few seconds.
    pub set: Option<u32>,
}

/// Everything that is known of a run.
///
/// Only the histories, the store at the end and what must hold are always there ([`Evidence::new`]); a rule about the rest is not checked
/// where there is none.
#[derive(Debug, Clone)]
pub struct Evidence {
    /// All histories, in the order of their times.
    pub entries: Vec<Entry>,
    /// The store at the end.
    pub jobs: Vec<FinalJob>,
    /// The host's effects: jobs of the kind `effect` complete with one, where [`Promises::transactional`] says so.
    pub effects: Vec<Committed>,
    /// Jobs with a row of the host's.
    pub rows: Vec<JobId>,
    /// What a reader of the feed was told that lived through all of it; `None` if there was none.
    pub told: Option<Vec<Told>>,
    /// A worker that no fault kills or stops, if there is one: its memory tells of leaks.
    pub steady: Option<String>,
    /// What the database's own check finds.
    pub damage: Vec<String>,
    /// What each process may run at once.
    pub limits: Vec<Limit>,
    /// What must hold.
    pub promises: Promises,
}

impl Evidence {
    /// That of a run without host, feed and limits. The histories are sorted by time here; jobs are those of [`FinalJob::of`].
    pub fn new(mut entries: Vec<Entry>, jobs: Vec<FinalJob>, promises: Promises) -> Self {
        entries.sort_by_key(|entry| entry.t);
        let (effects, rows, limits, damage) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (told, steady) = (None, None);
        Self { entries, jobs, effects, rows, told, steady, damage, limits, promises }
    }
}
