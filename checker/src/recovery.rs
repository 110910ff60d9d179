//! How soon the jobs of a lost worker are taken up again, and how soon work goes on after a fault of the server.

use std::collections::HashMap;

use windlass_core::{Cause, JobId};

use super::trace::{Claim, Fault, Trace, Traces};
use super::{Evidence, Findings, Promises, Rule};

/// Of so many lost workers that had work some held something: if nothing could be checked then, the rule sleeps.
const AWAKE: usize = 3;

/// A worker that was lost: killed, or stopped for longer than its lease.
struct Loss<'a> {
    fault: &'a Fault,
    at: u64,
}

pub(super) fn check(evidence: &Evidence, traces: &Traces<'_>, findings: &mut Findings) {
    let losses = losses(traces);
    for (id, trace) in &traces.jobs {
        for (n, held) in trace.claims.iter().enumerate() {
            let next = trace.claims.get(n + 1).map(|claim| claim.heard);
            let of_process = losses.get(held.process.as_str()).into_iter().flatten();
            let mut while_held = of_process
                .filter(|loss| loss.at > held.heard && next.is_none_or(|next| loss.at < next));
            // The first one counts: the job is not the process's any more afterwards.
            if let Some(loss) = while_held.next() {
                let case = Case { evidence, traces, id: *id, trace, held, next, loss };
                case.check(findings);
            }
        }
    }
    service(traces, findings);
    let lost: usize = losses.values().map(Vec::len).sum();
    if evidence.promises.busy && lost >= AWAKE && findings.figures.recoveries == 0 {
        let text = format!("{lost} workers were lost, and no recovery could be checked");
        findings.add(Rule::RecoveryInTime, None, text);
    }
}

/// All losses, by process: the victims of faults, and those that died of a fault that has many.
fn losses<'a>(traces: &'a Traces<'_>) -> HashMap<&'a str, Vec<Loss<'a>>> {
    let mut losses: HashMap<&str, Vec<Loss<'_>>> = HashMap::new();
    for fault in &traces.faults {
        if let Some(victim) = fault.victim.as_ref().filter(|name| traces.workers.contains(*name)) {
            losses.entry(victim).or_default().push(Loss { fault, at: fault.from });
        }
    }
    for (process, &at) in &traces.deaths {
        let fault = traces.fault_at(at).filter(|fault| fault.to >= at);
        let fault = fault.filter(|fault| fault.victim.as_ref() != Some(process));
        if let Some(fault) = fault.filter(|_| traces.workers.contains(process)) {
            losses.entry(process).or_default().push(Loss { fault, at });
        }
    }
    losses.values_mut().for_each(|of_one| of_one.sort_by_key(|loss| loss.at));
    losses
}

/// A job that a lost worker held.
struct Case<'a> {
    evidence: &'a Evidence,
    traces: &'a Traces<'a>,
    id: JobId,
    trace: &'a Trace,
    held: &'a Claim,
    /// When the next claim was heard.
    next: Option<u64>,
    loss: &'a Loss<'a>,
}

impl Case<'_> {
    fn check(&self, findings: &mut Findings) {
        if self.is_nobodys() {
            return;
        }
        let at = self.loss.at;
        let rescued = self.trace.rescues.iter().copied().filter(|t| *t > at).min();
        let taken = rescued.into_iter().chain(self.next).min();
        // Who took it up may have been lost before he heard of it.
        if taken.is_none() && self.traces.stored.get(&self.id).is_some_and(|j| j.state.is_final()) {
            return;
        }
        if let Some(taken) = taken {
            findings.figures.recovered(&self.loss.fault.kind, taken - at);
        }
        let until = self.until();
        if self.traces.undone_between(self.held.sent, until) {
            return;
        }
        findings.figures.recoveries += 1;
        let plain = at.saturating_add(self.evidence.promises.recovery);
        if until == plain {
            findings.figures.recoveries_plain += 1;
            findings.figures.recovery_plain.extend(taken.map(|taken| taken - at));
        }
        if taken.is_none_or(|taken| taken > until) {
            let (worker, bound) = (&self.held.process, until - at);
            let text = match taken {
                Some(taken) => {
                    let after = taken - at;
                    format!(
                        "it was taken up {after} µs after {worker} was lost, and not within {bound}"
                    )
                }
                None => format!("it was never taken up after {worker} was lost"),
            };
            findings.add(Rule::RecoveryInTime, Some(self.id), text);
        }
    }

    /// A settlement that was under way may have been applied, and an operator may have ended it: it is nobody's to take up then.
    fn is_nobodys(&self) -> bool {
        let mut own = self.trace.settlements.iter().filter(|one| one.key == self.held.key);
        own.any(|one| one.sent < self.loss.at || one.accepted())
            || self.trace.cancels.iter().any(|t| *t >= self.held.sent)
    }

    /// Another fault may have hidden who rescued it in time, and an insert that meets the holder of its unique key rescues it without a word. The
    /// claim, which is what is heard of then, waits for its turn.
    fn may_be_unheard(&self, until: u64) -> bool {
        let heard = self.trace.rescues.iter().any(|t| *t > self.loss.at);
        let mut others = self.traces.faults_between(self.loss.at, until);
        !heard
            && (self.trace.unique.is_some()
                || others.any(|other| other.number != self.loss.fault.number))
    }

    /// The bound: another recovery for each claim, and for a rescue, of which nobody heard; and longer by what else holds things up meanwhile.
    fn until(&self) -> u64 {
        let stored = self.traces.stored.get(&self.id);
        let claims = stored.map_or(0, |job| {
            job.changes.iter().filter(|change| change.cause == Cause::Claimed).count()
        });
        let takers = claims.saturating_sub(self.trace.claims.len()) as u64;
        let until = self.quiet_for(1 + takers);
        if self.may_be_unheard(until) { self.quiet_for(2 + takers) } else { until }
    }

    /// When so many recoveries' time has passed in which nothing else held things up.
    fn quiet_for(&self, recoveries: u64) -> u64 {
        let at = self.loss.at;
        let mut until =
            at.saturating_add(self.evidence.promises.recovery.saturating_mul(recoveries));
        let mut counted = at;
        for (from, to) in self.held_up() {
            if from > until {
                break;
            }
            // Of two that overlap the time counts once.
            let lasts = to.saturating_sub(from.max(counted));
            (until, counted) = (until.saturating_add(lasts), counted.max(to));
        }
        until
    }

    /// When others were held up, in the order in which that began: as long as a fault lasts, and as a call that began during it may wait.
    fn held_up(&self) -> impl Iterator<Item = (u64, u64)> {
        let Promises { one_writer, call, .. } = self.evidence.promises;
        // A process that is stopped stops others only where it may hold the one lock that all need. One that is killed lets go of it.
        let faults = self.traces.faults.iter();
        let stops = |fault: &Fault| !fault.kind.ends_with(" killed");
        let faults =
            faults.filter(move |fault| fault.victim.is_none() || (one_writer && stops(fault)));
        faults.map(move |fault| {
            let waits = if fault.victim.is_none() { call } else { 0 };
            (fault.from, fault.to.saturating_add(waits))
        })
    }
}

/// From the end of each fault that has no victim to the first settlement that is accepted.
fn service(traces: &Traces<'_>, findings: &mut Findings) {
    let settlements = traces.jobs.values().flat_map(|trace| &trace.settlements);
    let mut accepted: Vec<u64> =
        settlements.filter(|one| one.accepted()).map(|one| one.answered).collect();
    accepted.sort_unstable();
    for fault in traces.faults.iter().filter(|fault| fault.victim.is_none()) {
        if let Some(first) = accepted.get(accepted.partition_point(|t| *t <= fault.to)) {
            findings.figures.served(&fault.kind, first - fault.to);
        }
    }
}
