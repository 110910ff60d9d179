//! What a run counted.

use std::collections::BTreeMap;
use std::time::Duration;

/// What a run counted.
#[derive(Debug, Clone, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Figures {
    pub jobs: u64,
    pub completed: u64,
    pub claims: u64,
    pub finishes: u64,
    pub stale_refused: u64,
    pub stale_records_refused: u64,
    pub repeated_known: u64,
    pub rescues: u64,
    pub runs: u64,
    pub overlaps: u64,
    pub deaths: u64,
    /// Faults that struck, of each sort.
    pub faults: BTreeMap<&'static str, u64>,
    /// From the death of a process to the rescue of each of its jobs.
    pub recoveries: Vec<Duration>,
}

impl Figures {
    /// Every sort of fault that a run may have.
    pub const FAULTS: [&'static str; 14] = [
        "request delayed",
        "reply delayed",
        "request lost",
        "reply lost",
        "request doubled",
        "request after its sender's death",
        "wait failed",
        "hint lost",
        "false hint",
        "process killed",
        "process restarted",
        "process cut off",
        "lease lost",
        "clock jump",
    ];

    /// A fault strikes.
    pub(super) fn struck(&mut self, sort: &'static str) {
        *self.faults.entry(sort).or_default() += 1;
    }

    /// Faults of all sorts.
    #[must_use]
    pub fn faults(&self) -> u64 {
        self.faults.values().sum()
    }

    /// Adds those of another run.
    pub fn add(&mut self, other: &Self) {
        self.jobs += other.jobs;
        self.completed += other.completed;
        self.claims += other.claims;
        self.finishes += other.finishes;
        self.stale_refused += other.stale_refused;
        self.stale_records_refused += other.stale_records_refused;
        self.repeated_known += other.repeated_known;
        self.rescues += other.rescues;
        self.runs += other.runs;
        self.overlaps += other.overlaps;
        self.deaths += other.deaths;
        for (sort, count) in &other.faults {
            *self.faults.entry(sort).or_default() += count;
        }
        self.recoveries.extend_from_slice(&other.recoveries);
    }
}
