//! The rules, checked at each step of the store and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use windlass_core::{
    AttemptOutcome, Cause, ClaimRequest, DEADLINE_GRACE, Event, EventBody, FailureKind, Inserted,
    JobId, JobRecord, Lease, LeaseKey, NewJob, Record, Recorded, Settled, Settlement, State,
    Unique, WorkerId, machine,
};

use super::figures::Figures;
use super::unique::UniqueKeys;

/// What is known of a job from what happened to it.
#[derive(Debug)]
struct Told {
    state: State,
    epoch: u32,
    /// Claims, less those whose attempt was given back.
    attempts: u32,
    /// The attempt counter that the last event named.
    named: u32,
    holder: Option<LeaseKey>,
    worker: Option<WorkerId>,
    /// When it was claimed, and how long the attempt may take.
    since: Timestamp,
    timeout: Option<Duration>,
    /// Handlers that run.
    running: BTreeSet<u64>,
}

impl Told {
    fn new(state: State, at: Timestamp) -> Self {
        Self {
            state,
            epoch: 0,
            attempts: 0,
            named: 0,
            holder: None,
            worker: None,
            since: at,
            timeout: None,
            running: BTreeSet::new(),
        }
    }

    fn is_late(&self, now: Timestamp) -> bool {
        let most = self.timeout.map(|timeout| timeout + DEADLINE_GRACE);
        most.is_some_and(|most| now.duration_since(self.since).unsigned_abs() >= most)
    }
}

/// A run of a handler.
#[derive(Debug, Clone, Copy)]
struct Run {
    job: JobId,
    key: LeaseKey,
    /// It returned a result.
    well: bool,
}

/// Follows the store from outside and compares.
#[derive(Debug, Default)]
pub struct Checker {
    jobs: BTreeMap<JobId, Told>,
    sent: BTreeMap<JobId, Option<Unique>>,
    acknowledged: BTreeSet<JobId>,
    issued: BTreeSet<LeaseKey>,
    finished: BTreeSet<LeaseKey>,
    /// Keys that hold nothing any more: settled, or taken away after an expiry.
    ended: BTreeSet<LeaseKey>,
    unique: UniqueKeys,
    /// Until when each worker has a lease, by the store's clock.
    leases: BTreeMap<WorkerId, Timestamp>,
    runs: BTreeMap<u64, Run>,
    /// Keys under which a handler ran.
    ran: BTreeSet<LeaseKey>,
    dead: BTreeMap<WorkerId, Instant>,
    /// Claimed in the step at hand, and settled in it; each needs an answer that says so.
    claimed_now: BTreeSet<JobId>,
    settled_now: BTreeSet<JobId>,
    touched: BTreeSet<JobId>,
    /// What was counted.
    pub figures: Figures,
    /// Rules that were broken.
    pub broken: Vec<String>,
}

impl Checker {
    fn wrong(&mut self, text: String) {
        // One mistake leads to others; the first tell enough.
        if self.broken.len() < 10 {
            self.broken.push(text);
        }
    }

    /// Jobs are about to be inserted.
    pub(super) fn sent(&mut self, jobs: &[NewJob]) {
        self.sent.extend(jobs.iter().map(|job| (job.id, job.unique.clone())));
    }

    /// The producer got this answer.
    pub(super) fn acknowledged(&mut self, answers: &[Inserted]) {
        self.acknowledged.extend(answers.iter().map(Inserted::id));
    }

    /// What a step of the store made known, in order.
    pub(super) fn events(&mut self, step: &str, events: &[Event]) {
        for event in events {
            if let EventBody::State { from, to, attempt, cause, worker, error } = &event.body {
                let crash = error.as_ref().is_some_and(|e| e.kind == FailureKind::Crash);
                self.changed(step, event, (*from, *to, *cause), *attempt, *worker, crash);
            }
        }
    }

    fn changed(
        &mut self,
        step: &str,
        event: &Event,
        change: (Option<State>, State, Cause),
        attempt: u32,
        worker: Option<WorkerId>,
        crash: bool,
    ) {
        let (from, to, cause) = change;
        let id = event.job;
        let by = match cause {
            Cause::Inserted | Cause::Replaced => &["insert", "settle"][..],
            Cause::Claimed => &["claim"],
            Cause::Settled => &["settle"],
            Cause::Promoted | Cause::Rescued => &["maintain"],
            _ => &["change"],
        };
        if !by.contains(&step) {
            self.wrong(format!("{id}: {step} made it {to} as {cause:?}"));
        }
        let Some(unique) = self.sent.get(&id).cloned() else {
            return self.wrong(format!("{id}: nobody sent it"));
        };
        let known = self.jobs.get(&id).map(|told| told.state);
        if known != from || from.is_some_and(|from| !machine::can_become(from, to)) {
            self.wrong(format!("{id}: from {from:?} to {to}, but it was {known:?}"));
        }
        if from.is_some_and(State::is_final) && cause != Cause::Changed {
            self.wrong(format!("{id}: a final state changed to {to} as {cause:?}"));
        }
        if let Some(unique) = &unique
            && let Err(holder) = self.unique.follow(id, unique, change, event.at)
        {
            self.wrong(format!("{id}: its unique key was held by {holder}"));
        }
        if cause == Cause::Rescued {
            self.rescued(id, event.at, crash);
        }
        let told = self.jobs.entry(id).or_insert_with(|| Told::new(to, event.at));
        (told.state, told.named) = (to, attempt);
        self.touched.insert(id);
        match cause {
            Cause::Inserted => self.figures.jobs += 1,
            Cause::Claimed => {
                self.figures.claims += 1;
                told.epoch += 1;
                told.attempts += 1;
                (told.holder, told.worker, told.since) = (None, worker, event.at);
                self.claimed_now.insert(id);
            }
            Cause::Settled => drop(self.settled_now.insert(id)),
            Cause::Rescued => told.epoch += 1,
            _ => {}
        }
    }

    /// A job is taken from its worker, which must have lost its lease, or be late.
    fn rescued(&mut self, id: JobId, now: Timestamp, crash: bool) {
        self.figures.rescues += 1;
        let Some(told) = self.jobs.get_mut(&id) else { return };
        self.ended.extend(told.holder.take());
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
        // What it takes now: a request that came twice has taken twice, and is told of both when it is sent again.
        let mut taken = Vec::new();
        for lease in leases {
            let key = lease.key;
            let fresh = self.claimed_now.remove(&key.job);
            let Some(told) = self.jobs.get_mut(&key.job) else {
                self.wrong(format!("{}: claimed, but never inserted", key.job));
                continue;
            };
            if !fresh {
                if told.holder != Some(key) {
                    self.wrong(format!("{}: given to a claim that doesn't hold it", key.job));
                }
                continue;
            }
            taken.push(lease);
            (told.holder, told.timeout) = (Some(key), lease.timeout);
            let epoch = told.epoch;
            if key.epoch.0 != epoch || key.claim_id != request.claim_id || !self.issued.insert(key)
            {
                self.wrong(format!("{}: epoch {} in place of {epoch}", key.job, key.epoch.0));
            }
        }
        for slots in &request.queues {
            let given = taken.iter().filter(|lease| lease.queue == slots.queue).count();
            if given > slots.limit as usize {
                self.wrong(format!("{given} jobs of `{}`, asked {}", slots.queue, slots.limit));
            }
        }
        for slots in &request.kinds {
            let given = taken.iter().filter(|lease| lease.kind == slots.kind).count();
            if slots.limit.is_some_and(|limit| given > limit as usize) {
                self.wrong(format!("{given} jobs of kind `{}`: more than asked", slots.kind));
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
        if !self.finished.insert(key) {
            self.wrong(format!("{}: epoch {} finished twice", key.job, key.epoch.0));
        }
        let Some(told) = self.jobs.get_mut(&key.job) else {
            return self.wrong(format!("{}: settled, but never inserted", key.job));
        };
        let holder = told.holder.take();
        self.ended.insert(key);
        if matches!(settlement.outcome, AttemptOutcome::Snoozed { .. } | AttemptOutcome::Released) {
            told.attempts = told.attempts.saturating_sub(1);
        }
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
        for id in std::mem::take(&mut self.touched) {
            if let Some(told) = self.jobs.get(&id)
                && told.named != told.attempts
            {
                let (named, attempts) = (told.named, told.attempts);
                self.wrong(format!("{id}: attempt {named} after {step}, counted {attempts}"));
            }
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
    pub(super) fn run_begins(&mut self, number: u64, job: JobId, key: Option<LeaseKey>) {
        self.figures.runs += 1;
        let Some(key) = key.filter(|key| self.issued.contains(key)) else {
            return self.wrong(format!("{job}: runs without a claim"));
        };
        if !self.ran.insert(key) {
            self.wrong(format!("{job}: epoch {} runs twice", key.epoch.0));
        }
        self.runs.insert(number, Run { job, key, well: false });
        let Some(told) = self.jobs.get_mut(&job) else { return };
        self.figures.overlaps += u64::from(!told.running.is_empty());
        told.running.insert(number);
        // All but one of those at work have lost the job by now, each in a way that is allowed.
        let runs = told.running.iter().filter_map(|run| self.runs.get(run));
        let owners = runs.filter(|run| !self.ended.contains(&run.key)).count();
        if owners > 1 {
            self.wrong(format!("{job}: runs twice at once, and nobody lost it"));
        }
    }

    /// A handler has ended; `well` when it returned a result.
    pub(super) fn run_ends(&mut self, number: u64, well: bool) {
        let Some(run) = self.runs.get_mut(&number) else { return };
        run.well = well;
        if let Some(told) = self.jobs.get_mut(&run.job) {
            told.running.remove(&number);
        }
    }

    /// A process held a lease as this worker when it died.
    pub(super) fn died(&mut self, worker: Option<WorkerId>) {
        self.figures.deaths += 1;
        self.dead.extend(worker.map(|worker| (worker, Instant::now())));
    }

    /// A process runs more jobs of a queue or kind than it may.
    pub(super) fn too_many(&mut self, what: &str, count: u32, limit: u32) {
        self.wrong(format!("{count} jobs of {what} at once, {limit} allowed"));
    }

    /// After the longest time that a recovery may take: jobs still run under workers that have no lease.
    pub(super) fn recovered(&mut self, stuck: &[JobRecord]) {
        for job in stuck {
            self.wrong(format!("{}: not taken from its lost worker in time", job.id));
        }
    }

    /// All that is left, after everything healed and was drained.
    pub(super) fn drained(&mut self, left: &[JobRecord]) {
        let records: BTreeMap<_, _> = left.iter().map(|job| (job.id, job)).collect();
        let gone: Vec<_> =
            self.acknowledged.iter().filter(|id| !records.contains_key(*id)).copied().collect();
        for id in gone {
            self.wrong(format!("{id}: lost, though its insert was acknowledged"));
        }
        for job in left {
            if !job.state.is_final() {
                self.wrong(format!("{}: still {} after the drain", job.id, job.state));
            }
            let told = self.jobs.get(&job.id);
            let told = told.map(|told| (told.state, told.attempts, told.epoch));
            if told != Some((job.state, job.attempt, job.epoch.0)) {
                self.wrong(format!("{}: {:?} differs from {told:?}", job.id, job.state));
            }
        }
    }
}

#[cfg(test)]
mod tests;
