//! Nothing acknowledged is lost, and nothing is there that nobody asked for.

use windlass::JobId;

use super::trace::{Fault, Trace};
use super::{Evidence, Findings, Rule, Traces};
use crate::history::Answer;

pub(super) fn check(evidence: &Evidence, traces: &Traces<'_>, findings: &mut Findings) {
    for (id, trace) in &traces.jobs {
        let stored = traces.stored.get(id);
        if let Some((acked, Answer::New)) = trace.acked {
            match stored {
                None if evidence.promises.inserts => {
                    let text = "it was acknowledged, and is not in the store";
                    findings.add(Rule::NothingLost, Some(*id), text);
                    findings.figures.lost(traces, acked);
                }
                None if !traces.undone_at(acked) => {
                    let text =
                        "it was acknowledged, no server was lost, and it is not in the store";
                    findings.add(Rule::NothingLost, Some(*id), text);
                    findings.figures.lost(traces, acked);
                }
                None => {
                    findings.lost_as_allowed += 1;
                    findings.figures.lost(traces, acked);
                }
                Some(job) if !job.state.is_final() => {
                    let text = format!("it is {} after all faults were healed", job.state);
                    findings.add(Rule::NothingLost, Some(*id), text);
                    findings.figures.lost(traces, acked);
                }
                Some(_) => {}
            }
        }
        if trace.unclaimed > 0 {
            let text = format!("{} handlers ran without a claim of their own", trace.unclaimed);
            findings.add(Rule::NothingUnexpected, Some(*id), text);
        }
        refused(*id, traces, trace, findings);
        if stored.is_some() && trace.rolled_back {
            findings.add(
                Rule::RowsWithJobs,
                Some(*id),
                "its insert was rolled back, and it is there",
            );
        }
        follow_ups(traces, trace, findings);
        runs(trace, *id, findings);
    }
    for job in &evidence.jobs {
        let trace = traces.jobs.get(&job.id);
        if !trace.is_some_and(|trace| trace.sent.is_some() || trace.parent.is_some()) {
            findings.add(Rule::NothingUnexpected, Some(job.id), "it is there, and nobody sent it");
        }
        if !job.state.is_final() && trace.is_none_or(|trace| trace.acked.is_none()) {
            let text = format!("it is {} after all faults were healed", job.state);
            findings.add(Rule::NothingLost, Some(job.id), text);
        }
    }
}

/// An insert that another job stood in the way of is not there.
fn refused(id: JobId, traces: &Traces<'_>, trace: &Trace, findings: &mut Findings) {
    let Some((t, answer)) = trace.acked.filter(|(_, answer)| *answer != Answer::New) else {
        return;
    };
    // A sending that was held back may be applied after another was refused.
    let held_back = |fault: &Fault| ["network stalled", "server stopped"].contains(&&*fault.kind);
    let late = trace.failed || traces.faults_between(trace.sent.unwrap_or(t), t).any(held_back);
    if traces.stored.contains_key(&id) && !late && !traces.undone_at(t) {
        let text = format!("it was answered with {answer:?}, and it is there");
        findings.add(Rule::NothingUnexpected, Some(id), text);
    }
}

/// A child is there exactly if the attempt that was to add it is the one that completed its parent.
fn follow_ups(traces: &Traces<'_>, trace: &Trace, findings: &mut Findings) {
    for (key, child) in &trace.children {
        if traces.touched(key.job) || traces.touched(*child) {
            continue;
        }
        let parent = traces.stored.get(&key.job);
        let completed = parent.is_some_and(|parent| {
            parent.state == windlass::State::Completed
                && (parent.claim, parent.epoch) == (Some(key.claim_id), key.epoch.0)
        });
        match (completed, traces.stored.contains_key(child)) {
            (true, false) => {
                let text = format!("its parent {} completed, and it is not there", key.job);
                findings.add(Rule::FollowUps, Some(*child), text);
            }
            (false, true) => {
                let text = format!("it is there, and that attempt of {} did not complete", key.job);
                findings.add(Rule::FollowUps, Some(*child), text);
            }
            _ => {}
        }
    }
}

/// Every run has a claim of its own.
fn runs(trace: &Trace, id: JobId, findings: &mut Findings) {
    for (n, run) in trace.runs.iter().enumerate() {
        if !trace.claims.iter().any(|claim| claim.key == run.key && claim.process == run.process) {
            findings.add(Rule::NothingUnexpected, Some(id), "a handler ran without a claim");
        }
        if trace.runs[..n].iter().any(|other| other.key == run.key) {
            findings.add(Rule::NothingUnexpected, Some(id), "a claim was run twice");
        }
    }
}
