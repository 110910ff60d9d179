//! A reader of the feed misses nothing: what it was told of a job is the job's history.

use std::collections::{HashMap, HashSet};

use windlass_core::JobId;

use super::{Change, Evidence, Findings, Rule, Traces};

/// How much later than others the reader may hear of something, in microseconds.
const DELAY: u64 = 1_000_000;

pub(super) fn check(evidence: &Evidence, traces: &Traces<'_>, findings: &mut Findings) {
    let Some(all) = &evidence.told else { return };
    let mut told: HashMap<JobId, Vec<&Change>> = HashMap::new();
    // What was undone a reader may have been told already, and nobody else.
    let mut touched: HashSet<JobId> = HashSet::new();
    for one in all {
        told.entry(one.job).or_default().push(&one.change);
        if traces.undone_between(one.t.saturating_sub(DELAY), one.t) {
            touched.insert(one.job);
        }
    }
    for job in &evidence.jobs {
        let told = told.remove(&job.id).unwrap_or_default();
        let touched = touched.contains(&job.id) || traces.touched(job.id);
        if !touched && !told.iter().copied().eq(&job.changes) {
            let text = format!(
                "its history has {} state changes, and the feed told {}, or others",
                job.changes.len(),
                told.len()
            );
            findings.add(Rule::FeedComplete, Some(job.id), text);
        }
    }
    let removed = |job: &JobId| traces.jobs.get(job).is_some_and(|trace| trace.removed);
    let excused = |job: &JobId| touched.contains(job) || traces.touched(*job) || removed(job);
    for job in told.keys().filter(|job| !excused(job)) {
        findings.add(Rule::FeedComplete, Some(*job), "the feed told of it, and it is not there");
    }
}
