//! The histories, sorted by job, worker and process.

mod read;

use std::collections::{HashMap, HashSet};

use windlass_core::{ClaimId, JobId, LeaseKey, WorkerId};

pub use super::fault::Fault;
use super::{Evidence, FinalJob};
use crate::history::{Answer, Ending, Held, Slots, Verdict};

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
    /// Which attempt its worker was told that it is.
    pub attempt: u32,
    /// How long the attempt may take, in milliseconds.
    pub timeout: Option<u64>,
}

/// A claim that is about to be answered.
#[derive(Debug)]
struct Asked {
    /// When it was sent first.
    sent: u64,
    /// It was sent more than once, and may have taken jobs as often.
    resend: bool,
    slots: Vec<Slots>,
}

/// A claim that gave more than it asked for.
#[derive(Debug, Clone)]
pub struct Surplus {
    /// Where.
    pub process: String,
    /// Of what, and how many were asked for.
    pub slots: Slots,
    /// How many it gave.
    pub given: usize,
}

/// A record of a running job.
#[derive(Debug, Clone, Copy)]
pub struct Noted {
    /// The fence.
    pub key: LeaseKey,
    /// When it was sent.
    pub sent: u64,
    /// It was answered that it was added, or that it was not.
    pub added: Option<bool>,
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
    /// Which attempt its handler was told that it is.
    pub attempt: u32,
    /// Where.
    pub process: String,
    /// When it began.
    pub begun: u64,
    /// When it ended; when its process was gone, if it did not.
    pub ended: u64,
    /// The job whose args its handler was given, if they tell.
    pub args: Option<JobId>,
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
    /// The jobs that it adds.
    pub adds: Vec<JobId>,
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

    /// It may be the one that counts, as far as its answer tells.
    pub fn may_count(&self) -> bool {
        self.verdict.as_ref().is_none_or(Verdict::may_count)
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
    /// It was sent again with another rule: what was answered may be about either.
    pub rewritten: bool,
    /// The attempt that was to add it.
    pub parent: Option<LeaseKey>,
    /// The host removed it: it need not be there.
    pub removed: bool,
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
    /// Records.
    pub notes: Vec<Noted>,
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
    /// When leases ended before their time.
    pub ended: HashMap<WorkerId, Vec<u64>>,
    /// Claims that gave more than was asked for.
    pub surplus: Vec<Surplus>,
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
        let mut claims: HashMap<ClaimId, Asked> = HashMap::new();
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
        // The last one that had begun need not end last: what a fault may undo reaches back before it.
        let begun = self.undone.partition_point(|(first, _)| *first <= to);
        self.undone[..begun].iter().any(|(_, last)| *last >= from)
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
