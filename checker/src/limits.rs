//! A worker runs no more jobs of a queue, or of a kind, at once than it may, and is given no more than it asks for.

use std::collections::HashMap;

use super::trace::{Run, Surplus, Traces};
use super::{Evidence, Findings, Limit, Rule};

/// A worker follows the settings of its queues within so many microseconds: afterwards the setting holds.
const SETTLED: u64 = 10_000_000;

pub(super) fn check(evidence: &Evidence, traces: &Traces<'_>, findings: &mut Findings) {
    for Surplus { process, slots, given } in &traces.surplus {
        let (name, most) = (&slots.name, slots.most);
        let text = format!("{process} asked for {most} jobs of `{name}`, and was given {given}");
        findings.add(Rule::WithinLimits, None, text);
    }
    for limit in &evidence.limits {
        let mut groups: HashMap<&str, Vec<&Run>> = HashMap::new();
        for run in traces.jobs.values().flat_map(|trace| &trace.runs) {
            let name = if limit.of_kind { &run.kind } else { &run.queue };
            if *name == limit.name {
                groups.entry(&run.process).or_default().push(run);
            }
        }
        for (process, mut runs) in groups {
            // Before the setting was first read, a worker runs as many as it was built with.
            exceeded(process, limit, limit.built, &runs, findings);
            let first = runs.iter().map(|run| run.begun).min().unwrap_or_default();
            if let Some(set) = limit.set {
                runs.retain(|run| run.begun > first + SETTLED);
                exceeded(process, limit, set, &runs, findings);
            }
        }
    }
}

fn exceeded(process: &str, limit: &Limit, most: u32, runs: &[&Run], findings: &mut Findings) {
    let (at_once, when) = at_once(runs);
    if at_once > u64::from(most) {
        let name = &limit.name;
        let text = format!(
            "{process} ran {at_once} jobs of `{name}` at once at {when}, {most} are allowed"
        );
        findings.add(Rule::WithinLimits, None, text);
    }
}

/// The most runs at one moment, and when.
fn at_once(runs: &[&Run]) -> (u64, u64) {
    let begun = runs.iter().map(|run| (run.begun, true));
    let mut steps: Vec<_> = begun.chain(runs.iter().map(|run| (run.ended, false))).collect();
    // At one moment, what ends makes room for what begins.
    steps.sort_unstable();
    let (mut now, mut most, mut when) = (0_u64, 0, 0);
    for (t, begins) in steps {
        now = if begins { now + 1 } else { now.saturating_sub(1) };
        if now > most {
            (most, when) = (now, t);
        }
    }
    (most, when)
}
