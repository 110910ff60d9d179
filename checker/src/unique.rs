//! A unique key has one holder: no two jobs hold it at one moment, whatever the replies that were lost hide.

use std::collections::HashMap;

use windlass_core::{Cause, JobId};

use super::trace::{Trace, Traces};
use super::{Evidence, Findings, Rule};
use crate::history::{Answer, Until};

/// A stretch of time in which a job certainly held its key.
struct Holder {
    job: JobId,
    from: u64,
    to: u64,
}

pub(super) fn check(_: &Evidence, traces: &Traces<'_>, findings: &mut Findings) {
    let mut holders: HashMap<&str, Vec<Holder>> = HashMap::new();
    for (id, trace) in &traces.jobs {
        let (Some(rule), Some(holder)) = (&trace.unique, certainly(*id, trace, traces)) else {
            continue;
        };
        if holder.from < holder.to {
            holders.entry(&rule.key).or_default().push(holder);
        }
    }
    for (key, mut holders) in holders {
        findings.figures.held += holders.len() as u64;
        holders.sort_by_key(|holder| holder.from);
        let mut last: Option<&Holder> = None;
        for holder in &holders {
            if let Some(last) = last.filter(|last| last.to > holder.from) {
                let text = format!("it and {} held the unique key `{key}` at once", last.job);
                findings.add(Rule::OneHolder, Some(holder.job), text);
            }
            if last.is_none_or(|last| last.to < holder.to) {
                last = Some(holder);
            }
        }
    }
}

fn certainly(id: JobId, trace: &Trace, traces: &Traces<'_>) -> Option<Holder> {
    let (Some((from, Answer::New)), Some(sent)) = (trace.acked, trace.sent) else { return None };
    // A job that is lost has lost its key; one that was run again took it anew; one that was replaced has another rule.
    let stored = traces.stored.get(&id)?;
    let replaced = stored.changes.iter().any(|change| change.cause == Cause::Replaced);
    if !trace.retries.is_empty() || trace.replaced || replaced {
        return None;
    }
    let cancelled = trace.cancels.iter().copied().min().unwrap_or(u64::MAX);
    let to = match trace.unique.as_ref()?.until {
        Until::For(window) => {
            let to = sent + window * 1_000;
            return (!traces.clock_moved(sent, to)).then_some(Holder { job: id, from, to });
        }
        Until::Started => {
            // A claim that nobody heard of: who knows when it was.
            let first = stored.changes.iter().find(|change| change.cause == Cause::Claimed);
            // The first epoch is that of the first claim.
            match (first, trace.claims.iter().find(|claim| claim.key.epoch.0 == 1)) {
                (Some(first), Some(claim)) if first.worker == Some(claim.worker) => claim.sent,
                (Some(_), _) => return None,
                (None, _) => traces.end,
            }
        }
        Until::Finished => {
            let last = trace.claims.last().map_or(sent, |claim| claim.sent);
            let end = trace.settlements.iter().filter(|one| stored.claim == Some(one.key.claim_id));
            match stored.changes.last().map(|change| change.cause) {
                // By a settlement of the claim on record, of which the first may have been applied.
                Some(Cause::Settled) => end.map(|one| one.sent).min().unwrap_or(last),
                _ => last,
            }
        }
    };
    Some(Holder { job: id, from, to: to.min(cancelled) })
}
