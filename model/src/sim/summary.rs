//! What many runs came to together.

use std::fmt::Write as _;
use std::time::Duration;

use windlass_checker::{Rule, percentile};

use super::{Figures, Report};

/// What many runs came to together.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Runs, each of a seed of its own.
    pub seeds: u64,
    /// Time that passed inside.
    pub simulated: Duration,
    /// What was counted.
    pub figures: Figures,
    /// Acknowledged jobs that were lost.
    pub lost: u64,
    /// Finishes and records of stale holders that were accepted.
    pub stale_accepted: u64,
    /// Runs in which something was wrong.
    pub broken: u64,
}

impl Summary {
    /// Adds a run.
    pub fn add(&mut self, report: &Report) {
        self.seeds += 1;
        self.simulated += report.simulated;
        self.figures.add(&report.figures);
        self.lost += report.findings.count(Rule::NothingLost);
        self.stale_accepted += report.findings.count(Rule::NoStaleFinish);
        self.broken += u64::from(!report.broken.is_empty());
    }

    /// Hours that passed inside.
    #[must_use]
    pub fn hours(&self) -> f64 {
        self.simulated.as_secs_f64() / 3_600.0
    }

    /// From the death of a process to the rescue of its jobs: so many of a hundred took no longer.
    #[must_use]
    pub fn recovery(&self, of_100: usize) -> Duration {
        percentile(&self.figures.recoveries, of_100).unwrap_or_default()
    }

    /// A section of the report.
    #[must_use]
    pub fn markdown(&self, command: &str) -> String {
        let figures = &self.figures;
        let mut text = format!(
            "\n## simulation\n\nMade by `{command}`: {} seeds, {:.1} simulated hours.\n\n| | |\n|---|--:|\n",
            self.seeds,
            self.hours()
        );
        let rows = [
            ("jobs", figures.jobs),
            ("handlers that began", figures.runs),
            ("handlers whose job ran elsewhere at the same time", figures.overlaps),
            ("faults that struck", figures.faults()),
            ("processes killed", figures.deaths),
            ("finishes accepted", figures.finishes),
            ("stale finishes refused", figures.stale_refused),
            ("repeated finishes known again", figures.repeated_known),
            ("stale records refused", figures.stale_records_refused),
            ("jobs rescued", figures.rescues),
            ("acknowledged jobs lost", self.lost),
            ("stale finishes and records accepted", self.stale_accepted),
            ("seeds in which something is wrong", self.broken),
        ];
        // Writing to a text can't fail.
        for (name, count) in rows {
            let _ = writeln!(text, "| {name} | {count} |");
        }
        for of_100 in [50, 99] {
            let seconds = self.recovery(of_100).as_secs_f64();
            let _ = writeln!(text, "| death to rescue, p{of_100} (s) | {seconds:.1} |");
        }
        text.push_str("\n| fault | struck |\n|---|--:|\n");
        for (sort, count) in &figures.faults {
            let _ = writeln!(text, "| {sort} | {count} |");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundredth_is_reckoned_as_the_checker_does() {
        let seconds = Duration::from_secs;
        let recoveries: Vec<_> = (1..=200).rev().map(seconds).collect();
        let figures = Figures { recoveries, ..Figures::default() };
        let summary = Summary { figures, ..Summary::default() };
        assert_eq!([50, 99].map(|of| summary.recovery(of)), [100, 198].map(seconds));
        assert_eq!(Summary::default().recovery(99), Duration::ZERO);
    }
}
