//! The report: JSON for machines, Markdown with plots for people, and a line per backend.

mod markdown;
mod plot;
mod soak;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;
use windlass_checker::{Figures, Findings, Rule, percentile};

use crate::Result;
use crate::conductor::plan::FaultKind;
use crate::conductor::{LONG, Outcome, Setting};

/// One run, as the report has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Section {
    /// Which backend.
    pub backend: String,
    /// In which setting.
    pub setting: String,
    /// For how long faults were injected.
    pub minutes: f64,
    /// The server and its version.
    #[serde(default)]
    pub server: Option<String>,
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
            let asleep = asleep(&outcome.findings.figures);
            outcome.errors.extend(asleep.or_else(|| never_quiet(&outcome)));
        }
        Self {
            backend: outcome.setting.backend().name().to_owned(),
            setting: outcome.setting.name().to_owned(),
            minutes: outcome.length.as_secs_f64() / 60.0,
            server: outcome.server,
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
    let all = figures.all();
    let stops = figures.faults.get(FaultKind::WorkerStopped.name()).map_or(0, |of| of.faults);
    // What is counted, and whether there must be some.
    let counts = [
        ("inserts acknowledged", figures.acknowledged, true),
        ("handlers", figures.runs, true),
        ("state changes told by the feed", figures.told, true),
        ("unique keys held", figures.held, true),
        ("follow-ups", figures.follow_ups, true),
        ("effects committed with a completion", figures.effects, figures.ledger),
        ("rows committed with an insert", figures.rows, figures.ledger),
        ("handlers in the other build", figures.second, figures.second_processes > 0),
        ("repeated settlements refused", figures.repeats_refused, true),
        ("faults", all.faults, true),
        // A worker that was stopped for longer than its lease tries.
        ("stale finishes refused", all.stale_refused, stops > 0),
        ("records of stale holders refused", figures.records_refused, stops > 0),
    ];
    let none = counts.into_iter().filter(|(_, count, must)| *must && *count == 0);
    let none: Vec<_> = none.map(|(what, _, _)| what).collect();
    let none =
        (!none.is_empty()).then(|| format!("nothing could be checked: no {}", none.join(", no ")));
    none.or_else(|| dry(figures))
}

/// No fault keeps a process from the host's database for so long.
const DRY: u64 = 60_000_000;

/// A process of which no transaction of the host's was committed any more.
fn dry(figures: &Figures) -> Option<String> {
    (figures.dry > DRY).then(|| {
        let seconds = figures.dry / 1_000_000;
        format!(
            "of a process that tried for {seconds} s no transaction of the host's was committed"
        )
    })
}

/// Workers are lost with quiet around them, too: jobs of theirs must have been seen to be taken up, and some judged by the bound of a quiet system.
fn never_quiet(outcome: &Outcome) -> Option<String> {
    let (figures, losses) = (&outcome.findings.figures, outcome.quiet_losses);
    let recoveries = figures.recoveries;
    if losses > 0 && recoveries == 0 {
        return Some(format!("{losses} workers were lost in quiet, and no recovery was checked"));
    }
    let must = outcome.plain_losses > 0 || outcome.length >= LONG;
    (must && figures.recoveries_plain == 0).then(|| {
        format!("none of {recoveries} recoveries was judged by the bound without another fault")
    })
}

/// How the report can be had again.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Origin {
    /// The command.
    pub command: String,
    /// Where random choices began.
    pub seed: u64,
    /// The commit of the program, where it can be told, and whether there is more than that.
    #[serde(default)]
    pub commit: Option<String>,
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
    use windlass_checker::Lasting;

    use super::*;

    fn outcome(figures: Figures) -> Outcome {
        let mut outcome = Outcome::new(Setting::Sqlite);
        outcome.findings.figures = figures;
        outcome
    }

    /// Of a run in which all happened that must.
    fn awake() -> Figures {
        let stopped = Lasting { faults: 1, stale_refused: 1, ..Lasting::default() };
        Figures {
            acknowledged: 1,
            runs: 1,
            told: 1,
            held: 1,
            follow_ups: 1,
            effects: 1,
            rows: 1,
            ledger: true,
            second: 1,
            second_processes: 1,
            records_refused: 1,
            repeats_refused: 1,
            faults: BTreeMap::from([("worker stopped".to_owned(), stopped)]),
            ..Figures::default()
        }
    }

    #[test]
    fn a_run_in_which_nothing_happened_is_not_good() {
        assert!(Section::of(outcome(awake())).good());
        let missing: [fn(&mut Figures); 12] = [
            |f| f.acknowledged = 0,
            |f| f.runs = 0,
            |f| f.told = 0,
            |f| f.held = 0,
            |f| f.follow_ups = 0,
            |f| f.effects = 0,
            |f| f.rows = 0,
            |f| f.second = 0,
            |f| f.records_refused = 0,
            |f| f.repeats_refused = 0,
            |f| f.dry = DRY + 1,
            |f| f.faults.values_mut().for_each(|of| of.stale_refused = 0),
        ];
        for miss in missing {
            let mut figures = awake();
            miss(&mut figures);
            let section = Section::of(outcome(figures));
            assert!(section.findings.hold() && !section.good());
            assert_eq!(section.errors.len(), 1);
        }
        // What could not be run is told as that.
        let skipped = Section::skipped(Setting::Sqlite, "it was told to end before");
        assert_eq!(skipped.errors, ["it was told to end before"]);
    }

    #[test]
    fn a_run_without_faults_is_not_good() {
        let none = Figures { faults: BTreeMap::new(), ..awake() };
        let errors = Section::of(outcome(none)).errors;
        assert_eq!(errors, ["nothing could be checked: no faults"]);
    }

    #[test]
    fn nothing_is_asked_for_that_can_not_be_there() {
        let killed = Lasting { faults: 1, ..Lasting::default() };
        let faults = BTreeMap::from([("worker killed".to_owned(), killed)]);
        let (effects, rows, ledger) = (0, 0, false);
        let (second, second_processes) = (0, 0);
        let less = Figures { effects, rows, ledger, second, second_processes, faults, ..awake() };
        assert!(Section::of(outcome(less)).good());
    }

    #[test]
    fn where_workers_were_lost_in_quiet_recoveries_must_have_been_checked() {
        let of = |losses: (u64, u64), recoveries, recoveries_plain| {
            let mut outcome = outcome(Figures { recoveries, recoveries_plain, ..awake() });
            (outcome.quiet_losses, outcome.plain_losses) = losses;
            outcome
        };
        assert!(Section::of(of((0, 0), 0, 0)).good());
        assert_eq!(Section::of(of((1, 1), 0, 0)).errors.len(), 1);
        assert_eq!(Section::of(of((1, 1), 1, 0)).errors.len(), 1);
        assert!(Section::of(of((1, 1), 1, 1)).good());
        // One that holds others up, too, is not judged strictly.
        assert!(Section::of(of((1, 0), 1, 0)).good());
        assert_eq!(Section::of(of((1, 0), 0, 0)).errors.len(), 1);
        // A long run has lost some.
        for (plain, errors) in [(0, 1), (1, 0)] {
            let mut long = of((0, 0), plain, plain);
            long.length = LONG;
            assert_eq!(Section::of(long).errors.len(), errors);
        }
    }
}
