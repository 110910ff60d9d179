//! The histories, sorted by job, worker and process.

use std::collections::{HashMap, HashSet};

use windlass::{ClaimId, JobId, LeaseKey, WorkerId};

pub use super::fault::Fault;
use super::{Evidence, FinalJob};
use crate::history::{Answer, Ending, Held, Verdict, What};

/// A completion in a transaction of the host's.
const HOST: (Ending, bool) = (Ending::Completed, true);

/// A claim, as its worker heard of it.
#[derive(Debug, Clone)]
pub struct Claim {
    /// The fence.
    pub key: LeaseKey,
    /// Who.
    pub worker: WorkerId,
    /// When it was sent first.
    pub sent: u64,
    /// When it was heard.
    pub heard: u64,
    /// Where.
    pub process: String,
}

/// A run of a handler.
#[derive(Debug, Clone)]
pub struct Run {
    /// The fence.
    pub key: LeaseKey,
    /// Its kind.
    pub kind: String,
    /// Its queue.
    pub queue: String,
    /// Where.
    pub process: String,
    /// When it began.
    pub begun: u64,
    /// When it ended; when its process was gone, if it did not.
    pub ended: u64,
}

/// A settlement.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The fence.
    pub key: LeaseKey,
    /// The outcome.
    pub ending: Ending,
    /// In a transaction of the host's.
    pub in_host: bool,
    /// When it was sent.
    pub sent: u64,
    /// The answer; for one in a transaction of the host's whether that was committed. None: it never came.
    pub verdict: Option<Verdict>,
    /// When the answer came.
    pub answered: u64,
}

impl Settlement {
    /// It was answered that it counts.
    pub fn accepted(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Applied(_)))
    }

    /// It was answered that it counts, or that it did before.
    pub fn counts(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Applied(_) | Verdict::Already(_)))
    }

    /// It was answered that it counts and that the job is final.
    pub fn finished(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Applied(state)) if state.is_final())
    }
}

/// All that is known of one job.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    /// When it was sent.
    pub sent: Option<u64>,
    /// Its kind, as sent.
    pub kind: Option<String>,
    /// Its unique rule.
    pub unique: Option<Held>,
    /// Until it was due, in milliseconds.
    pub delay: u64,
    /// Inserted beside a row.
    pub with_row: bool,
    /// That transaction was rolled back.
    pub rolled_back: bool,
    /// The first answer, and when.
    pub acked: Option<(u64, Answer)>,
    /// An insert of it failed: it may be applied, even later.
    pub failed: bool,
    /// Another insert replaced its contents.
    pub replaced: bool,
    /// The attempt that was to add it.
    pub parent: Option<LeaseKey>,
    /// The jobs that were to follow, by attempt.
    pub children: Vec<(LeaseKey, JobId)>,
    /// When an operator asked to cancel it.
    pub cancels: Vec<u64>,
    /// When he was answered that it is, or is to be.
    pub cancelled: Vec<u64>,
    /// His last request is to cancel it.
    cancelling: bool,
    /// When an operator asked to run it again.
    pub retries: Vec<u64>,
    /// Its claims.
    pub claims: Vec<Claim>,
    /// Its runs.
    pub runs: Vec<Run>,
    /// Its settlements.
    pub settlements: Vec<Settlement>,
    /// Effects outside of the database.
    pub outside: Vec<(u64, LeaseKey)>,
    /// When somebody was told that it was rescued.
    pub rescues: Vec<u64>,
    /// Handlers that began without a claim of their own.
    pub unclaimed: u32,
}

impl Trace {
    /// When anything about it was answered.
    fn answers(&self) -> impl Iterator<Item = u64> {
        let claims = self.claims.iter().map(|claim| claim.heard);
        let settled = self.settlements.iter().filter(|one| one.verdict.is_some());
        let answers = settled.map(|one| one.answered).chain(self.rescues.iter().copied());
        let operator = self.cancels.iter().chain(&self.retries).copied();
        claims.chain(answers).chain(operator).chain(self.acked.map(|(t, _)| t))
    }
}

/// The histories, sorted.
#[derive(Debug, Default)]
pub struct Traces<'a> {
    /// By job.
    pub jobs: HashMap<JobId, Trace>,
    /// What is in the store.
    pub stored: HashMap<JobId, &'a FinalJob>,
    /// When each worker sent what was answered by a lease, or by a longer one.
    pub beats: HashMap<WorkerId, Vec<u64>>,
    /// When each process was gone.
    pub deaths: HashMap<String, u64>,
    /// The faults, in order.
    pub faults: Vec<Fault>,
    /// Processes that have registered as workers.
    pub workers: HashSet<String>,
    /// Processes of another build.
    pub second: HashSet<String>,
    /// When answers came that may have been undone, in order.
    undone: Vec<(u64, u64)>,
    /// The last time on record.
    pub end: u64,
}

impl<'a> Traces<'a> {
    /// Sorts what is known.
    pub fn of(evidence: &'a Evidence) -> Self {
        let mut all = Self {
            stored: evidence.jobs.iter().map(|job| (job.id, job)).collect(),
            end: evidence.entries.last().map_or(0, |entry| entry.t),
            ..Self::default()
        };
        let mut claims: HashMap<ClaimId, u64> = HashMap::new();
        for entry in &evidence.entries {
            all.read(entry.t, &entry.process, &entry.what, &mut claims);
        }
        let by = evidence.promises.undone_by;
        all.undone = all.faults.iter().filter_map(|fault| fault.undoes(by)).collect();
        all.undone.sort_unstable();
        for trace in all.jobs.values_mut() {
            for run in trace.runs.iter_mut().filter(|run| run.ended == u64::MAX) {
                run.ended = all.deaths.get(&run.process).copied().unwrap_or(all.end);
            }
        }
        all
    }

    fn job(&mut self, job: JobId) -> &mut Trace {
        self.jobs.entry(job).or_default()
    }

    fn read(&mut self, t: u64, process: &str, what: &What, claims: &mut HashMap<ClaimId, u64>) {
        match what {
            What::Sent { job, kind, unique, delay, with_row, .. } => {
                let trace = self.job(*job);
                trace.sent.get_or_insert(t);
                trace.kind = Some(kind.clone());
                (trace.unique, trace.delay, trace.with_row) = (unique.clone(), *delay, *with_row);
            }
            What::Acked { job, answer } => {
                self.job(*job).acked.get_or_insert((t, *answer));
                if let Answer::Replaced(existing) = answer {
                    self.job(*existing).replaced = true;
                }
            }
            What::Failed { job, .. } => self.job(*job).failed = true,
            What::RolledBack { job } => self.job(*job).rolled_back = true,
            What::Cancelling { job } => {
                let trace = self.job(*job);
                trace.cancels.push(t);
                trace.cancelling = true;
            }
            What::Retrying { job } => {
                let trace = self.job(*job);
                trace.retries.push(t);
                trace.cancelling = false;
            }
            What::Changed { job, changed: true } if self.job(*job).cancelling => {
                self.job(*job).cancelled.push(t);
            }
            What::Registered { worker, sent } => {
                self.beats.entry(*worker).or_default().push(*sent);
                self.workers.insert(process.to_owned());
            }
            What::Beat { worker, sent, expired: false, .. } => {
                self.beats.entry(*worker).or_default().push(*sent);
            }
            What::Claiming { claim, .. } => {
                claims.entry(*claim).or_insert(t);
            }
            What::Claimed { worker, claim, leases } => {
                let sent = claims.get(claim).copied().unwrap_or(t);
                for taken in leases {
                    let (key, process) = (taken.key, process.to_owned());
                    let claims = &mut self.job(key.job).claims;
                    if !claims.iter().any(|claim| claim.key == key) {
                        claims.push(Claim { key, worker: *worker, sent, heard: t, process });
                    }
                }
            }
            What::Begun { key, kind, queue, .. } => {
                let (kind, queue, process) = (kind.clone(), queue.clone(), process.to_owned());
                let run = Run { key: *key, kind, queue, process, begun: t, ended: u64::MAX };
                self.job(key.job).runs.push(run);
            }
            What::Ended { key, .. } => {
                let runs = &mut self.job(key.job).runs;
                if let Some(run) = runs.iter_mut().rfind(|run| run.key == *key) {
                    run.ended = t;
                }
            }
            What::Unclaimed { job } => self.job(*job).unclaimed += 1,
            What::Effect { key } => self.job(key.job).outside.push((t, *key)),
            What::FollowUp { key, child } => {
                self.job(key.job).children.push((*key, *child));
                self.job(*child).parent = Some(*key);
            }
            What::Rescued { jobs } => jobs.iter().for_each(|job| self.job(*job).rescues.push(t)),
            _ => self.read_end(t, what),
        }
    }

    fn read_end(&mut self, t: u64, what: &What) {
        match what {
            What::Settling { key, ending, in_host } => {
                let (key, ending, in_host) = (*key, *ending, *in_host);
                let answered = u64::MAX;
                let one = Settlement { key, ending, in_host, sent: t, verdict: None, answered };
                self.job(key.job).settlements.push(one);
            }
            // Inside of the host's transaction only a refusal is final.
            What::Settled { key, ending, verdict, in_host }
                if !in_host || *verdict == Verdict::Lost =>
            {
                self.answer(t, key, (*ending, *in_host), verdict.clone());
            }
            What::Committed { key } => {
                self.answer(t, key, HOST, Verdict::Applied(windlass::State::Completed));
            }
            What::CommitFailed { key, error } => {
                self.answer(t, key, HOST, Verdict::Unknown(error.clone()));
            }
            What::Born { name, second: true } => {
                self.second.insert(name.clone());
            }
            What::Died { name } => {
                self.deaths.insert(name.clone(), t);
            }
            What::Fault { number, kind, victim } => {
                let (kind, victim) = (kind.clone(), victim.clone());
                let (from, to, moments) = (t, u64::MAX, Vec::new());
                self.faults.push(Fault {
                    number: *number,
                    kind,
                    victim,
                    from,
                    to,
                    count: 0,
                    moments,
                });
            }
            What::Moment { number, moment } => {
                let mut faults = self.faults.iter_mut();
                if let Some(fault) = faults.rfind(|fault| fault.number == *number) {
                    fault.moments.push((t, *moment));
                }
            }
            What::Healed { number, count } => {
                let mut faults = self.faults.iter_mut();
                if let Some(fault) = faults.rfind(|fault| fault.number == *number) {
                    (fault.to, fault.count) = (t, *count);
                }
            }
            _ => {}
        }
    }

    fn answer(&mut self, t: u64, key: &LeaseKey, which: (Ending, bool), verdict: Verdict) {
        let settlements = &mut self.job(key.job).settlements;
        let mut open = settlements.iter_mut().filter(|one| one.key == *key);
        let found = open.rfind(|one| (one.ending, one.in_host) == which && one.verdict.is_none());
        if let Some(one) = found {
            (one.verdict, one.answered) = (Some(verdict), t);
        }
    }

    /// The fault under which something falls that happened at a time: the last one that had begun.
    pub fn fault_at(&self, t: u64) -> Option<&Fault> {
        let after = self.faults.partition_point(|fault| fault.from <= t);
        after.checked_sub(1).and_then(|n| self.faults.get(n))
    }

    /// The kinds of faults that touch a stretch of time.
    pub fn faults_between(&self, from: u64, to: u64) -> impl Iterator<Item = &Fault> {
        self.faults.iter().filter(move |fault| fault.from <= to && fault.to >= from)
    }

    /// What was answered at this time may be undone: a server was lost with it.
    pub fn undone_at(&self, t: u64) -> bool {
        self.undone_between(t, t)
    }

    /// The same of anything that was answered in between.
    pub fn undone_between(&self, from: u64, to: u64) -> bool {
        // They follow each other, as faults do: the last one that had begun ends last.
        let begun = self.undone.partition_point(|(first, _)| *first <= to);
        begun.checked_sub(1).is_some_and(|n| self.undone[n].1 >= from)
    }

    /// Something that was answered about a job may be undone.
    pub fn touched(&self, job: JobId) -> bool {
        !self.undone.is_empty()
            && self.jobs.get(&job).is_some_and(|trace| trace.answers().any(|t| self.undone_at(t)))
    }

    /// The clock was moved at some time in between.
    pub fn clock_moved(&self, from: u64, to: u64) -> bool {
        self.faults_between(from, to).any(|fault| fault.kind.starts_with("clock"))
    }
}
