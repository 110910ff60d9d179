//! Reads a history, one line after the other.

use std::collections::HashMap;

use windlass_core::{ClaimId, JobId, LeaseKey, WorkerId};

use super::{Asked, Claim, Fault, Noted, Run, Settlement, Surplus, Trace, Traces};
use crate::history::{Answer, Ending, Slots, Taken, Verdict, What};

/// A completion in a transaction of the host's.
const HOST: (Ending, bool) = (Ending::Completed, true);

impl Traces<'_> {
    fn job(&mut self, job: JobId) -> &mut Trace {
        self.jobs.entry(job).or_default()
    }

    pub(super) fn read(
        &mut self,
        t: u64,
        process: &str,
        what: &What,
        claims: &mut HashMap<ClaimId, Asked>,
    ) {
        match what {
            What::Sent { job, kind, unique, delay, with_row, .. } => {
                let trace = self.job(*job);
                trace.rewritten |= trace.sent.is_some() && trace.unique != *unique;
                trace.sent.get_or_insert(t);
                trace.kind = Some(kind.clone());
                (trace.unique, trace.delay, trace.with_row) = (unique.clone(), *delay, *with_row);
            }
            What::Acked { job, answer } => {
                self.job(*job).acked.get_or_insert((t, *answer));
                if let Answer::Replaced(existing) = answer {
                    self.job(*existing).replaced = true;
                }
            }
            What::Failed { job, .. } => self.job(*job).failed = true,
            What::RolledBack { job } => self.job(*job).rolled_back = true,
            What::Cancelling { job } => {
                let trace = self.job(*job);
                trace.cancels.push(t);
                trace.cancelling = true;
            }
            What::Retrying { job } => {
                let trace = self.job(*job);
                trace.retries.push(t);
                trace.cancelling = false;
            }
            What::Changed { job, changed: true } if self.job(*job).cancelling => {
                self.job(*job).cancelled.push(t);
            }
            What::Registered { worker, sent } => {
                self.beats.entry(*worker).or_default().push(*sent);
                self.workers.insert(process.to_owned());
            }
            What::Beat { worker, sent, expired: false, .. } => {
                self.beats.entry(*worker).or_default().push(*sent);
            }
            What::LeaseEnded { worker } => self.ended.entry(*worker).or_default().push(t),
            What::Claiming { claim, resend, slots, .. } => {
                let sent = claims.get(claim).map_or(t, |before| before.sent);
                claims.insert(*claim, Asked { sent, resend: *resend, slots: slots.clone() });
            }
            What::Claimed { worker, claim, leases } => {
                let asked = claims.get(claim);
                self.surplus.extend(surplus(process, asked, leases));
                let sent = asked.map_or(t, |asked| asked.sent);
                self.claimed(*worker, process, (sent, t), leases);
            }
            What::Begun { key, kind, queue, attempt } => {
                let (kind, queue, process) = (kind.clone(), queue.clone(), process.to_owned());
                let (key, attempt, ended, args) = (*key, *attempt, u64::MAX, None);
                let run = Run { key, kind, queue, attempt, process, begun: t, ended, args };
                self.job(key.job).runs.push(run);
            }
            What::Args { key, of } => {
                let runs = &mut self.job(key.job).runs;
                if let Some(run) = runs.iter_mut().rfind(|run| run.key == *key) {
                    run.args = Some(*of);
                }
            }
            What::Ended { key, .. } => {
                let runs = &mut self.job(key.job).runs;
                if let Some(run) = runs.iter_mut().rfind(|run| run.key == *key) {
                    run.ended = t;
                }
            }
            What::Unclaimed { job } => self.job(*job).unclaimed += 1,
            What::Effect { key } => self.job(key.job).outside.push((t, *key)),
            What::Noting { key } => {
                self.job(key.job).notes.push(Noted { key: *key, sent: t, added: None });
            }
            What::Noted { key, added } => {
                let notes = &mut self.job(key.job).notes;
                let mut open = notes.iter_mut().filter(|one| one.key == *key);
                if let Some(one) = open.rfind(|one| one.added.is_none()) {
                    one.added = Some(*added);
                }
            }
            What::FollowUp { key, child } => {
                let settlements = &mut self.job(key.job).settlements;
                if let Some(one) = settlements.iter_mut().rfind(|one| one.key == *key) {
                    one.adds.push(*child);
                }
                self.job(*child).parent = Some(*key);
            }
            What::Removed { job } => self.job(*job).removed = true,
            What::Rescued { jobs } => jobs.iter().for_each(|job| self.job(*job).rescues.push(t)),
            _ => self.read_end(t, what),
        }
    }

    fn claimed(
        &mut self,
        worker: WorkerId,
        process: &str,
        (sent, heard): (u64, u64),
        leases: &[Taken],
    ) {
        for Taken { key, attempt, timeout, .. } in leases {
            let (key, attempt, timeout, process) = (*key, *attempt, *timeout, process.to_owned());
            let claims = &mut self.job(key.job).claims;
            if !claims.iter().any(|claim| claim.key == key) {
                claims.push(Claim { key, worker, sent, heard, process, attempt, timeout });
            }
        }
    }

    fn read_end(&mut self, t: u64, what: &What) {
        match what {
            What::Settling { key, ending, in_host } => {
                let (key, ending, in_host) = (*key, *ending, *in_host);
                self.job(key.job).settlements.push(Settlement {
                    key,
                    ending,
                    in_host,
                    sent: t,
                    verdict: None,
                    answered: u64::MAX,
                    adds: Vec::new(),
                });
            }
            // Inside of the host's transaction only a refusal is final.
            What::Settled { key, ending, verdict, in_host }
                if !in_host || *verdict == Verdict::Lost =>
            {
                self.answer(t, key, (*ending, *in_host), verdict.clone());
            }
            What::Committed { key } => {
                self.answer(t, key, HOST, Verdict::Applied(windlass_core::State::Completed));
            }
            What::CommitFailed { key, error } => {
                self.answer(t, key, HOST, Verdict::Unknown(error.clone()));
            }
            What::Born { name, second: true } => {
                self.second.insert(name.clone());
            }
            What::Died { name } => {
                self.deaths.insert(name.clone(), t);
            }
            What::Fault { number, kind, victim } => {
                let (kind, victim) = (kind.clone(), victim.clone());
                let (from, to, moments) = (t, u64::MAX, Vec::new());
                self.faults.push(Fault {
                    number: *number,
                    kind,
                    victim,
                    from,
                    to,
                    count: 0,
                    moments,
                });
            }
            What::Moment { number, moment } => {
                let mut faults = self.faults.iter_mut();
                if let Some(fault) = faults.rfind(|fault| fault.number == *number) {
                    fault.moments.push((t, *moment));
                }
            }
            What::Healed { number, count } => {
                let mut faults = self.faults.iter_mut();
                if let Some(fault) = faults.rfind(|fault| fault.number == *number) {
                    (fault.to, fault.count) = (t, *count);
                }
            }
            _ => {}
        }
    }

    fn answer(&mut self, t: u64, key: &LeaseKey, which: (Ending, bool), verdict: Verdict) {
        let settlements = &mut self.job(key.job).settlements;
        let mut open = settlements.iter_mut().filter(|one| one.key == *key);
        let found = open.rfind(|one| (one.ending, one.in_host) == which && one.verdict.is_none());
        if let Some(one) = found {
            (one.verdict, one.answered) = (Some(verdict), t);
        }
    }
}

/// A claim that was sent once gives no more than it asks for. One that came more than once has taken as often, and its repeat is told of all.
fn surplus(process: &str, asked: Option<&Asked>, leases: &[Taken]) -> Vec<Surplus> {
    let Some(asked) = asked.filter(|asked| !asked.resend) else { return Vec::new() };
    let surplus = |slots: &Slots| {
        let is_one = |taken: &&Taken| {
            let name = if slots.of_kind { &taken.kind } else { &taken.queue };
            *name == slots.name
        };
        let given = leases.iter().filter(is_one).count();
        let (process, most) = (process.to_owned(), slots.most as usize);
        (given > most).then(|| Surplus { process, slots: slots.clone(), given })
    };
    asked.slots.iter().filter_map(surplus).collect()
}
