//! Inside checks: what no history can show that is written by those who take part.
//!
//! They look at each step of the store, in order, by its own clock: which call made a change, whether a key held its job at the very moment of an
//! accepted finish, when a lease or a deadline was over, who held a unique key while replies were lost. All else is the affair of [`windlass_checker`].

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use windlass_core::{
    AttemptOutcome, Cause, ClaimRequest, DEADLINE_GRACE, Event, EventBody, FailureKind, JobId,
    JobRecord, Lease, LeaseKey, NewJob, Record, Recorded, Settled, Settlement, State, Unique,
    WorkerId,
};

use super::figures::Figures;
use super::unique::UniqueKeys;

/// What is known of a job from what happened to it.
#[derive(Debug)]
struct Told {
    holder: Option<LeaseKey>,
    worker: Option<WorkerId>,
    /// When it was claimed, and how long the attempt may take.
    since: Timestamp,
    timeout: Option<Duration>,
}

impl Told {
    const fn new(at: Timestamp) -> Self {
        Self { holder: None, worker: None, since: at, timeout: None }
    }

    fn is_late(&self, now: Timestamp) -> bool {
        let most = self.timeout.map(|timeout| timeout + DEADLINE_GRACE);
        most.is_some_and(|most| now.duration_since(self.since).unsigned_abs() >= most)
    }
}

/// A run of a handler.
#[derive(Debug, Clone, Copy)]
struct Run {
    key: LeaseKey,
    /// It returned a result.
    well: bool,
}

/// Follows the store from inside.
#[derive(Debug, Default)]
pub(super) struct Inside {
    jobs: BTreeMap<JobId, Told>,
    sent: BTreeMap<JobId, Unique>,
    unique: UniqueKeys,
    /// Until when each worker has a lease, by the store's clock.
    leases: BTreeMap<WorkerId, Timestamp>,
    runs: BTreeMap<u64, Run>,
    dead: BTreeMap<WorkerId, Instant>,
    /// Claimed in the step at hand, and settled in it; each needs an answer that says so.
    claimed_now: BTreeSet<JobId>,
    settled_now: BTreeSet<JobId>,
    /// Nothing is found: only what outsiders write down counts.
    silent: bool,
    /// What was counted.
    pub(super) figures: Figures,
    /// What is wrong.
    pub(super) broken: Vec<String>,
}

impl Inside {
    pub(super) fn new(silent: bool) -> Self {
        Self { silent, ..Self::default() }
    }

    pub(super) fn wrong(&mut self, text: String) {
        // One mistake leads to others; the first tell enough.
        if !self.silent && self.broken.len() < 10 {
            self.broken.push(text);
        }
    }

    /// Jobs are about to be inserted.
    pub(super) fn sent(&mut self, jobs: &[NewJob]) {
        self.sent.extend(jobs.iter().filter_map(|job| Some((job.id, job.unique.clone()?))));
    }

    /// What a step of the store made known, in order.
    pub(super) fn events(&mut self, step: &str, events: &[Event]) {
        for event in events {
            if let EventBody::State { from, to, cause, worker, error, .. } = &event.body {
                let crash = error.as_ref().is_some_and(|e| e.kind == FailureKind::Crash);
                self.changed(step, event, (*from, *to, *cause), *worker, crash);
            }
        }
    }

    fn changed(
        &mut self,
        step: &str,
        event: &Event,
        change: (Option<State>, State, Cause),
        worker: Option<WorkerId>,
        crash: bool,
    ) {
        let (_, to, cause) = change;
        let id = event.job;
        let by = match cause {
            Cause::Inserted | Cause::Replaced => &["insert", "settle"][..],
            Cause::Claimed => &["claim"],
            Cause::Settled => &["settle"],
            // Who wants the key of a lost job rescues it.
            Cause::Rescued if self.sent.contains_key(&id) => {
                &["maintain", "insert", "settle", "change"]
            }
            Cause::Promoted | Cause::Rescued => &["maintain"],
            _ => &["change"],
        };
        if !by.contains(&step) {
            self.wrong(format!("{id}: {step} made it {to} as {cause:?}"));
        }
        if let Some(unique) = self.sent.get(&id)
            && let Err(holder) = self.unique.follow(id, unique, change, event.at)
        {
            self.wrong(format!("{id}: its unique key was held by {holder}"));
        }
        if cause == Cause::Rescued {
            self.rescued(id, event.at, crash);
        }
        let told = self.jobs.entry(id).or_insert_with(|| Told::new(event.at));
        match cause {
            Cause::Inserted => self.figures.jobs += 1,
            Cause::Claimed => {
                self.figures.claims += 1;
                (told.holder, told.worker, told.since) = (None, worker, event.at);
                self.claimed_now.insert(id);
            }
            Cause::Settled => drop(self.settled_now.insert(id)),
            _ => {}
        }
    }

    /// A job is taken from its worker, which must have lost its lease, or be late.
    fn rescued(&mut self, id: JobId, now: Timestamp, crash: bool) {
        self.figures.rescues += 1;
        let Some(told) = self.jobs.get_mut(&id) else { return };
        told.holder = None;
        let worker = told.worker.take();
        let in_lease = worker.and_then(|w| self.leases.get(&w)).is_some_and(|until| *until > now);
        let due = if crash { !in_lease } else { told.is_late(now) };
        let death = worker.and_then(|worker| self.dead.get(&worker));
        self.figures.recoveries.extend(death.filter(|_| crash).map(Instant::elapsed));
        if !due {
            self.wrong(format!("{id}: taken from a worker that is in its lease and in time"));
        }
    }

    /// A worker has a lease until then.
    pub(super) fn leased(&mut self, worker: WorkerId, until: Timestamp) {
        self.leases.insert(worker, until);
    }

    /// A worker has no lease any more.
    pub(super) fn unleased(&mut self, worker: WorkerId) {
        self.leases.remove(&worker);
    }

    /// What a claim was answered.
    pub(super) fn claimed(&mut self, request: &ClaimRequest, leases: &[Lease]) {
        for lease in leases {
            let key = lease.key;
            let fresh = self.claimed_now.remove(&key.job);
            let Some(told) = self.jobs.get_mut(&key.job) else { continue };
            if fresh {
                (told.holder, told.timeout) = (Some(key), lease.timeout);
            }
            if told.holder != Some(key) || key.claim_id != request.claim_id {
                self.wrong(format!("{}: given to a claim that doesn't hold it", key.job));
            }
        }
    }

    /// What settlements were answered.
    pub(super) fn settled(&mut self, settlements: &[Settlement], answers: &[Settled]) {
        for (settlement, answer) in settlements.iter().zip(answers) {
            match answer {
                Settled::Applied { .. } => self.accepted(settlement),
                Settled::Already { .. } => self.figures.repeated_known += 1,
                Settled::Lost => self.figures.stale_refused += 1,
                _ => {}
            }
        }
    }

    fn accepted(&mut self, settlement: &Settlement) {
        let key = settlement.key;
        self.figures.finishes += 1;
        self.settled_now.remove(&key.job);
        let holder = self.jobs.get_mut(&key.job).and_then(|told| told.holder.take());
        if holder != Some(key) {
            self.wrong(format!("{}: a stale finish was accepted", key.job));
        }
        if let AttemptOutcome::Completed { result: Some(result), .. } = &settlement.outcome {
            self.figures.completed += 1;
            let run = std::str::from_utf8(&result.bytes).ok().and_then(|text| text.parse().ok());
            let run = run.and_then(|run: u64| self.runs.get(&run));
            if run.is_none_or(|run| !run.well || run.key != key) {
                self.wrong(format!("{}: completed with the result of {run:?}", key.job));
            }
        }
    }

    /// The step is over.
    pub(super) fn step_over(&mut self, step: &str) {
        let silent = std::mem::take(&mut self.claimed_now);
        let silent = silent.into_iter().chain(std::mem::take(&mut self.settled_now));
        for id in silent.collect::<Vec<_>>() {
            self.wrong(format!("{id}: changed by {step} without an answer that says so"));
        }
    }

    /// What records of running jobs were answered.
    pub(super) fn recorded(&mut self, records: &[Record], answers: &[Recorded]) {
        for (record, answer) in records.iter().zip(answers) {
            let job = record.key.job;
            let holds = self.jobs.get(&job).is_some_and(|told| told.holder == Some(record.key));
            match answer {
                Recorded::Applied if !holds => {
                    self.wrong(format!("{job}: a stale record was accepted"));
                }
                Recorded::Lost if holds => self.wrong(format!("{job}: its own record was refused")),
                Recorded::Lost => self.figures.stale_records_refused += 1,
                _ => {}
            }
        }
    }

    /// A handler begins, under a key that a claim gave its process.
    pub(super) fn run_begins(&mut self, number: u64, key: LeaseKey) {
        self.runs.insert(number, Run { key, well: false });
    }

    /// A handler has returned a result.
    pub(super) fn run_ends_well(&mut self, number: u64) {
        if let Some(run) = self.runs.get_mut(&number) {
            run.well = true;
        }
    }

    /// A process held a lease as this worker when it died.
    pub(super) fn died(&mut self, worker: Option<WorkerId>) {
        self.figures.deaths += 1;
        self.dead.extend(worker.map(|worker| (worker, Instant::now())));
    }

    /// After the longest time that a recovery may take: jobs still run under workers that have no lease.
    pub(super) fn recovered(&mut self, stuck: &[JobRecord]) {
        for job in stuck {
            self.wrong(format!("{}: not taken from its lost worker in time", job.id));
        }
    }
}

#[cfg(test)]
mod tests;
