//! Rows of figures, as JSON and as Markdown tables with ratios.

use std::fmt::Write as _;

use serde::Serialize;
use windlass_bench_contestant::Figures;

use crate::aims;
use crate::contestants::{RAW, is_peer, syncs};
use crate::runner::DEFAULT;

/// One figure of one system.
#[derive(Clone, Serialize)]
pub struct Row {
    pub backend: String,
    pub workload: String,
    pub system: String,
    pub config: String,
    /// The median. Nothing where no run gave a figure.
    pub value: Option<f64>,
    pub unit: String,
    pub min: Option<f64>,
    pub max: Option<f64>,
    pub runs: usize,
}

impl Row {
    pub fn new(
        backend: &str,
        workload: &str,
        (system, config): (&str, &str),
        unit: &str,
        mut values: Vec<f64>,
    ) -> Self {
        values.sort_by(f64::total_cmp);
        Self {
            backend: backend.to_owned(),
            workload: workload.to_owned(),
            system: system.to_owned(),
            config: config.to_owned(),
            value: median(&values),
            unit: unit.to_owned(),
            min: values.first().copied(),
            max: values.last().copied(),
            runs: values.len(),
        }
    }

    /// Whether more is better.
    pub fn is_rate(&self) -> bool {
        [RATE, RATIO].contains(&self.unit.as_str())
    }

    pub fn syncs(&self) -> bool {
        syncs(&self.backend, &self.system, &self.config)
    }
}

/// Units of which more is better.
pub const RATE: &str = "jobs/s";
pub const RATIO: &str = "ratio";
/// The unit of what went wrong.
const FAULTS: &str = "faults";

/// Of sorted values; between the two in the middle where their number is even.
fn median(values: &[f64]) -> Option<f64> {
    let upper = values.get(values.len() / 2)?;
    let lower = values.get((values.len() - 1) / 2)?;
    Some(f64::midpoint(*lower, *upper))
}

/// A kind of fault: its name, what it counts, whether the figures are unsound with it, and its number in a run.
type Kind = (&'static str, &'static str, bool, fn(&Figures) -> u64);

/// What is to be told beside the figures.
#[derive(PartialEq)]
struct Remark {
    workload: String,
    system: String,
    config: String,
    text: String,
    /// Whether not all jobs ran, or not once.
    unsound: bool,
}

#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    remarks: Vec<Remark>,
    /// Systems that were not measured, and why.
    left_out: Vec<String>,
    /// What stands above all.
    pub title: String,
}

impl Report {
    pub fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub fn remark(&mut self, workload: &str, system: (&str, &str), text: &str) {
        self.tell(workload, system, text, false);
    }

    /// A run failed, so that what there is of others is not of all of the work.
    pub fn failure(&mut self, backend: &str, workload: &str, system: (&str, &str), text: &str) {
        self.tell(workload, system, text, true);
        let name = format!("{workload}, failed");
        let same = |row: &&mut Row| {
            row.workload == name && (row.system.as_str(), row.config.as_str()) == system
        };
        match self.rows.iter_mut().find(same) {
            Some(row) => {
                for count in [&mut row.value, &mut row.min, &mut row.max] {
                    *count = count.map(|count| count + 1.0);
                }
            }
            None => self.rows.push(Row::new(backend, &name, system, FAULTS, vec![1.0])),
        }
    }

    /// A system can't be measured.
    pub fn leave_out(&mut self, text: String) {
        eprintln!("{text}");
        self.left_out.push(text);
    }

    /// Adds what a rate is beside another one of the same system, for each that has both.
    pub fn compare(&mut self, name: &str, workload: &str, other: &str) {
        let of = |row: &&Row, workload: &str| row.workload == workload && row.unit == RATE;
        let mut ratios = Vec::new();
        for row in self.rows.iter().filter(|row| of(row, workload)) {
            let beside = self.rows.iter().filter(|row| of(row, other));
            let beside = beside
                .filter(|other| (&other.system, &other.config) == (&row.system, &row.config))
                .find_map(|other| other.value.filter(|value| *value > 0.0));
            if let (Some(value), Some(beside)) = (row.value, beside) {
                let system = (row.system.as_str(), row.config.as_str());
                ratios.push(Row::new(&row.backend, name, system, RATIO, vec![value / beside]));
            }
        }
        self.rows.extend(ratios);
    }

    fn tell(&mut self, workload: &str, (system, config): (&str, &str), text: &str, unsound: bool) {
        let remark = Remark {
            workload: workload.to_owned(),
            system: system.to_owned(),
            config: config.to_owned(),
            text: text.to_owned(),
            unsound,
        };
        if !self.remarks.contains(&remark) {
            eprintln!("{workload}: {system}, {config}: {text}");
            self.remarks.push(remark);
        }
    }

    /// What went wrong in runs of a workload: rows with the numbers, and a remark.
    pub fn faults(
        &mut self,
        backend: &str,
        workload: &str,
        system: (&str, &str),
        runs: &[Figures],
    ) {
        let kinds: [Kind; 4] = [
            ("lost", "jobs that never ran", true, |f| f.lost),
            ("repeated", "runs of jobs that had run", true, |f| f.repeated),
            ("unfinished", "jobs not done in time", false, |f| f.unfinished),
            (
                "hung",
                "runs in which nothing moved for the last 3 s, or jobs were waited for in vain",
                true,
                |f| u64::from(f.hung),
            ),
        ];
        for (name, text, unsound, count) in kinds {
            let counts: Vec<u64> = runs.iter().map(count).collect();
            if counts.iter().all(|count| *count == 0) {
                continue;
            }
            let listed: Vec<String> = counts.iter().map(u64::to_string).collect();
            self.tell(workload, system, &format!("{text}: {}", listed.join(", ")), unsound);
            let values = counts.iter().map(|count| *count as f64).collect();
            let row = Row::new(backend, &format!("{workload}, {name}"), system, FAULTS, values);
            self.rows.push(row);
        }
    }

    /// Remarks on a row, whichever figure of its workload it is.
    fn remarks_on<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = &'a Remark> {
        self.remarks.iter().filter(|r| {
            row.workload.starts_with(&r.workload)
                && r.system == row.system
                && r.config == row.config
        })
    }

    /// Whether a row's figure is of jobs that all ran, once.
    pub fn is_sound(&self, row: &Row) -> bool {
        !self.remarks_on(row).any(|remark| remark.unsound)
    }

    /// The figure of the same system as it comes.
    fn default_of(&self, row: &Row) -> Option<f64> {
        let same = |other: &&Row| {
            (&other.workload, &other.system) == (&row.workload, &row.system)
                && other.config == DEFAULT
        };
        self.rows.iter().find(same).and_then(|other| other.value)
    }

    /// Of the rows of a workload the best of the peers that did all of the work.
    pub fn best_peer<'a>(&self, rows: &[&'a Row]) -> Option<&'a Row> {
        let peers = rows.iter().filter(|row| is_peer(&row.system) && self.is_sound(row));
        let figures = peers.filter_map(|row| row.value.map(|value| (value, *row)));
        let best = figures.reduce(|best, next| {
            let better = if next.1.is_rate() { next.0 > best.0 } else { next.0 < best.0 };
            if better { next } else { best }
        });
        best.map(|best| best.1)
    }

    /// The best figure of the peers, and that of the raw loop.
    fn marks(&self, rows: &[&Row]) -> (Option<f64>, Option<f64>) {
        let raw = rows.iter().find(|row| row.system == RAW).and_then(|row| row.value);
        (self.best_peer(rows).and_then(|row| row.value), raw)
    }

    /// Names of workloads, in order.
    pub fn workloads(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for row in &self.rows {
            if row.unit != FAULTS && !names.contains(&row.workload.as_str()) {
                names.push(&row.workload);
            }
        }
        names
    }

    /// What was aimed at, one table for each workload, below its plot if it has one, then what is to be told.
    pub fn markdown(&self, plots: &[(String, String)]) -> String {
        let mut text = self.title.clone() + &aims::markdown(self);
        for workload in self.workloads() {
            let rows: Vec<&Row> = self.rows.iter().filter(|row| row.workload == workload).collect();
            let (best, raw) = self.marks(&rows);
            // Writing to a text can't fail.
            let _ = writeln!(text, "## {}{workload}\n", head(&rows));
            if let Some((_, file)) = plots.iter().find(|(of, _)| of == workload) {
                let _ = writeln!(text, "![{workload}]({file})\n");
            }
            let _ = writeln!(
                text,
                "| system | config | median | min | max | unit | runs | to its default | to the best peer | to raw |"
            );
            let _ = writeln!(text, "|---|---|--:|--:|--:|---|--:|--:|--:|--:|");
            for row in rows {
                let ratio = |mark: Option<f64>| match (row.value, mark) {
                    (Some(value), Some(mark)) if mark > 0.0 => format!("{:.2}", value / mark),
                    _ => "–".to_owned(),
                };
                let name = if is_peer(&row.system) {
                    row.system.clone()
                } else {
                    format!("**{}**", row.system)
                };
                let unsynced = if row.syncs() { "" } else { " †" };
                let _ = writeln!(
                    text,
                    "| {name}{} | {}{unsynced} | {} | {} | {} | {} | {} | {} | {} | {} |",
                    if self.remarks_on(row).next().is_some() { " \\*" } else { "" },
                    row.config,
                    figure(row.value),
                    figure(row.min),
                    figure(row.max),
                    row.unit,
                    row.runs,
                    ratio(self.default_of(row).filter(|_| row.config != DEFAULT)),
                    ratio(best),
                    ratio(raw),
                );
            }
            text.push('\n');
        }
        if self.rows.iter().any(|row| !row.syncs()) {
            text.push_str(
                "† Its commits don't wait for the disk: when the machine fails the last are lost.\n\n",
            );
        }
        if !self.remarks.is_empty() || !self.left_out.is_empty() {
            text.push_str("## \\* What is to be told beside the figures\n\n");
            for left_out in &self.left_out {
                let _ = writeln!(text, "- {left_out}");
            }
            for r in &self.remarks {
                let _ =
                    writeln!(text, "- {}, {}, in {}: {}", r.system, r.config, r.workload, r.text);
            }
        }
        text
    }

    pub fn json(&self) -> serde_json::Result<String> {
        let rows: Result<Vec<_>, _> = self.rows.iter().map(serde_json::to_string).collect();
        Ok(rows?.join("\n") + "\n")
    }
}

/// The backend of rows, as a title has it.
fn head(rows: &[&Row]) -> String {
    rows.first().map(|row| format!("{}: ", row.backend)).unwrap_or_default()
}

/// A figure with as many digits as are worth reading.
pub fn figure(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(v) if v.abs() < 100.0 => format!("{v:.2}"),
        Some(v) => crate::heavy::count(v.round() as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(system: &str, unit: &str, values: &[f64]) -> Row {
        Row::new("sqlite", "drain", (system, "default"), unit, values.to_vec())
    }

    #[test]
    fn a_row_has_the_median() {
        let odd = row("windlass", "ms", &[3.0, 1.0, 2.0]);
        assert_eq!((odd.value, odd.min, odd.max, odd.runs), (Some(2.0), Some(1.0), Some(3.0), 3));
        assert_eq!(row("windlass", "ms", &[4.0, 1.0, 2.0, 9.0]).value, Some(3.0));
        let none = row("windlass", "ms", &[]);
        assert_eq!((none.value, none.runs), (None, 0));
    }

    #[test]
    fn ratios_are_to_the_best_peer_that_did_the_work_and_to_raw() {
        for (unit, best) in [("jobs/s", 20.0), ("ms", 10.0)] {
            let mut report = Report::default();
            for (system, value) in [("windlass", 40.0), ("raw", 80.0), ("a", 10.0), ("b", 20.0)] {
                report.add(row(system, unit, &[value]));
            }
            // It lost jobs.
            report.add(row("fast", unit, &[if unit == "ms" { 1.0 } else { 99.0 }]));
            let lost = Figures { lost: 1, ..Figures::default() };
            report.faults("sqlite", "drain", ("fast", "default"), &[lost]);
            let text = report.markdown(&[]);
            let line = text.lines().find(|line| line.contains("**windlass**")).unwrap();
            assert!(line.ends_with(&format!("| – | {:.2} | 0.50 |", 40.0 / best)), "{line}");
            assert!(text.contains("fast \\*"), "{text}");
            assert!(text.contains("- fast, default, in drain: jobs that never ran: 1"), "{text}");
            assert!(report.json().unwrap().contains("\"workload\":\"drain, lost\""));
        }
    }

    #[test]
    fn a_peer_that_failed_once_is_not_the_best() {
        let mut report = Report::default();
        for (system, value) in [("windlass", 40.0), ("a", 10.0), ("b", 80.0)] {
            report.add(row(system, RATE, &[value]));
        }
        for _ in 0..2 {
            report.failure("sqlite", "drain", ("b", "default"), "the program failed");
        }
        let failed = report.rows().iter().find(|row| row.workload == "drain, failed").unwrap();
        assert_eq!((failed.value, failed.unit.as_str()), (Some(2.0), FAULTS));
        report.leave_out("c is left out: it could not be built".to_owned());
        let text = report.markdown(&[]);
        assert!(text.contains("| 1 | – | 4.00 | – |"), "{text}");
        assert!(text.contains("- c is left out"), "{text}");
    }

    #[test]
    fn rates_are_held_against_those_of_other_workloads_and_of_the_default() {
        let mut report = Report::default();
        let add = |report: &mut Report, workload: &str, config: &str, value: f64| {
            let row = Row::new("sqlite", workload, ("windlass", config), RATE, vec![value]);
            report.add(row);
        };
        add(&mut report, "many", "default", 30.0);
        add(&mut report, "one", "default", 40.0);
        add(&mut report, "one", "tuned", 50.0);
        report.compare("many to one", "many", "one");
        let ratio = report.rows().iter().find(|row| row.workload == "many to one").unwrap();
        assert_eq!((ratio.value, ratio.unit.as_str()), (Some(0.75), RATIO));
        assert!(report.markdown(&[]).contains("| jobs/s | 1 | 1.25 | – | – |"));
    }

    #[test]
    fn rows_have_what_readers_of_them_expect() {
        let json = serde_json::to_value(row("windlass", "ms", &[1.0])).unwrap();
        let names: Vec<&String> = json.as_object().unwrap().keys().collect();
        let mut wanted =
            ["backend", "workload", "system", "config", "value", "unit", "min", "max", "runs"];
        wanted.sort_unstable();
        assert_eq!(names, wanted);
    }
}
