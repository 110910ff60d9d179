//! The checker: a pure function of what those who took part in a run wrote down, and of what is in the store at the end.
//!
//! It knows nothing of processes and servers, and the same rules hold for all of them: real servers under faults (`chaos`), the worker runtime in
//! a simulated world and sequences of operations on the memory backend (`model`). Whoever wraps his backend in a [`Recorder`] has most of the
//! [`history`]; times may be of any clock that all of it shares, in microseconds.
//!
//! Each rule is a module with a function that adds what breaks it to a [`Findings`]. A rule never guesses: where a reply was lost, both
//! answers are possible, and only what is wrong under either is a violation.
//!
//! ```
//! use windlass_core::{Cause, JobId, State};
//! use windlass_checker::{Change, Evidence, FinalJob, Promises, Rule, UndoneBy, check};
//! use windlass_checker::history::{Answer, Entry, What};
//!
//! let job = JobId::new();
//! let (kind, queue) = ("plain".to_owned(), "default".to_owned());
//! let sent = What::Sent { job, kind, queue, unique: None, delay: 0, with_row: false };
//! let acked = What::Acked { job, answer: Answer::New };
//! let at = |t, what| Entry { t, process: "producer".to_owned(), what };
//! let promises = Promises {
//!     undone_by: UndoneBy::Nothing,
//!     inserts: true,
//!     one_writer: false,
//!     transactional: false,
//!     busy: false,
//!     lease: 3_000_000,
//!     recovery: 5_000_000,
//!     call: 1_000_000,
//! };
//! // It was acknowledged, and the store has nothing at the end.
//! let evidence = Evidence::new(vec![at(1, sent), at(2, acked)], Vec::new(), promises);
//! assert_eq!(check(&evidence).count(Rule::NothingLost), 1);
//! ```
#![forbid(unsafe_code)]

mod attempts;
mod conflicts;
mod dry;
mod effects;
mod evidence;
mod fault;
mod feed;
mod figures;
mod finishes;
pub mod history;
mod limits;
mod lost;
mod overlap;
mod recorder;
mod recovery;
#[cfg(test)]
mod tests;
pub mod trace;
mod unique;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use windlass_core::JobId;

pub use evidence::{Change, Committed, Evidence, FinalJob, Limit, Promises, Told, UndoneBy};
pub use figures::{Figures, Lasting, Sample, percentile};
pub use recorder::{Journal, Recorder, changing};
pub use trace::Traces;

/// How many violations of one rule are told in words.
const TOLD: usize = 20;

/// What a run must satisfy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Every acknowledged job is in a final state at the end.
    NothingLost,
    /// Every job and every run was asked for by somebody.
    NothingUnexpected,
    /// At most one finish of a job counts, and it is the one on record.
    OneFinish,
    /// Nobody settles a job that somebody else has taken since, or adds a record to it.
    NoStaleFinish,
    /// Effects that commit with the completion are there exactly once per completed job.
    EffectsOnce,
    /// Rows that commit with an insert are there exactly if the job is.
    RowsWithJobs,
    /// Follow-ups are there exactly if their parent completed.
    FollowUps,
    /// Two runs of a job overlap only after the lease of the first has run out.
    OverlapAfterExpiry,
    /// Attempts are claims, less snoozes and releases; each claim and each rescue has an epoch of its own.
    AttemptsAreClaims,
    /// The steps of a history follow the state machine, and final states stay.
    StatesFollow,
    /// A unique key has one holder.
    OneHolder,
    /// A worker runs no more jobs at once than it may, and is given no more than it asks for.
    WithinLimits,
    /// Jobs of a lost worker are taken up again in time.
    RecoveryInTime,
    /// A reader of the feed is told every state change, once and in the order of each job's history.
    FeedComplete,
    /// The database is whole.
    DatabaseWhole,
}

/// Something that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// The rule.
    pub rule: Rule,
    /// The job, if it is about one.
    pub job: Option<JobId>,
    /// What is wrong.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.rule)?;
        if let Some(job) = self.job {
            write!(f, ", job {job}")?;
        }
        write!(f, ": {}", self.text)
    }
}

/// What the checker finds.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub struct Findings {
    /// How often each rule is broken.
    pub broken: BTreeMap<Rule, u64>,
    /// The first of each rule in words.
    pub violations: Vec<Violation>,
    /// Lost jobs that the guarantees allow, as after a failover to an asynchronous replica.
    pub lost_as_allowed: u64,
    /// What was counted.
    pub figures: Figures,
}

impl Findings {
    /// Notes a violation.
    pub fn add(&mut self, rule: Rule, job: Option<JobId>, text: impl Into<String>) {
        let count = self.broken.entry(rule).or_default();
        *count += 1;
        if *count <= TOLD as u64 {
            self.violations.push(Violation { rule, job, text: text.into() });
        }
    }

    /// How often a rule is broken.
    pub fn count(&self, rule: Rule) -> u64 {
        self.broken.get(&rule).copied().unwrap_or_default()
    }

    /// Whether every rule holds.
    pub fn hold(&self) -> bool {
        self.broken.is_empty()
    }
}

/// Checks every rule and counts.
pub fn check(evidence: &Evidence) -> Findings {
    let mut findings = Findings::default();
    let traces = Traces::of(evidence);
    lost::check(evidence, &traces, &mut findings);
    finishes::check(evidence, &traces, &mut findings);
    effects::check(evidence, &traces, &mut findings);
    overlap::check(evidence, &traces, &mut findings);
    attempts::check(evidence, &traces, &mut findings);
    unique::check(evidence, &traces, &mut findings);
    conflicts::check(evidence, &traces, &mut findings);
    limits::check(evidence, &traces, &mut findings);
    recovery::check(evidence, &traces, &mut findings);
    feed::check(evidence, &traces, &mut findings);
    for what in &evidence.damage {
        findings.add(Rule::DatabaseWhole, None, what.as_str());
    }
    figures::count(evidence, &traces, &mut findings);
    findings
}
