//! Two runs of a job may overlap, but only once the lease of the first has run out.

use windlass_core::DEADLINE_GRACE;

use super::trace::{Claim, Run, Trace, Traces};
use super::{Evidence, Findings, Rule};
use crate::history::{Verdict, micros};

/// A heartbeat is dated before it is sent, and a claim after its answer: this much may be between what was and what is on record.
const TOLERANCE: u64 = 20_000;

pub(super) fn check(evidence: &Evidence, traces: &Traces<'_>, findings: &mut Findings) {
    for (id, trace) in &traces.jobs {
        for (n, first) in trace.runs.iter().enumerate() {
            for second in &trace.runs[n + 1..] {
                if second.begun < first.ended && second.key != first.key {
                    findings.figures.overlaps += 1;
                    if let Some(text) = wrong(evidence, traces, trace, first, second) {
                        findings.add(Rule::OverlapAfterExpiry, Some(*id), text);
                    }
                }
            }
        }
    }
}

/// Its lease was ended before its time, or its deadline had passed: others may take it then, whatever its worker believes.
fn taken_before(traces: &Traces<'_>, old: &Claim, new: &Claim) -> bool {
    let ends = traces.ended.get(&old.worker).into_iter().flatten();
    let mut ended = ends.filter(|t| (old.sent..=new.heard).contains(t));
    let deadline = old.timeout.map(|timeout| old.sent + timeout * 1_000 + micros(DEADLINE_GRACE));
    let late = deadline.is_some_and(|deadline| {
        new.heard + TOLERANCE >= deadline || traces.clock_moved(old.sent, new.heard)
    });
    ended.next().is_some() || late
}

/// Why this overlap can't be.
fn wrong(
    evidence: &Evidence,
    traces: &Traces<'_>,
    trace: &Trace,
    first: &Run,
    second: &Run,
) -> Option<String> {
    let claim = |run: &Run| trace.claims.iter().find(|claim| claim.key == run.key);
    // A run without a claim is another rule's. The answer to the earlier claim may be heard last, and its run begin last.
    let mut runs = [(claim(first)?, first), (claim(second)?, second)];
    runs.sort_by_key(|(claim, _)| claim.key.epoch);
    let [(old, first), (new, second)]: [(&Claim, &Run); 2] = runs;
    let beats = traces.beats.get(&old.worker)?;
    // Whatever was answered by a lease lasted from when it was sent at least.
    let last = beats.iter().copied().filter(|sent| *sent <= new.heard).max()?;
    let expires = last + evidence.promises.lease;
    if new.heard + TOLERANCE >= expires || traces.clock_moved(last, new.heard) {
        return None;
    }
    if taken_before(traces, old, new) {
        return None;
    }
    // What a failover loses are also claims and leases.
    if traces.undone_between(last.min(old.sent), new.heard) {
        return None;
    }
    // Its owner may have given it back before.
    let given_back = trace.settlements.iter().any(|one| {
        let refused = one.verdict == Some(Verdict::Lost);
        one.key == first.key && one.sent <= new.heard && !refused
    });
    (!given_back).then(|| {
        format!(
            "it ran in {} and in {} at once, {} µs before the lease of the first ran out",
            first.process,
            second.process,
            expires - new.heard
        )
    })
}
