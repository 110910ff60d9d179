//! Inserting: first what becomes of each job, without writing, then the writing, which can't fail.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;

use super::clock::after;
use super::feed::History;
use super::index::waits;
use super::locks::End;
use super::state::{Inner, Row, Step};
use crate::machine::Rescue;
use crate::{
    Cause, Error, Inserted, JobId, JobRecord, NewJob, OnConflict, QueueName, Result, State,
    UniqueKey, machine,
};

/// What an insert is going to do.
struct Plan<'a> {
    store: &'a Inner,
    now: Timestamp,
    /// A job that finishes in the same step; a key it holds until then is free.
    finishing: Option<JobId>,
    /// The queues of the jobs that this call adds or replaces.
    queues: HashMap<JobId, &'a QueueName>,
    /// The keys that this call takes.
    keys: HashMap<&'a UniqueKey, JobId>,
    growth: BTreeMap<&'a QueueName, i64>,
    /// Jobs that hold a wanted key and run under a worker that is lost.
    lost: BTreeSet<JobId>,
}

/// What an insert does.
pub(super) struct Planned {
    /// Of each job.
    answers: Vec<Inserted>,
    /// Rescued first: one that is given up must not stand in the way of a new one.
    lost: BTreeSet<JobId>,
}

impl Inner {
    pub(super) fn insert(&mut self, jobs: &[NewJob], now: Timestamp) -> Result<Vec<Inserted>> {
        let plan = self.plan_insert(jobs, None, now)?;
        self.apply_insert(jobs, &plan, now);
        Ok(plan.answers)
    }

    /// Says what becomes of each job, or why none can be inserted.
    pub(super) fn plan_insert(
        &self,
        jobs: &[NewJob],
        finishing: Option<JobId>,
        now: Timestamp,
    ) -> Result<Planned> {
        self.limits.check_insert(jobs)?;
        for job in jobs {
            self.limits.check_delay("delay in seconds", job.start.delay(now))?;
        }
        let (queues, keys, growth) = (HashMap::new(), HashMap::new(), BTreeMap::new());
        let lost = BTreeSet::new();
        let mut plan = Plan { store: self, now, finishing, queues, keys, growth, lost };
        let answers = jobs.iter().map(|job| plan.add(job)).collect();
        // A queue's maximum depth stands at the door: a success inside is never turned into another run by it.
        if finishing.is_none() {
            plan.check_depths()?;
        }
        Ok(Planned { answers, lost: plan.lost })
    }

    pub(super) fn apply_insert(&mut self, jobs: &[NewJob], plan: &Planned, now: Timestamp) {
        for id in &plan.lost {
            self.rescue_one(*id, Rescue::WorkerLost, now);
        }
        for (job, answer) in jobs.iter().zip(&plan.answers) {
            match *answer {
                Inserted::New(id) => self.add(id, job, now),
                Inserted::Replaced { existing } => self.replace(existing, job, now),
                Inserted::Duplicate { .. } | Inserted::Rejected { .. } => {}
            }
        }
    }

    fn add(&mut self, id: JobId, new: &NewJob, now: Timestamp) {
        let args = new.args.clone();
        let job = JobRecord::new(id, new.kind.clone(), new.queue.clone(), args, now);
        let mut row = Row {
            job,
            order: 0,
            until: None,
            deadline: None,
            args_blobs: Default::default(),
            result_blobs: Default::default(),
            history: History::default(),
        };
        if let Some(unique) = &new.unique {
            self.locks.take(&unique.key, id, unique.until, now);
            row.job.unique_key = Some(unique.key.clone());
            row.until = Some(unique.until);
        }
        self.fill(&mut row, new, now);
        self.put(row, None, Step::by(Cause::Inserted), now);
    }

    /// The holder keeps its id, its key and its attempts so far.
    fn replace(&mut self, existing: JobId, new: &NewJob, now: Timestamp) {
        let Some(mut row) = self.take(existing) else { return };
        let from = row.job.state;
        let old_blobs = std::mem::take(&mut row.args_blobs);
        self.fill(&mut row, new, now);
        self.blobs.release(&old_blobs);
        self.put(row, Some(from), Step::by(Cause::Replaced), now);
    }

    /// Writes what a new job says into a row that is in no index.
    fn fill(&mut self, row: &mut Row, new: &NewJob, now: Timestamp) {
        let delay = new.start.delay(now);
        row.args_blobs = new.blobs.iter().cloned().collect();
        self.blobs.refer(&row.args_blobs);
        let job = &mut row.job;
        job.kind = new.kind.clone();
        job.queue = new.queue.clone();
        if job.state != State::Blocked {
            job.state = machine::inserted(delay);
        }
        job.due_at = after(now, delay);
        job.args = new.args.clone();
        job.priority = new.priority;
        job.max_attempts = new.max_attempts;
        job.timeout = new.timeout;
        job.meta = new.meta.clone();
        job.tags = new.tags.clone();
    }
}

impl<'a> Plan<'a> {
    fn add(&mut self, job: &'a NewJob) -> Inserted {
        if self.queues.contains_key(&job.id) || self.store.jobs.contains_key(&job.id) {
            return Inserted::Duplicate { existing: job.id };
        }
        if let Some(unique) = &job.unique {
            if let Some(existing) = self.holder(&unique.key) {
                return self.conflict(existing, unique.on_conflict, job);
            }
            self.keys.insert(&unique.key, job.id);
        }
        self.stand(job.id, &job.queue);
        Inserted::New(job.id)
    }

    fn conflict(&mut self, existing: JobId, rule: OnConflict, job: &'a NewJob) -> Inserted {
        let waiting = self.waiting_in(existing);
        match (rule, waiting) {
            (OnConflict::Reject, _) => Inserted::Rejected { existing },
            (OnConflict::Replace, Some(queue)) => {
                *self.growth.entry(queue).or_default() -= 1;
                self.stand(existing, &job.queue);
                Inserted::Replaced { existing }
            }
            (OnConflict::Keep | OnConflict::Replace, _) => Inserted::Duplicate { existing },
        }
    }

    fn stand(&mut self, id: JobId, queue: &'a QueueName) {
        self.queues.insert(id, queue);
        *self.growth.entry(queue).or_default() += 1;
    }

    fn holder(&mut self, key: &UniqueKey) -> Option<JobId> {
        if let Some(job) = self.keys.get(key) {
            return Some(*job);
        }
        let job = self.store.locks.holder(key, self.now)?;
        let mut ends = self.finishing == Some(job);
        if !ends && self.store.is_lost(job, self.now) {
            self.lost.insert(job);
            ends = !self.store.waits_after_rescue(job);
        }
        let frees = |row: &Row| row.until.is_some_and(|until| End::Finished.frees(until));
        let freed = ends && self.store.jobs.get(&job).is_some_and(frees);
        (!freed).then_some(job)
    }

    /// The queue in which a job waits, be it stored or of this call.
    fn waiting_in(&self, id: JobId) -> Option<&'a QueueName> {
        if let Some(queue) = self.queues.get(&id) {
            return Some(queue);
        }
        let job = &self.store.jobs.get(&id)?.job;
        let waits =
            waits(job.state) || (self.lost.contains(&id) && self.store.waits_after_rescue(id));
        waits.then_some(&job.queue)
    }

    /// How many lost holders wait in a queue once they are rescued.
    fn put_back(&self, queue: &QueueName) -> u64 {
        let stands = |id: &JobId| {
            let row = self.store.jobs.get(id);
            row.is_some_and(|row| row.job.queue == *queue) && self.store.waits_after_rescue(*id)
        };
        self.lost.iter().filter(|id| stands(id)).count() as u64
    }

    fn check_depths(&self) -> Result<()> {
        for (queue, growth) in &self.growth {
            let max = self.store.queues.get(*queue).and_then(|settings| settings.max_depth);
            let (Some(depth), Ok(growth @ 1..)) = (max, u64::try_from(*growth)) else { continue };
            let waiting = self.store.index.waiting(queue).saturating_add(self.put_back(queue));
            if waiting.saturating_add(growth) > depth {
                return Err(Error::QueueFull { queue: queue.to_string(), depth });
            }
        }
        Ok(())
    }
}
