//! Nothing acknowledged is lost, and nothing is there that nobody asked for.

use std::collections::HashSet;

use windlass_core::{JobId, LeaseKey, State};

use super::trace::{Claim, Fault, Trace};
use super::{Evidence, Findings, Rule, Traces};
use crate::history::{Answer, Ending};

/// Faults under which a request may be applied long after it was sent, or once more, without anybody's being told. Where that is known of a single
/// insert, as in the simulation, its history says that it failed.
const HELD_BACK: [&str; 2] = ["network stalled", "server stopped"];

pub(super) fn check(evidence: &Evidence, traces: &Traces<'_>, findings: &mut Findings) {
    for (id, trace) in &traces.jobs {
        let stored = traces.stored.get(id);
        if let Some((acked, Answer::New)) = trace.acked {
            match stored {
                None if trace.removed => {}
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
        follow_ups(*id, traces, trace, findings);
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
    let held_back = |fault: &Fault| HELD_BACK.contains(&&*fault.kind);
    let late = trace.failed || traces.faults_between(trace.sent.unwrap_or(t), t).any(held_back);
    if traces.stored.contains_key(&id) && !late && !traces.undone_at(t) {
        let text = format!("it was answered with {answer:?}, and it is there");
        findings.add(Rule::NothingUnexpected, Some(id), text);
    }
}

/// A child is there exactly if the settlement that was to add it is the one that completed its parent.
fn follow_ups(id: JobId, traces: &Traces<'_>, trace: &Trace, findings: &mut Findings) {
    let mut looked_at = HashSet::new();
    for (one, child) in
        trace.settlements.iter().flat_map(|one| one.adds.iter().map(move |c| (one, c)))
    {
        let key = one.key;
        let touched = traces.touched(id) || traces.touched(*child);
        if touched || !looked_at.insert((key, *child)) {
            continue;
        }
        let completed = traces.stored.get(&id).is_some_and(|parent| {
            parent.state == State::Completed
                && (parent.claim, parent.epoch) == (Some(key.claim_id), key.epoch.0)
        });
        match (completed, traces.stored.contains_key(child)) {
            (true, false) if must_be_there(traces, trace, key, *child) => {
                let text = format!("its parent {id} completed, and it is not there");
                findings.add(Rule::FollowUps, Some(*child), text);
            }
            (false, true) if !may_be_there(trace, *child) => {
                let text = format!("it is there, and that attempt of {id} did not complete");
                findings.add(Rule::FollowUps, Some(*child), text);
            }
            _ => {}
        }
    }
}

/// Every settlement that may have completed the parent adds it, and nobody else's unique key or deletion may be in its way.
fn must_be_there(traces: &Traces<'_>, parent: &Trace, key: LeaseKey, child: JobId) -> bool {
    let of_key = parent.settlements.iter().filter(|one| one.key == key && one.may_count());
    let mut completions = of_key.filter(|one| one.ending == Ending::Completed);
    let free = traces.jobs.get(&child).is_none_or(|child| child.unique.is_none() && !child.removed);
    free && completions.all(|one| one.adds.contains(&child))
}

/// A parent that has completed and is no longer on record as that, since it was removed or run again.
fn may_be_there(parent: &Trace, child: JobId) -> bool {
    let mut adding = parent.settlements.iter().filter(|one| one.adds.contains(&child));
    let gone = parent.removed || !parent.retries.is_empty();
    gone && adding.any(|one| one.ending == Ending::Completed && one.may_count())
}

/// Every run has a claim of its own, and is the attempt that was claimed.
fn runs(trace: &Trace, id: JobId, findings: &mut Findings) {
    for (n, run) in trace.runs.iter().enumerate() {
        let own = |claim: &&Claim| claim.key == run.key && claim.process == run.process;
        match trace.claims.iter().find(own) {
            None => {
                findings.add(Rule::NothingUnexpected, Some(id), "a handler ran without a claim");
            }
            Some(claim) if claim.attempt != run.attempt => {
                let (told, of) = (run.attempt, claim.attempt);
                let text = format!("a handler was told attempt {told}, and the claim gave {of}");
                findings.add(Rule::AttemptsAreClaims, Some(id), text);
            }
            Some(_) => {}
        }
        if trace.runs[..n].iter().any(|other| other.key == run.key) {
            findings.add(Rule::NothingUnexpected, Some(id), "a claim was run twice");
        }
    }
}
