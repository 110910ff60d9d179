//! What is counted besides what is wrong.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use windlass_core::{Cause, JobId, LeaseKey};

use super::trace::{Settlement, Trace, Traces};
use super::{Evidence, Findings, dry, effects};
use crate::history::{Answer, What};

/// Stretches of time in a plot.
const BUCKETS: u64 = 120;
/// Shortest such stretch, in microseconds.
const SHORTEST: u64 = 2_000_000;

/// Figures under one kind of fault. What happens is counted under the fault that began last before it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Lasting {
    /// Faults injected.
    pub faults: u64,
    /// What they count of themselves, such as replies dropped.
    pub count: u64,
    /// Jobs that ended.
    pub jobs: u64,
    /// Jobs lost.
    pub lost: u64,
    /// Finishes of stale holders that were refused.
    pub stale_refused: u64,
    /// Finishes of stale holders that were accepted.
    pub stale_accepted: u64,
    /// Effects too many.
    pub doubled_effects: u64,
    /// Runs that did not count, under the fault in which they ended.
    pub repeated: u64,
    /// Effects outside of the database that these runs had.
    pub outside: u64,
    /// From the loss of a worker until each job that it held was taken up, in microseconds.
    pub recovery: Vec<u64>,
    /// From the end of another fault until a settlement was accepted, in microseconds.
    pub service: Vec<u64>,
}

/// A stretch of time in a plot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Seconds since the begin.
    pub second: f64,
    /// Jobs claimed.
    pub jobs: u64,
    /// From the acknowledgement to the claim, in milliseconds: the median. `None` if nothing was claimed.
    pub pickup_p50: Option<f64>,
    /// The same: of a hundred, one took longer.
    pub pickup_p99: Option<f64>,
    /// Resident memory of the largest worker, in MiB.
    pub memory: Option<f64>,
    /// Resident memory of the worker that lives through all of a soak, in MiB.
    pub steady: Option<f64>,
}

/// What was counted in a run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Inserts acknowledged as new.
    pub acknowledged: u64,
    /// Jobs in a final state at the end.
    pub jobs: u64,
    /// Of these, by state.
    pub states: BTreeMap<String, u64>,
    /// Handlers that began.
    pub runs: u64,
    /// Of these, in processes of another build.
    pub second: u64,
    /// Processes of another build.
    #[serde(default)]
    pub second_processes: u64,
    /// Handlers whose job ran elsewhere at the same time.
    pub overlaps: u64,
    /// Claims in the histories of jobs.
    pub claims: u64,
    /// Times a unique key was certainly held.
    pub held: u64,
    /// State changes that a reader of the feed was told.
    pub told: u64,
    /// Effects committed with a completion.
    pub effects: u64,
    /// Handlers that began, of those that complete with an effect.
    #[serde(default)]
    pub effect_runs: u64,
    /// The longest time in which a process tried transactions of the host's and none was committed, in microseconds.
    #[serde(default)]
    pub dry: u64,
    /// Rows of the host's, committed with an insert.
    #[serde(default)]
    pub rows: u64,
    /// Jobs in the store that a settlement added.
    #[serde(default)]
    pub follow_ups: u64,
    /// There is a ledger of effects that commit with a completion.
    pub ledger: bool,
    /// Jobs of lost workers of which it was checked that they were taken up in time.
    pub recoveries: u64,
    /// Of these, those in whose time nothing else held things up: the bound was that of a quiet system.
    #[serde(default)]
    pub recoveries_plain: u64,
    /// How long these took, in microseconds.
    #[serde(default)]
    pub recovery_plain: Vec<u64>,
    /// That bound, in microseconds.
    #[serde(default)]
    pub recovery_bound: u64,
    /// Records of stale holders that were refused.
    #[serde(default)]
    pub records_refused: u64,
    /// Settlements that were refused since another of the same holder had counted.
    #[serde(default)]
    pub repeats_refused: u64,
    /// Epochs of a job that were given to two claims, as after a failover.
    #[serde(default)]
    pub reissued: u64,
    /// Ends that were acknowledged and undone, where the guarantees allow it.
    pub undone: u64,
    /// By kind of fault.
    pub faults: BTreeMap<String, Lasting>,
    /// Over time.
    pub samples: Vec<Sample>,
}

/// The value below which so many of a hundred lie.
pub fn percentile<T: Copy + Ord>(values: &[T], hundredths: usize) -> Option<T> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let n = (sorted.len() * hundredths).div_ceil(100).max(1) - 1;
    sorted.get(n).copied()
}

impl Figures {
    /// All kinds of faults together.
    pub fn all(&self) -> Lasting {
        let mut all = Lasting::default();
        for one in self.faults.values() {
            all.faults += one.faults;
            all.count += one.count;
            all.jobs += one.jobs;
            all.lost += one.lost;
            all.stale_refused += one.stale_refused;
            all.stale_accepted += one.stale_accepted;
            all.doubled_effects += one.doubled_effects;
            all.repeated += one.repeated;
            all.outside += one.outside;
            all.recovery.extend(&one.recovery);
            all.service.extend(&one.service);
        }
        all
    }

    fn at(&mut self, traces: &Traces<'_>, t: u64) -> &mut Lasting {
        let kind = traces.fault_at(t).map_or("none", |fault| fault.kind.as_str());
        self.of(kind)
    }

    fn of(&mut self, kind: &str) -> &mut Lasting {
        self.faults.entry(kind.to_owned()).or_default()
    }

    /// A job that was acknowledged then is lost: by the fault of that moment, or the next.
    pub(super) fn lost(&mut self, traces: &Traces<'_>, acked: u64) {
        let fault = traces.faults.iter().find(|fault| fault.to >= acked);
        self.of(fault.map_or("none", |fault| fault.kind.as_str())).lost += 1;
    }

    pub(super) fn refused(&mut self, traces: &Traces<'_>, t: u64) {
        self.at(traces, t).stale_refused += 1;
    }

    pub(super) fn stale_accepted(&mut self, traces: &Traces<'_>, t: u64) {
        self.at(traces, t).stale_accepted += 1;
    }

    pub(super) fn doubled(&mut self, traces: &Traces<'_>, job: JobId, times: u64) {
        let trace = traces.jobs.get(&job);
        let last = trace.and_then(|trace| trace.runs.last()).map_or(0, |run| run.begun);
        self.at(traces, last).doubled_effects += times;
    }

    pub(super) fn recovered(&mut self, kind: &str, took: u64) {
        self.of(kind).recovery.push(took);
    }

    pub(super) fn served(&mut self, kind: &str, took: u64) {
        self.of(kind).service.push(took);
    }
}

pub(super) fn count(evidence: &Evidence, traces: &Traces<'_>, findings: &mut Findings) {
    let figures = &mut findings.figures;
    for fault in &traces.faults {
        let of = figures.of(&fault.kind);
        // One that met nothing is none.
        of.faults += u64::from(fault.count > 0 || fault.to == u64::MAX);
        of.count += fault.count;
    }
    figures.effects = evidence.effects.len() as u64;
    if evidence.promises.transactional {
        figures.dry = dry::longest(&evidence.entries);
    }
    figures.recovery_bound = evidence.promises.recovery;
    figures.rows = evidence.rows.len() as u64;
    figures.second_processes = traces.second.len() as u64;
    figures.ledger = evidence.promises.transactional;
    figures.told = evidence.told.as_ref().map_or(0, Vec::len) as u64;
    for job in &evidence.jobs {
        if job.state.is_final() {
            figures.jobs += 1;
            *figures.states.entry(job.state.to_string()).or_default() += 1;
        }
        let of_cause = |cause| job.changes.iter().filter(|change| change.cause == cause).count();
        figures.claims += of_cause(Cause::Claimed) as u64;
        let Some(trace) = traces.jobs.get(&job.id) else { continue };
        let ended = trace.settlements.iter().rfind(|one| one.finished()).map(|one| one.answered);
        let last = ended.or(trace.runs.last().map(|run| run.ended)).or(trace.sent);
        figures.at(traces, last.unwrap_or_default()).jobs += 1;
    }
    for (id, trace) in &traces.jobs {
        repeated(*id, trace, traces, figures);
        figures.acknowledged += u64::from(matches!(trace.acked, Some((_, Answer::New))));
        figures.runs += trace.runs.len() as u64;
        let effect_runs = trace.runs.iter().filter(|run| run.kind == effects::KIND);
        figures.effect_runs += effect_runs.count() as u64;
        figures.reissued += reissued(trace);
        figures.follow_ups += u64::from(trace.parent.is_some() && traces.stored.contains_key(id));
        let of_second = trace.runs.iter().filter(|run| traces.second.contains(&run.process));
        figures.second += of_second.count() as u64;
    }
    figures.samples = samples(evidence, traces);
}

/// Epochs that more than one claim was given.
fn reissued(trace: &Trace) -> u64 {
    let claims: BTreeSet<_> =
        trace.claims.iter().map(|claim| (claim.key.epoch.0, claim.key.claim_id)).collect();
    let epochs: BTreeSet<u32> = claims.iter().map(|(epoch, _)| *epoch).collect();
    (claims.len() - epochs.len()) as u64
}

/// Runs that came to nothing, and what they did outside: no settlement of theirs counts, as far as it was heard or is on record.
fn repeated(id: JobId, trace: &Trace, traces: &Traces<'_>, figures: &mut Figures) {
    let finisher = traces.stored.get(&id).and_then(|job| Some((job.finisher()?, job.epoch)));
    let counts = |key: &LeaseKey| {
        let mut settlements = trace.settlements.iter().filter(|one| one.key == *key);
        finisher == Some((key.claim_id, key.epoch.0)) || settlements.any(Settlement::counts)
    };
    for run in trace.runs.iter().filter(|run| !counts(&run.key)) {
        figures.at(traces, run.ended).repeated += 1;
    }
    for (t, key) in trace.outside.iter().filter(|(_, key)| !counts(key)) {
        // Where the run is counted: a fault may have begun between the two.
        let of_run = trace.runs.iter().rfind(|run| run.key == *key && run.begun <= *t);
        figures.at(traces, of_run.map_or(*t, |run| run.ended)).outside += 1;
    }
}

fn samples(evidence: &Evidence, traces: &Traces<'_>) -> Vec<Sample> {
    let Some(first) = evidence.entries.first().map(|entry| entry.t) else { return Vec::new() };
    let step = ((traces.end - first) / BUCKETS).max(SHORTEST);
    let mut pickups: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for trace in traces.jobs.values() {
        // Those that were due at once, as far as anybody else was served.
        let (Some((acked, Answer::New)), Some(claim)) = (trace.acked, trace.claims.first()) else {
            continue;
        };
        if trace.delay == 0 && trace.kind.as_deref() == Some("plain") {
            let bucket = pickups.entry((claim.heard - first) / step).or_default();
            bucket.push(claim.heard.saturating_sub(acked));
        }
    }
    let mut memory: BTreeMap<u64, u64> = BTreeMap::new();
    let mut steady: BTreeMap<u64, u64> = BTreeMap::new();
    for entry in &evidence.entries {
        if let What::Memory { name, bytes } = &entry.what {
            let bucket = (entry.t - first) / step;
            let most = memory.entry(bucket).or_default();
            *most = (*most).max(*bytes);
            if evidence.steady.as_ref() == Some(name) {
                let most = steady.entry(bucket).or_default();
                *most = (*most).max(*bytes);
            }
        }
    }
    let numbers: BTreeSet<u64> = pickups.keys().chain(memory.keys()).copied().collect();
    let ms = |micros: Option<u64>| Some(micros? as f64 / 1e3);
    let mib = |bytes: Option<&u64>| Some(*bytes? as f64 / f64::from(1 << 20));
    numbers
        .into_iter()
        .map(|n| {
            let pickups = pickups.get(&n).map(Vec::as_slice).unwrap_or_default();
            Sample {
                second: (n * step) as f64 / 1e6,
                jobs: pickups.len() as u64,
                pickup_p50: ms(percentile(pickups, 50)),
                pickup_p99: ms(percentile(pickups, 99)),
                memory: mib(memory.get(&n)),
                steady: mib(steady.get(&n)),
            }
        })
        .collect()
}
