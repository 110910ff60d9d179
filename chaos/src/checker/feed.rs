//! A reader of the feed misses nothing: what it was told of a job is the job's history.

use std::collections::HashMap;

use windlass::JobId;

use super::{Change, Evidence, Findings, Rule};

pub(super) fn check(evidence: &Evidence, findings: &mut Findings) {
    // A failover may undo what a reader was told already.
    if evidence.told.is_empty() || !evidence.promises.durable {
        return;
    }
    let mut told: HashMap<JobId, Vec<&Change>> = HashMap::new();
    for one in &evidence.told {
        told.entry(one.job).or_default().push(&one.change);
    }
    for job in &evidence.jobs {
        let told = told.remove(&job.id).unwrap_or_default();
        if !told.iter().copied().eq(&job.changes) {
            let text = format!(
                "its history has {} state changes, and the feed told {}, or others",
                job.changes.len(),
                told.len()
            );
            findings.add(Rule::FeedComplete, Some(job.id), text);
        }
    }
    for job in told.keys() {
        findings.add(Rule::FeedComplete, Some(*job), "the feed told of it, and it is not there");
    }
}
