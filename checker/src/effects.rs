//! What commits with a completion is there once per completed job; what commits with an insert is there if the job is.

use std::collections::{HashMap, HashSet};

use windlass_core::{JobId, State};

use super::{Committed, Evidence, Findings, Rule, Traces};

/// The kind whose jobs complete in the host's transaction.
pub(super) const KIND: &str = "effect";

pub(super) fn check(evidence: &Evidence, traces: &Traces<'_>, findings: &mut Findings) {
    if !evidence.promises.transactional {
        return;
    }
    let mut effects: HashMap<JobId, Vec<&Committed>> = HashMap::new();
    for effect in &evidence.effects {
        effects.entry(effect.job).or_default().push(effect);
    }
    for (id, effects) in &effects {
        let stored = traces.stored.get(id);
        if effects.len() > 1 {
            let text = format!("its effect is there {} times", effects.len());
            findings.add(Rule::EffectsOnce, Some(*id), text);
            findings.figures.doubled(traces, *id, effects.len() as u64 - 1);
        }
        if stored.is_none_or(|job| job.state != State::Completed) {
            findings.add(
                Rule::EffectsOnce,
                Some(*id),
                "its effect is there, and it did not complete",
            );
        }
        let other = |effect: &&&Committed| {
            stored.is_some_and(|job| (Some(effect.claim), effect.epoch) != (job.claim, job.epoch))
        };
        if effects.iter().any(|effect| other(&effect)) {
            let text = "its effect is of another attempt than the one that completed it";
            findings.add(Rule::EffectsOnce, Some(*id), text);
        }
    }
    let completed = evidence.jobs.iter();
    for job in completed.filter(|job| job.kind == KIND && job.state == State::Completed) {
        if !effects.contains_key(&job.id) {
            findings.add(Rule::EffectsOnce, Some(job.id), "it completed without its effect");
        }
    }
    rows(evidence, traces, findings);
}

fn rows(evidence: &Evidence, traces: &Traces<'_>, findings: &mut Findings) {
    let rows: HashSet<JobId> = evidence.rows.iter().copied().collect();
    if rows.len() != evidence.rows.len() {
        findings.add(Rule::RowsWithJobs, None, "a row is there twice");
    }
    for id in &rows {
        if !traces.stored.contains_key(id) {
            findings.add(Rule::RowsWithJobs, Some(*id), "its row is there, and the job is not");
        }
    }
    for (id, trace) in traces.jobs.iter().filter(|(_, trace)| trace.with_row) {
        if traces.stored.contains_key(id) && !rows.contains(id) {
            findings.add(Rule::RowsWithJobs, Some(*id), "the job is there, and its row is not");
        }
        if trace.acked.is_some() && !rows.contains(id) {
            findings.add(
                Rule::RowsWithJobs,
                Some(*id),
                "its commit was acknowledged, and its row is not there",
            );
        }
    }
}
