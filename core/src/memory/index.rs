//! Indexes over the jobs, so that no call reads more rows than it concerns.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use super::clock::after;
use super::state::Row;
use crate::machine::quarantined;
use crate::queue::DEADLINE_GRACE;
use crate::{JobId, Kind, Lane, Priority, QueueName, State, WorkerId};

/// The order of a claim: priority, then when the job became available.
pub(super) type ReadyKey = (Priority, u64, JobId);

#[derive(Debug, Default)]
#[cfg_attr(test, derive(PartialEq))]
pub(super) struct Index {
    /// Available jobs, apart per kind: those of unknown kinds are never in front.
    ready: HashMap<QueueName, HashMap<(Lane, Kind), BTreeSet<ReadyKey>>>,
    /// Scheduled and retryable jobs by their time.
    pub(super) due: BTreeSet<(Timestamp, JobId)>,
    /// Running jobs by their worker.
    pub(super) running: BTreeMap<WorkerId, BTreeSet<JobId>>,
    /// Running jobs by the time at which others take them.
    pub(super) overdue: BTreeSet<(Timestamp, JobId)>,
    /// Final jobs by their finish, apart per state.
    pub(super) finished: BTreeMap<State, BTreeSet<(Timestamp, JobId)>>,
    /// How many jobs wait in a queue.
    waiting: HashMap<QueueName, u64>,
}

impl Index {
    pub(super) fn add(&mut self, row: &Row) {
        let job = &row.job;
        if waits(job.state) {
            *self.waiting.entry(job.queue.clone()).or_default() += 1;
        }
        match job.state {
            State::Blocked => {}
            State::Available => {
                let queue = self.ready.entry(job.queue.clone()).or_default();
                queue.entry((lane(row), job.kind.clone())).or_default().insert(ready_key(row));
            }
            State::Scheduled | State::Retryable => {
                self.due.insert((job.due_at, job.id));
            }
            State::Running => {
                self.running.entry(owner(row)).or_default().insert(job.id);
                self.overdue.extend(row.deadline.map(|at| (after(at, DEADLINE_GRACE), job.id)));
            }
            State::Completed | State::Cancelled | State::Discarded => {
                self.finished.entry(job.state).or_default().insert((finish(row), job.id));
            }
        }
    }

    pub(super) fn remove(&mut self, row: &Row) {
        let job = &row.job;
        if waits(job.state)
            && let Some(waiting) = self.waiting.get_mut(&job.queue)
        {
            *waiting -= 1;
            if *waiting == 0 {
                self.waiting.remove(&job.queue);
            }
        }
        match job.state {
            State::Blocked => {}
            State::Available => self.remove_ready(row),
            State::Scheduled | State::Retryable => {
                self.due.remove(&(job.due_at, job.id));
            }
            State::Running => self.remove_running(row),
            State::Completed | State::Cancelled | State::Discarded => {
                if let Some(jobs) = self.finished.get_mut(&job.state) {
                    jobs.remove(&(finish(row), job.id));
                    if jobs.is_empty() {
                        self.finished.remove(&job.state);
                    }
                }
            }
        }
    }

    fn remove_ready(&mut self, row: &Row) {
        let Some(queue) = self.ready.get_mut(&row.job.queue) else { return };
        let part = (lane(row), row.job.kind.clone());
        if let Some(jobs) = queue.get_mut(&part) {
            jobs.remove(&ready_key(row));
            if jobs.is_empty() {
                queue.remove(&part);
            }
        }
        if queue.is_empty() {
            self.ready.remove(&row.job.queue);
        }
    }

    fn remove_running(&mut self, row: &Row) {
        let worker = owner(row);
        if let Some(jobs) = self.running.get_mut(&worker) {
            jobs.remove(&row.job.id);
            if jobs.is_empty() {
                self.running.remove(&worker);
            }
        }
        if let Some(at) = row.deadline {
            self.overdue.remove(&(after(at, DEADLINE_GRACE), row.job.id));
        }
    }

    /// The next job of one kind in a queue.
    pub(super) fn first_ready(
        &self,
        queue: &QueueName,
        lane: Lane,
        kind: &Kind,
    ) -> Option<ReadyKey> {
        self.ready.get(queue)?.get(&(lane, kind.clone()))?.first().copied()
    }

    /// Of available jobs that are claimed in turn, being of one lane, kind and priority, the next ones.
    pub(super) fn heads(&self) -> impl Iterator<Item = JobId> {
        self.ready.values().flat_map(HashMap::values).flat_map(|line| {
            let mut last = None;
            let first =
                move |(priority, ..): &&ReadyKey| last.replace(*priority) != Some(*priority);
            line.iter().filter(first).map(|(.., id)| *id)
        })
    }

    pub(super) fn waiting(&self, queue: &QueueName) -> u64 {
        self.waiting.get(queue).copied().unwrap_or(0)
    }

    pub(super) fn running_under(&self, worker: WorkerId) -> impl Iterator<Item = JobId> {
        self.running.get(&worker).into_iter().flatten().copied()
    }
}

/// Whether a job in this state counts towards the depth of its queue.
pub(super) fn waits(state: State) -> bool {
    !state.is_final() && state != State::Running
}

fn lane(row: &Row) -> Lane {
    if quarantined(row.job.crashes) { Lane::Quarantine } else { Lane::Normal }
}

fn ready_key(row: &Row) -> ReadyKey {
    (row.job.priority, row.order, row.job.id)
}

/// A running job always has a worker; one without would be rescued as that of an unknown worker.
fn owner(row: &Row) -> WorkerId {
    row.job.worker.unwrap_or(WorkerId::from_uuid(uuid::Uuid::nil()))
}

fn finish(row: &Row) -> Timestamp {
    row.job.finished_at.unwrap_or(row.job.created_at)
}
