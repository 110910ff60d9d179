//! The report: JSON for machines, Markdown with plots for people, and a line per backend.

mod markdown;
mod plot;
mod soak;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use windlass_checker::{Figures, Findings, Rule, percentile};

use crate::Result;
use crate::conductor::{Outcome, Setting};

/// A run of so long has lost workers in quiet.
const LONG: Duration = Duration::from_secs(600);

/// One run, as the report has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Section {
    /// Which backend.
    pub backend: String,
    /// In which setting.
    pub setting: String,
    /// For how long faults were injected.
    pub minutes: f64,
    /// What the checker finds.
    pub findings: Findings,
    /// Replies that were dropped, by what they said.
    pub dropped: BTreeMap<String, u64>,
    /// Faults that could not be made there, and why.
    pub left_out: Vec<String>,
    /// Faults for which there was no time, or that met nothing.
    pub missing: Vec<String>,
    /// Why the run is not what it should be.
    pub errors: Vec<String>,
}

impl Section {
    /// Of what came of a run. One in which nothing happened holds every rule: that is an error.
    pub fn of(mut outcome: Outcome) -> Self {
        if outcome.errors.is_empty() {
            let figures = &outcome.findings.figures;
            let errors = asleep(figures).or_else(|| never_quiet(outcome.length, figures));
            outcome.errors.extend(errors);
        }
        Self {
            backend: outcome.setting.backend().name().to_owned(),
            setting: outcome.setting.name().to_owned(),
            minutes: outcome.length.as_secs_f64() / 60.0,
            findings: outcome.findings,
            dropped: outcome.dropped,
            left_out: outcome.left_out,
            missing: outcome.missing,
            errors: outcome.errors,
        }
    }

    /// Of a setting that was not run.
    pub fn skipped(setting: Setting, why: &str) -> Self {
        let mut outcome = Outcome::new(setting);
        outcome.errors.push(why.to_owned());
        Self::of(outcome)
    }

    /// It is a soak, too: what its worker needs, and how long jobs wait, must not grow.
    #[must_use]
    pub fn soaked(mut self) -> Self {
        self.errors.extend(soak::errors(&self.findings.figures.samples));
        self
    }

    /// Every rule holds, and the run was what it should be.
    pub fn good(&self) -> bool {
        self.findings.hold() && self.errors.is_empty()
    }
}

/// What did not happen, so that nothing could be found wrong with it.
pub fn asleep(figures: &Figures) -> Option<String> {
    let counts = [
        ("inserts acknowledged", figures.acknowledged),
        ("handlers", figures.runs),
        ("state changes told by the feed", figures.told),
        ("unique keys held", figures.held),
    ];
    let none: Vec<_> = counts.into_iter().filter(|(_, count)| *count == 0).collect();
    let none: Vec<_> = none.into_iter().map(|(what, _)| what).collect();
    (!none.is_empty()).then(|| format!("nothing could be checked: no {}", none.join(", no ")))
}

/// Workers are lost with quiet around them, too: some jobs of theirs must have been judged by the bound of a quiet system.
fn never_quiet(length: Duration, figures: &Figures) -> Option<String> {
    let told = || {
        let recoveries = figures.recoveries;
        format!("none of {recoveries} recoveries was judged by the bound without another fault")
    };
    (length >= LONG && figures.recoveries_plain == 0).then(told)
}

/// How the report can be had again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Origin {
    /// The command.
    pub command: String,
    /// Where random choices began.
    pub seed: u64,
    /// The system.
    pub system: String,
    /// Every other worker was of another build: which.
    pub second: Option<String>,
    /// The section of the simulation, if it was run, too.
    pub simulation: Option<String>,
}

/// The line of a backend. `lost` counts what the guarantees forbid; `lost_as_allowed` the rest.
pub fn line(backend: &str, sections: &[Section]) -> String {
    let of: Vec<&Section> = sections.iter().filter(|s| s.backend == backend).collect();
    let all: Vec<_> = of.iter().map(|section| section.findings.figures.all()).collect();
    let recovery: Vec<u64> = all.iter().flat_map(|all| all.recovery.iter().copied()).collect();
    let ledger = of.iter().any(|section| section.findings.figures.ledger);
    let sum = |of_one: fn(&Findings) -> u64| of.iter().map(|s| of_one(&s.findings)).sum::<u64>();
    let faults: u64 = all.iter().map(|all| all.faults).sum();
    let minutes: f64 = of.iter().map(|section| section.minutes).sum();
    let errors: Vec<&String> = of.iter().flat_map(|section| &section.errors).collect();
    json!({
        "backend": backend,
        "minutes": (minutes * 10.0).round() / 10.0,
        "jobs": sum(|f| f.figures.jobs),
        "faults": faults,
        "lost": sum(|f| f.count(Rule::NothingLost)),
        "stale_accepted": sum(|f| f.count(Rule::NoStaleFinish)),
        // Not 0 where nothing is there to count.
        "doubled_effects": ledger.then(|| all.iter().map(|all| all.doubled_effects).sum::<u64>()),
        "effects_outside_repeated": all.iter().map(|all| all.outside).sum::<u64>(),
        "recovery_p99_ms": percentile(&recovery, 99).map(|micros| micros / 1_000),
        "recoveries_checked": sum(|f| f.figures.recoveries),
        "recoveries_by_the_plain_bound": sum(|f| f.figures.recoveries_plain),
        "lost_as_allowed": sum(|f| f.lost_as_allowed),
        // What was not run to its end: the figures are of what was.
        "error": errors.first(),
        "violations": sum(|f| f.broken.values().sum()),
    })
    .to_string()
}

/// Writes the whole report into a folder.
pub fn write(folder: &Path, sections: &[Section], origin: &Origin) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let all = json!({ "origin": origin, "runs": sections });
    std::fs::write(folder.join("chaos.json"), serde_json::to_vec_pretty(&all)?)?;
    for section in sections {
        for (name, text) in plot::of(section) {
            std::fs::write(folder.join(name), text)?;
        }
    }
    Ok(std::fs::write(folder.join("chaos.md"), markdown::of(sections, origin))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(figures: Figures) -> Outcome {
        let mut outcome = Outcome::new(Setting::Sqlite);
        outcome.findings.figures = figures;
        outcome
    }

    #[test]
    fn a_run_in_which_nothing_happened_is_not_good() {
        let all = Figures { acknowledged: 1, runs: 1, told: 1, held: 1, ..Figures::default() };
        assert!(Section::of(outcome(all.clone())).good());
        let missing: [fn(&mut Figures); 4] =
            [|f| f.acknowledged = 0, |f| f.runs = 0, |f| f.told = 0, |f| f.held = 0];
        for miss in missing {
            let mut figures = all.clone();
            miss(&mut figures);
            let section = Section::of(outcome(figures));
            assert!(section.findings.hold() && !section.good());
            assert_eq!(section.errors.len(), 1);
        }
        // A long one in which no recovery was judged strictly is none either.
        let mut long = outcome(all.clone());
        long.length = LONG;
        assert_eq!(Section::of(long).errors.len(), 1);
        let mut long = outcome(Figures { recoveries_plain: 1, ..all });
        long.length = LONG;
        assert!(Section::of(long).good());
        // What could not be run is told as that.
        let skipped = Section::skipped(Setting::Sqlite, "it was told to end before");
        assert_eq!(skipped.errors, ["it was told to end before"]);
    }
}
