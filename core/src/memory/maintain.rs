//! What the passing of time does: promotion, rescue, the end of unique windows; and the leases of workers.

use std::collections::HashSet;

use jiff::Timestamp;

use super::clock::{after, since};
use super::state::{Inner, Row, Step};
use crate::machine::{self, Rescue};
use crate::{
    AttemptError, Cause, Error, FailureKind, Heartbeat, JobId, LeaseKey, Maintained, Result, State,
    WorkerId, WorkerInfo, WorkerLease, WorkerRecord,
};

impl Inner {
    pub(super) fn register(&mut self, info: &WorkerInfo, now: Timestamp) -> Result<WorkerLease> {
        let known = self.workers.contains_key(&info.id) || self.ended.contains(&info.id);
        if known && !self.alive(info.id, now) {
            return Err(Error::WorkerExpired { worker: info.id });
        }
        let expires_at = after(now, info.lease);
        let (id, name, queues) = (info.id, info.name.clone(), info.queues.clone());
        let fresh = || WorkerRecord::new(id, name, queues, now, expires_at, 0);
        let worker = self.workers.entry(id).or_insert_with(fresh);
        worker.expires_at = expires_at;
        self.leases.insert(id, info.lease);
        Ok(WorkerLease { worker: id, lease: info.lease })
    }

    pub(super) fn heartbeat(
        &mut self,
        worker: WorkerId,
        owned: &[LeaseKey],
        now: Timestamp,
    ) -> Heartbeat {
        if !self.alive(worker, now) {
            return Heartbeat::Expired;
        }
        if let (Some(row), Some(lease)) = (self.workers.get_mut(&worker), self.leases.get(&worker))
        {
            row.expires_at = after(now, *lease);
        }
        let (mut lost, mut cancel) = (Vec::new(), Vec::new());
        for key in owned {
            let mine = |row: &&Row| row.runs_under(key) && row.job.worker == Some(worker);
            match self.jobs.get(&key.job).filter(mine) {
                None => lost.push(*key),
                Some(row) if row.job.cancel_requested => cancel.push(*key),
                Some(_) => {}
            }
        }
        let owned: HashSet<_> = owned.iter().collect();
        let running = self.index.running_under(worker).filter_map(|id| self.jobs.get(&id)?.key());
        let orphaned = running.filter(|key| !owned.contains(key)).collect();
        Heartbeat::Alive { lost, cancel, orphaned }
    }

    /// Jobs it still runs are found by the rescue, which takes those of unknown workers too.
    pub(super) fn deregister(&mut self, worker: WorkerId) {
        if self.workers.remove(&worker).is_some() {
            self.end(worker);
        }
    }

    fn end(&mut self, worker: WorkerId) {
        self.leases.remove(&worker);
        self.ended.insert(worker);
    }

    pub(super) fn maintain(&mut self, limit: u32, now: Timestamp) -> Maintained {
        let limit = limit as usize;
        let (promoted, more_due) = self.promote(limit, now);
        let (rescued, more_lost) = self.rescue(limit, now);
        let more_windows = self.locks.drop_passed(now, limit);
        let mut done = Maintained {
            promoted,
            rescued,
            workers_removed: self.remove_workers(now),
            workers: self.workers.values().filter(|worker| worker.expires_at > now).count() as u64,
            more: more_due || more_lost || more_windows,
            ..Maintained::default()
        };
        // Time from `now` until then, which is how long ago `now` is then.
        done.next_due = self.index.due.first().map(|(due_at, _)| since(now, *due_at));
        done
    }

    fn promote(&mut self, limit: usize, now: Timestamp) -> (u64, bool) {
        let due = self.index.due.iter().take_while(|(due_at, _)| *due_at <= now);
        let ids: Vec<_> = due.take(limit.saturating_add(1)).map(|(_, id)| *id).collect();
        let mut promoted = 0;
        for id in ids.iter().take(limit) {
            if let Some(to) = self.facts(*id).as_ref().and_then(machine::promoted) {
                self.apply(*id, &to, Step::by(Cause::Promoted), now);
                promoted += 1;
            }
        }
        (promoted, ids.len() > limit)
    }

    fn rescue(&mut self, limit: usize, now: Timestamp) -> (Vec<JobId>, bool) {
        let workers = self.index.running.iter().filter(|(worker, _)| !self.alive(**worker, now));
        let lost = workers.flat_map(|(_, jobs)| jobs).map(|id| (*id, Rescue::WorkerLost));
        let overdue = self.index.overdue.iter().take_while(|(at, _)| *at <= now);
        // Of a job that is both, the loss of its worker comes first.
        let late = overdue.map(|(_, id)| (*id, Rescue::DeadlinePassed)).filter(|(id, _)| {
            let worker = self.jobs.get(id).and_then(|row| row.job.worker);
            worker.is_some_and(|worker| self.alive(worker, now))
        });
        let jobs: Vec<_> = lost.chain(late).take(limit.saturating_add(1)).collect();
        for (id, why) in jobs.iter().take(limit) {
            self.rescue_one(*id, *why, now);
        }
        (jobs.iter().take(limit).map(|(id, _)| *id).collect(), jobs.len() > limit)
    }

    /// Whether a job runs under a worker without a lease.
    pub(super) fn is_lost(&self, id: JobId, now: Timestamp) -> bool {
        let worker = |row: &Row| row.job.worker.filter(|_| row.job.state == State::Running);
        self.jobs.get(&id).and_then(worker).is_some_and(|worker| !self.alive(worker, now))
    }

    /// Whether a job that lost its worker is to run again.
    pub(super) fn waits_after_rescue(&self, id: JobId) -> bool {
        let to = self.facts(id).and_then(|facts| machine::rescued(&facts, Rescue::WorkerLost));
        to.is_some_and(|to| !to.to.is_final())
    }

    pub(super) fn rescue_one(&mut self, id: JobId, why: Rescue, now: Timestamp) {
        let Some(to) = self.facts(id).and_then(|facts| machine::rescued(&facts, why)) else {
            return;
        };
        let message = match why {
            Rescue::WorkerLost => "the worker was lost while it ran this attempt",
            Rescue::DeadlinePassed => {
                "the attempt passed its deadline and its worker did not end it"
            }
        };
        let error = AttemptError {
            attempt: to.attempt,
            at: now,
            kind: to.failure.unwrap_or(FailureKind::Crash),
            message: message.to_owned(),
        };
        self.keep_error(id, &error);
        let worker = self.jobs.get(&id).and_then(|row| row.job.worker);
        let step = Step { worker, error: Some(error), ..Step::by(Cause::Rescued) };
        self.apply(id, &to, step, now);
    }

    /// Removes expired workers, each only once its last job is taken from it.
    fn remove_workers(&mut self, now: Timestamp) -> u64 {
        let gone = |id: &WorkerId| !self.alive(*id, now) && !self.index.running.contains_key(id);
        let ids: Vec<_> = self.workers.keys().copied().filter(gone).collect();
        for id in &ids {
            self.workers.remove(id);
            self.end(*id);
        }
        ids.len() as u64
    }
}
