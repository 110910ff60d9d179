//! All that the backend knows, and the one way in which a job changes its state.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::blobs::Blobs;
use super::clock::{Clock, after};
use super::feed::{Feed, History};
use super::index::Index;
use super::locks::{End, Locks};
use crate::machine::{self, Facts, Fence, Transition};
use crate::{
    AttemptError, BlobKey, Cause, ClaimId, EventBody, JobId, JobRecord, LeaseKey, Limits,
    QueueName, QueueSettings, State, UniqueUntil, WorkerId, WorkerRecord,
};

/// A job with what its record doesn't show.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) job: JobRecord,
    /// Given at the moment of becoming available; the order among jobs of equal priority.
    pub(super) order: u64,
    /// How long it holds its unique key.
    pub(super) until: Option<UniqueUntil>,
    /// When the attempt under way should be over.
    pub(super) deadline: Option<Timestamp>,
    pub(super) args_blobs: BTreeSet<BlobKey>,
    pub(super) result_blobs: BTreeSet<BlobKey>,
    pub(super) history: History,
}

impl Row {
    /// The fence: what a key is worth here. A final row carries the key of who finished it.
    pub(super) fn fence(&self, key: &LeaseKey) -> Fence {
        machine::fence(self.job.state, self.job.epoch, self.job.claim_id, key)
    }

    /// Whether the job runs under this very key.
    pub(super) fn runs_under(&self, key: &LeaseKey) -> bool {
        self.fence(key) == Fence::Holds
    }

    /// The key of a running job.
    pub(super) fn key(&self) -> Option<LeaseKey> {
        let claim_id = self.job.claim_id?;
        Some(LeaseKey { job: self.job.id, epoch: self.job.epoch, claim_id })
    }
}

/// Everything about a step that its transition doesn't say.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) cause: Cause,
    /// For the history: who claimed or settled the job, or was lost.
    pub(super) worker: Option<WorkerId>,
    /// Who stands on the row afterwards: the new owner, or the finisher.
    pub(super) owner: Option<(WorkerId, ClaimId)>,
    /// For the history: what led here.
    pub(super) error: Option<AttemptError>,
}

impl Step {
    pub(super) fn by(cause: Cause) -> Self {
        Self { cause, worker: None, owner: None, error: None }
    }
}

/// Counts what waiting callers should hear of, per queue.
#[derive(Debug, Default)]
pub(super) struct Hints {
    queues: HashMap<QueueName, u64>,
    total: u64,
}

impl Hints {
    pub(super) fn touch(&mut self, queue: &QueueName) {
        *self.queues.entry(queue.clone()).or_default() += 1;
        self.total += 1;
    }

    pub(super) fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn of(&self, queues: &[QueueName]) -> u64 {
        queues.iter().filter_map(|queue| self.queues.get(queue)).sum()
    }
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) clock: Clock,
    pub(super) limits: Arc<Limits>,
    pub(super) jobs: BTreeMap<JobId, Row>,
    pub(super) index: Index,
    pub(super) locks: Locks,
    pub(super) blobs: Blobs,
    pub(super) feed: Feed,
    pub(super) hints: Hints,
    pub(super) queues: BTreeMap<QueueName, QueueSettings>,
    pub(super) workers: BTreeMap<WorkerId, WorkerRecord>,
    /// Ids of workers whose lease has ended. One per incarnation, so few enough to keep.
    pub(super) ended: HashSet<WorkerId>,
    /// How long a heartbeat extends the lease of a worker.
    pub(super) leases: HashMap<WorkerId, Duration>,
    order: u64,
}

impl Inner {
    pub(super) fn new(clock: Clock, limits: Arc<Limits>) -> Self {
        Self {
            clock,
            limits,
            jobs: BTreeMap::new(),
            index: Index::default(),
            locks: Locks::default(),
            blobs: Blobs::default(),
            feed: Feed::default(),
            hints: Hints::default(),
            queues: BTreeMap::new(),
            workers: BTreeMap::new(),
            ended: HashSet::new(),
            leases: HashMap::new(),
            order: 0,
        }
    }

    /// Whether a worker holds a lease that has not run out.
    pub(super) fn alive(&self, worker: WorkerId, now: Timestamp) -> bool {
        self.workers.get(&worker).is_some_and(|w| w.expires_at > now)
    }

    /// Takes over a row that is not in the store yet, or was taken out by [`take`](Self::take).
    pub(super) fn put(&mut self, mut row: Row, from: Option<State>, step: Step, now: Timestamp) {
        if row.job.state == State::Available {
            self.order += 1;
            row.order = self.order;
            self.hints.touch(&row.job.queue);
        }
        let body = EventBody::State {
            from,
            to: row.job.state,
            attempt: row.job.attempt,
            cause: step.cause,
            worker: step.worker,
            error: step.error,
        };
        let max = self.limits.state_events_per_job;
        row.history.push(&mut self.feed, &row.job, now, body, max);
        self.index.add(&row);
        self.jobs.insert(row.job.id, row);
    }

    /// Takes a row out, to change what the indexes know of it.
    pub(super) fn take(&mut self, id: JobId) -> Option<Row> {
        let row = self.jobs.remove(&id)?;
        self.index.remove(&row);
        Some(row)
    }

    /// Makes of a job what the state machine said. The only place where a state changes.
    pub(super) fn apply(&mut self, id: JobId, to: &Transition, step: Step, now: Timestamp) {
        let Some(mut row) = self.take(id) else { return };
        let from = row.job.state;
        self.move_key(&row, from, to.to, now);
        transit(&mut row, to, now);
        row.job.worker = step.owner.map(|(worker, _)| worker);
        row.job.claim_id = step.owner.map(|(_, claim_id)| claim_id);
        self.put(row, Some(from), step, now);
    }

    /// Frees the unique key where the step ends its time, and takes it again for a final job that is retried.
    fn move_key(&mut self, row: &Row, from: State, to: State, now: Timestamp) {
        let (Some(key), Some(until)) = (&row.job.unique_key, row.until) else { return };
        let end = match to {
            State::Running => Some(End::Started),
            state if state.is_final() => Some(End::Finished),
            _ => None,
        };
        if end.is_some_and(|end| end.frees(until)) {
            self.locks.free(key, row.job.id);
        }
        if from.is_final() && !matches!(until, UniqueUntil::For(_)) {
            self.locks.take(key, row.job.id, until, now);
        }
    }

    /// Adds an event that is no change of state.
    pub(super) fn log(&mut self, id: JobId, body: EventBody, now: Timestamp) {
        if let Some(row) = self.jobs.get_mut(&id) {
            let max = self.limits.state_events_per_job;
            row.history.push(&mut self.feed, &row.job, now, body, max);
        }
    }

    /// Keeps a failed attempt in the job's record.
    pub(super) fn keep_error(&mut self, id: JobId, error: &AttemptError) {
        let max = self.limits.errors;
        if let Some(row) = self.jobs.get_mut(&id) {
            row.job.errors.push(error.clone());
            let over = row.job.errors.len().saturating_sub(max);
            row.job.errors.drain(..over);
        }
    }

    /// Removes a job with its history; its blobs go unless another job refers to them.
    pub(super) fn remove(&mut self, id: JobId, end: End) -> Option<Row> {
        let row = self.take(id)?;
        self.blobs.release(&row.args_blobs);
        self.blobs.release(&row.result_blobs);
        if let (Some(key), Some(until)) = (&row.job.unique_key, row.until)
            && end.frees(until)
        {
            self.locks.free(key, id);
        }
        Some(row)
    }

    pub(super) fn facts(&self, id: JobId) -> Option<Facts> {
        self.jobs.get(&id).map(|row| Facts::from(&row.job))
    }
}

/// Writes a transition into a row that is in no index.
fn transit(row: &mut Row, to: &Transition, now: Timestamp) {
    let job = &mut row.job;
    job.state = to.to;
    job.attempt = to.attempt;
    job.max_attempts = to.max_attempts;
    job.snoozes = to.snoozes;
    job.crashes = to.crashes;
    job.cancel_requested = to.cancel_requested;
    if to.next_epoch {
        job.epoch = job.epoch.next();
    }
    if let Some(delay) = to.due_in {
        job.due_at = after(now, delay);
    }
    job.finished_at = to.to.is_final().then_some(now);
    row.deadline = None;
    if to.to == State::Running {
        job.started_at = Some(now);
        row.deadline = job.timeout.map(|timeout| after(now, timeout));
    }
}
