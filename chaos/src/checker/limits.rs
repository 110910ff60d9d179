//! A worker runs no more jobs of a queue, or of a kind, at once than it may.

use std::collections::HashMap;

use super::trace::{Run, Traces};
use super::{Evidence, Findings, Rule};
use crate::jobs::{FEW, LIMITED, MANY};

/// The kind of which a worker runs one at once.
const NARROW: &str = "narrow";

pub(super) fn check(_: &Evidence, traces: &Traces<'_>, findings: &mut Findings) {
    let mut groups: HashMap<(&str, &str, u32), Vec<&Run>> = HashMap::new();
    for run in traces.jobs.values().flat_map(|trace| &trace.runs) {
        // Before the setting was first read, a worker runs as many as it was built with.
        let most = if run.queue == LIMITED { 2 * FEW } else { MANY };
        groups.entry((&run.process, &run.queue, most)).or_default().push(run);
        if run.kind == NARROW {
            groups.entry((&run.process, NARROW, 1)).or_default().push(run);
        }
    }
    for ((process, what, most), runs) in groups {
        let (at_once, when) = at_once(&runs);
        if at_once > u64::from(most) {
            let text = format!(
                "{process} ran {at_once} jobs of `{what}` at once at {when}, {most} are allowed"
            );
            findings.add(Rule::WithinLimits, None, text);
        }
        if what == LIMITED {
            settings(process, runs, findings);
        }
    }
}

/// A worker follows the settings of its queues within a few seconds: afterwards the setting holds.
fn settings(process: &str, mut runs: Vec<&Run>, findings: &mut Findings) {
    const SETTLED: u64 = 10_000_000;
    let Some(first) = runs.iter().map(|run| run.begun).min() else { return };
    runs.retain(|run| run.begun > first + SETTLED);
    let (at_once, when) = at_once(&runs);
    if at_once > u64::from(FEW) {
        let text = format!(
            "{process} ran {at_once} jobs of `{LIMITED}` at once at {when}, {FEW} are allowed"
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
