//! The rules, checked at each step of the store and at the end.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::{
    AttemptOutcome, Cause, ClaimRequest, Event, EventBody, FailureKind, Inserted, JobId, JobRecord,
    Lease, LeaseKey, NewJob, Settled, Settlement, State, Unique, WorkerId, machine,
};

use super::unique::UniqueKeys;

/// What a run counted.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Figures {
    pub jobs: u64,
    pub completed: u64,
    pub claims: u64,
    pub finishes: u64,
    pub stale_refused: u64,
    pub repeated_known: u64,
    pub rescues: u64,
    pub runs: u64,
    pub overlaps: u64,
    pub faults: u64,
    pub deaths: u64,
    /// From the death of a process to the rescue of each of its jobs.
    pub recoveries: Vec<Duration>,
}

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
    /// Handlers that run.
    running: BTreeSet<u64>,
}

/// Follows the store from outside and compares.
#[derive(Debug, Default)]
pub struct Checker {
    jobs: BTreeMap<JobId, Told>,
    sent: BTreeMap<JobId, Option<Unique>>,
    acknowledged: BTreeSet<JobId>,
    issued: BTreeSet<LeaseKey>,
    finished: BTreeSet<LeaseKey>,
    unique: UniqueKeys,
    /// Which job each run of a handler was for, and whether it returned well.
    runs: BTreeMap<u64, (JobId, bool)>,
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
        let told = self.jobs.entry(id).or_insert(Told {
            state: to,
            epoch: 0,
            attempts: 0,
            named: 0,
            holder: None,
            worker: None,
            running: BTreeSet::new(),
        });
        (told.state, told.named) = (to, attempt);
        self.touched.insert(id);
        match cause {
            Cause::Inserted => self.figures.jobs += 1,
            Cause::Claimed => {
                self.figures.claims += 1;
                told.epoch += 1;
                told.attempts += 1;
                (told.holder, told.worker) = (None, worker);
                self.claimed_now.insert(id);
            }
            Cause::Settled => drop(self.settled_now.insert(id)),
            Cause::Rescued => {
                self.figures.rescues += 1;
                told.epoch += 1;
                told.holder = None;
                let death = told.worker.take().and_then(|worker| self.dead.get(&worker));
                self.figures.recoveries.extend(death.filter(|_| crash).map(Instant::elapsed));
            }
            _ => {}
        }
    }

    /// What a claim was answered.
    pub(super) fn claimed(&mut self, request: &ClaimRequest, leases: &[Lease]) {
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
            told.holder = Some(key);
            let epoch = told.epoch;
            if key.epoch.0 != epoch || key.claim_id != request.claim_id || !self.issued.insert(key)
            {
                self.wrong(format!("{}: epoch {} in place of {epoch}", key.job, key.epoch.0));
            }
        }
        for slots in &request.queues {
            let given = leases.iter().filter(|lease| lease.queue == slots.queue).count();
            if given > slots.limit as usize {
                self.wrong(format!("{given} jobs of `{}`, asked {}", slots.queue, slots.limit));
            }
        }
        for slots in &request.kinds {
            let given = leases.iter().filter(|lease| lease.kind == slots.kind).count();
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
            if run != Some(&(key.job, true)) {
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

    /// A handler begins.
    pub(super) fn run_begins(&mut self, run: u64, job: JobId) {
        self.figures.runs += 1;
        self.runs.insert(run, (job, false));
        let Some(told) = self.jobs.get_mut(&job) else { return };
        self.figures.overlaps += u64::from(!told.running.is_empty());
        told.running.insert(run);
    }

    /// A handler has ended; `well` when it returned a result.
    pub(super) fn run_ends(&mut self, run: u64, well: bool) {
        let Some((job, good)) = self.runs.get_mut(&run) else { return };
        *good = well;
        if let Some(told) = self.jobs.get_mut(job) {
            told.running.remove(&run);
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

impl Figures {
    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.jobs += other.jobs;
        self.completed += other.completed;
        self.claims += other.claims;
        self.finishes += other.finishes;
        self.stale_refused += other.stale_refused;
        self.repeated_known += other.repeated_known;
        self.rescues += other.rescues;
        self.runs += other.runs;
        self.overlaps += other.overlaps;
        self.faults += other.faults;
        self.deaths += other.deaths;
        self.recoveries.extend_from_slice(&other.recoveries);
    }
}
