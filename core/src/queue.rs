//! Who may run a job now: the trait [`Queue`] and its values.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::{
    AttemptOutcome, ClaimId, Error, JobId, Kind, LeaseKey, NewJob, Note, Payload, Priority,
    Progress, QueueName, Result, State, Tag, WorkerId,
};

/// Claims and everything else that needs or grants a lease.
///
/// **Fence.** Every write by an owner carries its [`LeaseKey`]; the statement itself compares job,
/// epoch and claim id and requires the state `running`. A key that doesn't match changes nothing.
/// Safety rests on the fence alone; leases and clocks only decide how soon a lost job is taken up again.
///
/// **Atomicity.** One element of a slice is applied whole or not at all. Unless a method says otherwise,
/// an `Err` means that nothing or everything of the call was applied and that the same call may be repeated.
///
/// **Clock.** Only the database's. Callers pass durations.
///
/// **Cancellation.** Dropping a future leaves its call applied or not applied, never half.
#[async_trait]
pub trait Queue: Debug + Send + Sync + 'static {
    /// Grants a lease of `info.lease` to a new worker. Repeating the call with the same id extends it.
    ///
    /// Called, like [`heartbeats`](Self::heartbeats), from a thread and runtime of its own: a backend whose
    /// connections belong to a runtime keeps one aside for these two calls, opened on first use.
    ///
    /// # Errors
    /// [`Error::WorkerExpired`] when the id had a lease that ran out. A backend may forget such an id once
    /// [`maintain`](Self::maintain) has seen the end of its lease, or when it deregisters, so each incarnation takes a fresh one.
    async fn register(&self, info: &WorkerInfo) -> Result<WorkerLease>;

    /// Extends the leases of workers, each by its full length, and compares what each holds with what the
    /// store says. Never waits behind claims or settlements. The answers stand in the order of the workers, which are all of one process.
    ///
    /// A lease that has run out is not revived, even if nobody has rescued its jobs yet; the other workers of the call are none the worse for it.
    async fn heartbeats(&self, beats: &[Beat]) -> Result<Vec<Heartbeat>>;

    /// The same for one worker.
    async fn heartbeat(&self, worker: WorkerId, owned: &[LeaseKey]) -> Result<Heartbeat> {
        let answers = self.heartbeats(&[Beat::new(worker, owned.to_vec())]).await?;
        answers.into_iter().next().ok_or_else(|| Error::Backend {
            backend: "backend",
            during: "heartbeat",
            source: "it gave no answer".into(),
        })
    }

    /// Ends a worker's lease. Jobs it still runs are rescued by the next [`maintain`](Self::maintain) as those of
    /// a lost worker; a worker that shuts down well releases them first. Unknown ids are no error.
    async fn deregister(&self, worker: WorkerId) -> Result<()>;

    /// Takes available jobs: each becomes `running`, its attempt and epoch grow by one, and its row carries
    /// the worker and the claim id; unique keys held until the start are freed. All in one atomic step.
    ///
    /// Per queue: jobs come by priority (lower first), then in the order in which they became available, of the
    /// kinds asked for, no more than the queue's and each kind's limit; quarantined jobs only in
    /// [`Lane::Quarantine`]. A paused queue gives nothing. Jobs of other kinds stay untouched, however many
    /// stand in front, and do not slow the call.
    ///
    /// With `resend` set, the call first looks for jobs that run under this claim id (the reply to an earlier
    /// sending was lost) and returns these if there are any.
    ///
    /// # Errors
    /// [`Error::WorkerExpired`] when the worker's lease has run out or never was; nothing is claimed.
    async fn claim(&self, request: &ClaimRequest) -> Result<Claimed>;

    /// Applies outcomes, each atomically with all it carries: the new state, result or failure, the follow-up
    /// jobs (inserted as by [`Store::insert`](crate::Store::insert), whatever the depth of their queue), last notes, the freeing of the unique key and the
    /// release of dependents. The answers stand in the order of the settlements. In which order they are applied is not said: a backend may insert the
    /// follow-ups of all of them last.
    ///
    /// One that can't be applied for the time being holds up no other: it is answered by [`Settled::Busy`] and sent again.
    ///
    /// Repeating a settlement is safe: the second time gives [`Settled::Already`] for a final outcome, or
    /// [`Settled::Lost`] where the job has moved on.
    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>>;

    /// Adds progress, log lines and host events of running jobs, each record fenced. An error may leave some
    /// records applied; repeating the call may then add these twice.
    async fn record(&self, records: &[Record]) -> Result<Vec<Recorded>>;

    /// Moves time on: due jobs become available, jobs of workers whose lease has run out and jobs past
    /// their deadline (plus [`DEADLINE_GRACE`]) are rescued, worn-out unique windows are freed. Each kind of work
    /// is bounded by `limit` jobs. Any number of processes may call it at once; none is a leader. A job that can't
    /// be moved is passed over, not in the way of others.
    async fn maintain(&self, limit: u32) -> Result<Maintained>;

    /// Waits until something may have become claimable in one of the queues, or its settings changed, at most
    /// `timeout`. A hint: it may be lost or spurious, so callers poll as well.
    ///
    /// A backend may also end a wait at once, for news that no claim has looked at yet. It does so until one has: the worker takes no notice of such an answer
    /// when it is about to claim anyway.
    async fn wait(&self, queues: &[QueueName], timeout: Duration) -> Result<Wake>;

    /// Whether hints can be relied on at present: whatever any process does that a [`wait`](Self::wait) tells of is heard of here soon
    /// after. Workers poll rarely then. A hint may still be lost now and then, with a process that dies at the wrong moment for instance.
    ///
    /// False where hints of other processes don't come at all, and while the way by which they come is interrupted. Whenever the answer changes, all
    /// waits end with [`Wake::Hint`]: what was told in between is lost, and polls are due sooner.
    fn hears(&self) -> bool;
}

/// How far past its deadline an attempt may be before others take the job; the worker itself ends it at the deadline.
pub const DEADLINE_GRACE: Duration = Duration::from_secs(10);

/// What a worker says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WorkerInfo {
    /// Its id: fresh per incarnation.
    pub id: WorkerId,
    /// How long its lease lasts without a heartbeat.
    pub lease: Duration,
    /// A name for people: host name and process id unless set.
    pub name: String,
    /// The queues it claims from.
    pub queues: Vec<QueueName>,
}

impl WorkerInfo {
    /// A description with a fresh id.
    #[must_use]
    pub fn new(name: impl Into<String>, lease: Duration, queues: Vec<QueueName>) -> Self {
        Self { id: WorkerId::new(), lease, name: name.into(), queues }
    }
}

/// A granted worker lease. It counts from when the request was *sent*, by the worker's monotonic clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerLease {
    /// The worker.
    pub worker: WorkerId,
    /// How long it lasts without a heartbeat.
    pub lease: Duration,
}

/// A heartbeat of one of several workers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Beat {
    /// Whose.
    pub worker: WorkerId,
    /// What it holds.
    pub owned: Vec<LeaseKey>,
}

impl Beat {
    /// The heartbeat of a worker that holds these.
    #[must_use]
    pub fn new(worker: WorkerId, owned: Vec<LeaseKey>) -> Self {
        Self { worker, owned }
    }
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Heartbeat {
    /// The lease was extended.
    Alive {
        /// Of the owned keys: those that do not run under this key and worker (settled, rescued or deleted).
        lost: Vec<LeaseKey>,
        /// Of the owned keys: those whose cancellation a user asked for.
        cancel: Vec<LeaseKey>,
        /// Jobs that run under this worker but were not in `owned`: a claim whose reply is on its way or was lost.
        orphaned: Vec<LeaseKey>,
    },
    /// The lease had run out. The worker must stop its handlers and register anew.
    Expired,
}

/// Which jobs to claim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Jobs that are not quarantined.
    #[default]
    Normal,
    /// Only jobs that crashed their workers [`QUARANTINE_CRASHES`](crate::machine::QUARANTINE_CRASHES) times.
    Quarantine,
}

/// How many jobs of a queue to claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueSlots {
    /// The queue.
    pub queue: QueueName,
    /// At most so many.
    pub limit: u32,
}

/// How many jobs of a kind to claim, over all queues.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindSlots {
    /// The kind.
    pub kind: Kind,
    /// At most so many; `None` for as many as the queue gives.
    pub limit: Option<u32>,
}

/// A claim.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClaimRequest {
    /// Who claims.
    pub worker: WorkerId,
    /// Fresh per claim; the same again only with `resend`.
    pub claim_id: ClaimId,
    /// The queues, served in this order.
    pub queues: Vec<QueueSlots>,
    /// The kinds this worker knows.
    pub kinds: Vec<KindSlots>,
    /// Which jobs.
    pub lane: Lane,
    /// The same request was sent before and its reply was lost.
    pub resend: bool,
}

impl ClaimRequest {
    /// A first sending in the normal lane, with a fresh claim id.
    #[must_use]
    pub fn new(worker: WorkerId, queues: Vec<QueueSlots>, kinds: Vec<KindSlots>) -> Self {
        Self { worker, claim_id: ClaimId::new(), queues, kinds, lane: Lane::Normal, resend: false }
    }
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Claimed {
    /// The jobs, each queue's in order.
    pub leases: Vec<Lease>,
}

impl Claimed {
    /// An answer.
    #[must_use]
    pub fn new(leases: Vec<Lease>) -> Self {
        Self { leases }
    }
}

/// A claimed job, with all that its handler needs.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Lease {
    /// The fence.
    pub key: LeaseKey,
    /// Which handler.
    pub kind: Kind,
    /// From which queue.
    pub queue: QueueName,
    /// What the handler gets.
    pub args: Payload,
    /// Metadata.
    pub meta: BTreeMap<String, String>,
    /// Labels.
    pub tags: Vec<Tag>,
    /// Order within the queue.
    pub priority: Priority,
    /// This attempt, from 1.
    pub attempt: u32,
    /// Claims before it is discarded.
    pub max_attempts: u32,
    /// Snoozes so far.
    pub snoozes: u32,
    /// Crashes so far.
    pub crashes: u32,
    /// How long this attempt may take.
    pub timeout: Option<Duration>,
    /// The progress that an earlier attempt reported last.
    pub progress: Option<Progress>,
    /// When it was inserted.
    pub created_at: Timestamp,
    /// When it became available.
    pub due_at: Timestamp,
}

impl Lease {
    /// The lease on a job that was just claimed under `key`.
    #[must_use]
    pub fn of(job: &crate::JobRecord, key: LeaseKey) -> Self {
        Self {
            key,
            kind: job.kind.clone(),
            queue: job.queue.clone(),
            args: job.args.clone(),
            meta: job.meta.clone(),
            tags: job.tags.clone(),
            priority: job.priority,
            attempt: job.attempt,
            max_attempts: job.max_attempts,
            snoozes: job.snoozes,
            crashes: job.crashes,
            timeout: job.timeout,
            progress: job.progress.clone(),
            created_at: job.created_at,
            due_at: job.due_at,
        }
    }
}

/// The end of an attempt, with everything that is to happen in the same atomic step.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Settlement {
    /// The fence.
    pub key: LeaseKey,
    /// How it ended.
    pub outcome: AttemptOutcome,
    /// Jobs to insert, only with [`AttemptOutcome::Completed`]; at most [`Limits::follow_ups`](crate::Limits::follow_ups).
    pub follow_ups: Vec<NewJob>,
    /// Events not yet recorded.
    pub notes: Vec<Note>,
}

impl Settlement {
    /// A settlement with nothing but an outcome.
    #[must_use]
    pub fn new(key: LeaseKey, outcome: AttemptOutcome) -> Self {
        Self { key, outcome, follow_ups: Vec::new(), notes: Vec::new() }
    }
}

/// What became of a settlement.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled {
    /// It was applied.
    Applied {
        /// The state that it led to (a cancel request may have changed it).
        state: State,
    },
    /// The job is final and its row carries this very fence: an earlier sending, or a host transaction, was applied.
    Already {
        /// The state it is in.
        state: State,
    },
    /// The fence doesn't match: the job was rescued, claimed anew, or is gone. Nothing was written.
    Lost,
    /// The settlement itself can't be applied (a follow-up above a limit); the job still runs. Settle it otherwise.
    Refused {
        /// Why.
        reason: String,
    },
    /// Somebody else is changing the job at this moment, such as a transaction of the host that completes it. Nothing was written, and the
    /// job may run still: settle it again a little later.
    Busy,
}

/// Events to add to a running job.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The fence.
    pub key: LeaseKey,
    /// The events, in order.
    pub notes: Vec<Note>,
}

impl Record {
    /// Events of the job that runs under this key.
    #[must_use]
    pub fn new(key: LeaseKey, notes: Vec<Note>) -> Self {
        Self { key, notes }
    }
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recorded {
    /// It was added.
    Applied,
    /// The fence doesn't match. Nothing was written.
    Lost,
    /// The record is above a limit. Nothing was written.
    Refused {
        /// Why.
        reason: String,
    },
}

/// What a maintenance call did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Maintained {
    /// Jobs that became available because their time came.
    pub promoted: u64,
    /// Jobs taken from lost workers or past their deadline, whatever became of them.
    pub rescued: Vec<JobId>,
    /// Workers whose lease had run out and whose rows are gone.
    pub workers_removed: u64,
    /// There was more than the limit: call again at once.
    pub more: bool,
    /// How long until the next scheduled or retryable job is due; `None` when there is none.
    pub next_due: Option<Duration>,
    /// Workers of all processes whose lease has not run out.
    pub workers: u64,
}

/// Why [`Queue::wait`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Something may be there.
    Hint,
    /// The time is up.
    Timeout,
}
