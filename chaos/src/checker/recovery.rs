//! How soon the jobs of a lost worker are taken up again, and how soon work goes on after a fault of the server.

use super::trace::{Fault, Trace, Traces};
use super::{Evidence, Findings, Rule};

pub(super) fn check(evidence: &Evidence, traces: &Traces<'_>, findings: &mut Findings) {
    for fault in &traces.faults {
        match &fault.victim {
            Some(victim) => jobs(evidence, traces, fault, victim, findings),
            None => service(traces, fault, findings),
        }
    }
}

/// From the fault to the rescue of each job that the victim held.
fn jobs(
    evidence: &Evidence,
    traces: &Traces<'_>,
    fault: &Fault,
    victim: &str,
    findings: &mut Findings,
) {
    for (id, trace) in &traces.jobs {
        let Some(taken) = taken_up(trace, fault, victim) else { continue };
        // Who took it up may have been lost before he heard of it.
        let ended = traces.stored.get(id).is_some_and(|job| job.state.is_final());
        if taken.is_none() && ended {
            continue;
        }
        let took = taken.map_or(u64::MAX, |t| t - fault.from);
        // A bound holds where nothing else is broken meanwhile.
        let until = fault.from.saturating_add(evidence.promises.recovery);
        let alone =
            traces.faults_between(fault.from, until).all(|other| other.number == fault.number);
        let short = fault.to >= until || fault.to <= fault.from + 1_000_000;
        if alone && short && evidence.promises.durable && took > evidence.promises.recovery {
            let text = match taken {
                Some(_) => format!("it was taken up {took} µs after {victim} was lost"),
                None => format!("it was never taken up after {victim} was lost"),
            };
            findings.add(Rule::RecoveryInTime, Some(*id), text);
        }
        if taken.is_some() {
            findings.figures.recovered(&fault.kind, took);
        }
    }
}

/// When a job that the victim held as the fault began was taken up: None, when it held no such; `Some(None)`, when it never was.
fn taken_up(trace: &Trace, fault: &Fault, victim: &str) -> Option<Option<u64>> {
    let held = trace.claims.iter().rfind(|claim| claim.heard < fault.from)?;
    if held.process != victim {
        return None;
    }
    let own = |one: &&super::trace::Settlement| one.key == held.key;
    let settled = trace.settlements.iter().filter(own).any(|one| {
        // One that was under way may have been applied, and is nobody's to take up then.
        one.sent < fault.from || (one.accepted() && one.answered != u64::MAX)
    });
    if settled || trace.cancels.iter().any(|t| *t >= held.sent) {
        return None;
    }
    let claims = trace.claims.iter().map(|claim| claim.heard);
    let after = claims.chain(trace.rescues.iter().copied()).filter(|t| *t > fault.from);
    Some(after.min())
}

/// From the end of the fault to the first settlement that is accepted.
fn service(traces: &Traces<'_>, fault: &Fault, findings: &mut Findings) {
    let settlements = traces.jobs.values().flat_map(|trace| &trace.settlements);
    let after = settlements.filter(|one| one.accepted() && one.answered > fault.to);
    if let Some(first) = after.map(|one| one.answered).min() {
        findings.figures.recovered(&fault.kind, first - fault.to);
    }
}
