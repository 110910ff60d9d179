//! Of all attempts of a job at most one counts, and nobody finishes what belongs to somebody else by now.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use windlass_core::{ClaimId, JobId, LeaseKey, State};

use super::trace::{Claim, Settlement, Trace};
use super::{Evidence, Findings, Rule, Traces};
use crate::history::{Ending, Verdict};

pub(super) fn check(_: &Evidence, traces: &Traces<'_>, findings: &mut Findings) {
    for (id, trace) in &traces.jobs {
        // What a failover undid does not count, where the guarantees allow that.
        let kept = |one: &&Settlement| {
            traces.stored.get(id).is_some_and(|job| job.claim == Some(one.key.claim_id))
                || !traces.undone_at(one.answered)
        };
        let (accepted, undone): (Vec<_>, Vec<_>) =
            trace.settlements.iter().filter(|one| one.accepted()).partition(kept);
        // Of the others it can't be told.
        findings.figures.undone += undone.iter().filter(|one| one.finished()).count() as u64;
        one_finish(*id, trace, &accepted, findings);
        if !traces.touched(*id) {
            once(*id, &accepted, findings);
        }
        on_record(*id, traces, trace, &accepted, findings);
        already(*id, traces, trace, findings);
        let mut refused = HashSet::new();
        for settlement in &trace.settlements {
            match settlement.verdict {
                // One that is sent again is one finish. Whose other one counts is no stale holder.
                Some(Verdict::Lost) if counts(trace, settlement.key) => {
                    findings.figures.repeats_refused += 1;
                }
                Some(Verdict::Lost) if refused.insert(settlement.key) => {
                    findings.figures.refused(traces, settlement.answered);
                }
                Some(Verdict::Missing) => {
                    let text = "a settlement has no answer in a list of answers";
                    findings.add(Rule::NothingUnexpected, Some(*id), text);
                }
                Some(Verdict::Applied(_)) => stale(*id, traces, trace, settlement, findings),
                _ => {}
            }
        }
        records(*id, traces, trace, findings);
        if let Some(unheard) = unheard(*id, traces, trace) {
            stale(*id, traces, trace, unheard, findings);
        }
    }
}

/// The first sending of the finish on record, if nobody heard that it was accepted.
fn unheard<'a>(id: JobId, traces: &Traces<'_>, trace: &'a Trace) -> Option<&'a Settlement> {
    let stored = traces.stored.get(&id)?;
    let claim = stored.finisher()?;
    let on_record =
        |one: &&Settlement| (one.key.claim_id, one.key.epoch.0) == (claim, stored.epoch);
    let of_record = || trace.settlements.iter().filter(on_record);
    let heard = of_record().any(Settlement::accepted);
    let sent = of_record().filter(|one| one.verdict != Some(Verdict::Lost));
    sent.min_by_key(|one| one.sent).filter(|_| !heard)
}

/// A settlement under this fence was accepted.
fn counts(trace: &Trace, key: LeaseKey) -> bool {
    trace.settlements.iter().any(|one| one.key == key && one.accepted())
}

/// At most one accepted settlement per epoch, and one accepted end more than there were requests to run the job again.
fn one_finish(id: JobId, trace: &Trace, accepted: &[&Settlement], findings: &mut Findings) {
    let mut epochs: BTreeMap<u32, BTreeSet<ClaimId>> = BTreeMap::new();
    let mut ends = BTreeSet::new();
    for settlement in accepted {
        let key = settlement.key;
        epochs.entry(key.epoch.0).or_default().insert(key.claim_id);
        if settlement.finished() {
            ends.insert(key);
        }
    }
    for (epoch, claims) in epochs {
        if claims.len() > 1 {
            let text = format!("{} finishes were accepted in epoch {epoch}", claims.len());
            findings.add(Rule::OneFinish, Some(id), text);
        }
    }
    if ends.len() > 1 + trace.retries.len() {
        let text = format!("{} attempts were told that they finished it", ends.len());
        findings.add(Rule::OneFinish, Some(id), text);
    }
}

/// What is sent again under the same fence counts once: the second answer says that it did before, or that it is too late.
fn once(id: JobId, accepted: &[&Settlement], findings: &mut Findings) {
    let mut keys = HashSet::new();
    for one in accepted.iter().filter(|one| !keys.insert(one.key)) {
        let text = format!("epoch {} was told twice that its end counts", one.key.epoch.0);
        findings.add(Rule::OneFinish, Some(id), text);
    }
}

/// A claim of the same job that somebody else had heard of when something was sent under a key.
fn later<'a>(
    id: JobId,
    traces: &Traces<'_>,
    trace: &'a Trace,
    key: LeaseKey,
    sent: u64,
) -> Option<&'a Claim> {
    let own = trace.claims.iter().find(|claim| claim.key == key);
    trace.claims.iter().find(|claim| {
        // A failover may issue an epoch again, or a lower one: then only what was sent after the other was heard is later for certain.
        let after = own.is_some_and(|own| claim.sent > own.heard);
        let later = if traces.touched(id) { after } else { claim.key.epoch > key.epoch };
        let again = claim.key.epoch == key.epoch && after;
        claim.key != key && (later || again) && claim.heard < sent
    })
}

/// A record that was sent after somebody else had heard of a later claim.
fn records(id: JobId, traces: &Traces<'_>, trace: &Trace, findings: &mut Findings) {
    let refused = trace.notes.iter().filter(|one| one.added == Some(false));
    let stale = refused.filter(|one| later(id, traces, trace, one.key, one.sent).is_some());
    let refused: HashSet<LeaseKey> = stale.map(|one| one.key).collect();
    findings.figures.records_refused += refused.len() as u64;
    for one in trace.notes.iter().filter(|one| one.added == Some(true)) {
        if let Some(later) = later(id, traces, trace, one.key, one.sent) {
            let (epoch, of) = (one.key.epoch.0, later.key.epoch.0);
            let text = format!("a record of epoch {epoch} was added after epoch {of} was claimed");
            findings.add(Rule::NoStaleFinish, Some(id), text);
        }
    }
}

/// A settlement that was sent after somebody else had heard of a later claim.
fn stale(
    id: JobId,
    traces: &Traces<'_>,
    trace: &Trace,
    settlement: &Settlement,
    findings: &mut Findings,
) {
    let key = settlement.key;
    if let Some(later) = later(id, traces, trace, key, settlement.sent) {
        let text = format!(
            "the {:?} of epoch {} was accepted; it was sent {} µs after epoch {} had been claimed",
            settlement.ending,
            key.epoch.0,
            settlement.sent - later.heard,
            later.key.epoch.0
        );
        findings.add(Rule::NoStaleFinish, Some(id), text);
        findings.figures.stale_accepted(traces, settlement.sent);
    }
}

/// The last end that was accepted is the one in the store.
fn on_record(
    id: JobId,
    traces: &Traces<'_>,
    trace: &Trace,
    accepted: &[&Settlement],
    findings: &mut Findings,
) {
    let Some(stored) = traces.stored.get(&id) else { return };
    if !trace.retries.is_empty() {
        return;
    }
    for one in accepted.iter().filter(|one| one.finished()) {
        let state = match &one.verdict {
            Some(Verdict::Applied(state)) => *state,
            _ => continue,
        };
        let same = (stored.claim, stored.epoch) == (Some(one.key.claim_id), one.key.epoch.0);
        if stored.state != state || !same {
            let text = format!(
                "epoch {} was told that it is {state}, and the store has {} of epoch {}",
                one.key.epoch.0, stored.state, stored.epoch
            );
            findings.add(Rule::OneFinish, Some(id), text);
        }
        if state == State::Completed && one.ending != Ending::Completed {
            findings.add(Rule::OneFinish, Some(id), "it completed by another outcome");
        }
    }
}

/// Who is told that he had finished it before is its finisher: the row has his fence, and that state.
fn already(id: JobId, traces: &Traces<'_>, trace: &Trace, findings: &mut Findings) {
    let Some(stored) = traces.stored.get(&id) else { return };
    // One that was run again may have another finisher by now.
    if !trace.retries.is_empty() || traces.touched(id) {
        return;
    }
    for one in &trace.settlements {
        let Some(Verdict::Already(state)) = one.verdict else { continue };
        let (claim, epoch) = (one.key.claim_id, one.key.epoch.0);
        if (stored.claim, stored.epoch, stored.state) != (Some(claim), epoch, state) {
            let text = format!(
                "epoch {epoch} was told that it is {state} by an earlier sending, and the store has {} of epoch {}",
                stored.state, stored.epoch
            );
            findings.add(Rule::OneFinish, Some(id), text);
        }
    }
}
