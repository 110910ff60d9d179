//! What an insert is answered when another job has its unique key: that job is there, has the key, and has not let go of it. And whose args
//! a handler is given, since a replacement takes over the args of another job.

use std::collections::HashMap;

use windlass_core::{Cause, JobId};

use super::trace::{Run, Trace, Traces};
use super::{Evidence, Findings, Rule};
use crate::history::{Answer, Until};

/// How much more than a window may be between what two clocks say, in microseconds: the store's may count milliseconds.
const TOLERANCE: u64 = 20_000;

/// An insert that was answered that it replaced another job.
struct Replacement {
    by: JobId,
    sent: u64,
    answered: u64,
}

pub(super) fn check(evidence: &Evidence, traces: &Traces<'_>, findings: &mut Findings) {
    let mut replaced: HashMap<JobId, Vec<Replacement>> = HashMap::new();
    for (id, trace) in &traces.jobs {
        let Some((answered, answer)) = trace.acked else { continue };
        // Under one id with two rules it can't be told which of them was answered.
        let Some(existing) = other(answer).filter(|_| !trace.rewritten) else { continue };
        if let Answer::Replaced(_) = answer {
            let one = Replacement { by: *id, sent: sent(trace), answered };
            replaced.entry(existing).or_default().push(one);
        }
        if traces.undone_at(answered) {
            continue;
        }
        if let Some(text) = wrong(evidence, traces, *id, trace, existing) {
            findings.add(Rule::OneHolder, Some(existing), text);
        }
    }
    for (id, replaced) in &replaced {
        steps(*id, traces, replaced, findings);
    }
    args(traces, &replaced, findings);
}

/// The job that stood in the way.
fn other(answer: Answer) -> Option<JobId> {
    match answer {
        Answer::New => None,
        Answer::Duplicate(job) | Answer::Replaced(job) | Answer::Rejected(job) => Some(job),
    }
}

fn sent(trace: &Trace) -> u64 {
    trace.sent.unwrap_or_default()
}

/// Why that job can't have stood in the way.
fn wrong(
    evidence: &Evidence,
    traces: &Traces<'_>,
    id: JobId,
    trace: &Trace,
    existing: JobId,
) -> Option<String> {
    let holder = traces.jobs.get(&existing);
    let gone = holder.is_some_and(|holder| holder.removed);
    if !gone && !traces.stored.contains_key(&existing) {
        return Some(format!("{id} was told that it has its unique key, and it is not there"));
    }
    // One that nobody sent is another rule's.
    let holder = holder.filter(|holder| !holder.rewritten)?;
    let key = |trace: &Trace| trace.unique.as_ref().map(|rule| rule.key.clone());
    let (wanted, held) = (key(trace), key(holder));
    if wanted.is_none() || wanted != held {
        return Some(format!(
            "{id} wanted the key {wanted:?}, and was told that this job has it; it has {held:?}"
        ));
    }
    let let_go = let_go(evidence, traces, existing, holder)?;
    (let_go < sent(trace)).then(|| {
        let late = sent(trace) - let_go;
        format!("{id} was told that it has the unique key, {late} µs after it had let go of it")
    })
}

/// When a job had certainly let go of its key.
fn let_go(evidence: &Evidence, traces: &Traces<'_>, id: JobId, holder: &Trace) -> Option<u64> {
    // One that was run again took it anew.
    if !holder.retries.is_empty() || traces.touched(id) {
        return None;
    }
    match holder.unique.as_ref()?.until {
        Until::Started => holder.claims.iter().map(|claim| claim.heard).min(),
        Until::Finished => {
            let finished = holder.settlements.iter().filter(|one| one.finished());
            finished.map(|one| one.answered).min()
        }
        Until::For(window) => {
            let (acked, answer) = holder.acked?;
            let until = acked.saturating_add(window * 1_000 + TOLERANCE);
            // Where the clients' clocks are the database's, one that is ahead may have dated anything since.
            let from = if evidence.promises.one_writer { 0 } else { sent(holder) };
            (answer == Answer::New && !traces.clock_moved(from, until)).then_some(until)
        }
    }
}

/// Every replacement that was answered is a step of its own.
fn steps(id: JobId, traces: &Traces<'_>, replaced: &[Replacement], findings: &mut Findings) {
    let Some(stored) = traces.stored.get(&id) else { return };
    let rewritten = traces.jobs.get(&id).is_some_and(|trace| trace.rewritten);
    let undone = |one: &Replacement| traces.undone_at(one.answered);
    if rewritten || traces.touched(id) || replaced.iter().any(undone) {
        return;
    }
    let steps = stored.changes.iter().filter(|change| change.cause == Cause::Replaced).count();
    if replaced.len() > steps {
        let told = replaced.len();
        let text =
            format!("{told} inserts were told that they replaced it, its history has {steps}");
        findings.add(Rule::OneHolder, Some(id), text);
    }
}

/// A handler is given the args of its job, or of the insert that replaced it last.
fn args(traces: &Traces<'_>, replaced: &HashMap<JobId, Vec<Replacement>>, findings: &mut Findings) {
    for (id, trace) in &traces.jobs {
        let certain = replaced.get(id).map(Vec::as_slice).unwrap_or_default();
        for run in trace.runs.iter().filter(|_| !traces.touched(*id)) {
            if let Some(of) = run.args.filter(|of| !may_be(traces, *id, trace, certain, run, *of)) {
                let text = format!("a handler of it was given the args of {of}");
                findings.add(Rule::NothingUnexpected, Some(*id), text);
            }
        }
    }
}

fn may_be(
    traces: &Traces<'_>,
    id: JobId,
    trace: &Trace,
    certain: &[Replacement],
    run: &Run,
    of: JobId,
) -> bool {
    let claim = trace.claims.iter().find(|claim| claim.key == run.key);
    // Whether an insert that was sent after that moment had certainly replaced it before the claim.
    let replaced_since = |since: u64| {
        let before = |t: u64| claim.is_some_and(|claim| t < claim.sent) && !traces.undone_at(t);
        certain.iter().any(|one| one.by != of && one.sent >= since && before(one.answered))
    };
    if of == id {
        return !replaced_since(0);
    }
    if let Some(one) = certain.iter().find(|one| one.by == of) {
        // Of one that was sent again after a lost answer, the first sending may have come later.
        let came_later = traces.jobs.get(&of).is_some_and(|trace| trace.failed);
        return one.sent < run.begun && (came_later || !replaced_since(one.answered));
    }
    // One whose answer was lost may have replaced it.
    let key = |trace: &Trace| trace.unique.as_ref().map(|rule| rule.key.clone());
    let unheard = |other: &&Trace| other.acked.is_none() || other.failed;
    let other = traces.jobs.get(&of).filter(unheard).and_then(key);
    other.is_some() && other == key(trace)
}
