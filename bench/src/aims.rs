//! What Windlass is to reach as it comes, and what it has reached in a run.

use std::fmt::Write as _;

use crate::contestants::{RAW, WINDLASS};
use crate::report::{RATE, RATIO, Report, Row, figure};
use crate::runner::{DEFAULT, TUNED};

/// What a figure is held against.
#[derive(Clone, Copy, PartialEq)]
enum Mark {
    /// The best peer, in any configuration.
    Peer,
    /// The best of the peers whose commits wait for the disk, where some don't.
    Synced,
    /// The raw loop.
    Raw,
    /// Nothing: the figure counts.
    Itself,
}

/// At least so much, or at most.
#[derive(Clone, Copy)]
enum Bound {
    Least(f64),
    Most(f64),
}

use Bound::{Least, Most};

/// Workloads by how their names begin and end, for they may have numbers in between.
const AIMS: &[(&str, &str, Mark, Bound)] = &[
    ("drain of no-op jobs", "", Mark::Peer, Least(2.0)),
    ("drain of no-op jobs", "", Mark::Synced, Least(2.0)),
    ("drain of no-op jobs", "", Mark::Raw, Least(0.6)),
    ("enqueue 1 at once", "", Mark::Raw, Least(0.8)),
    ("enqueue 8 at once", "", Mark::Peer, Least(4.0)),
    ("enqueue 8 at once", "", Mark::Synced, Least(4.0)),
    ("enqueue 64 at once", "", Mark::Peer, Least(4.0)),
    ("enqueue 64 at once", "", Mark::Synced, Least(4.0)),
    ("enqueue in bulks of 1,000", "", Mark::Peer, Least(2.0)),
    ("enqueue in bulks of 1,000", "", Mark::Synced, Least(2.0)),
    ("enqueue in bulks of 1,000", "", Mark::Raw, Least(0.5)),
    ("latency, idle queue p50", "", Mark::Raw, Most(2.0)),
    ("latency, idle queue p50", "", Mark::Peer, Most(1.0)),
    ("latency, idle queue p50", "", Mark::Synced, Most(1.0)),
    ("latency, idle queue p99", "", Mark::Itself, Most(5.0)),
    ("claim rate, ", " waiting to few", Mark::Itself, Least(0.8)),
    ("drain, ", " finished to none", Mark::Itself, Least(0.8)),
    ("pinned xmin, ", " claim rate of the last tenth over the first", Mark::Itself, Least(0.8)),
    ("idle cost of 100 workers, queries", "", Mark::Itself, Most(300.0)),
];

/// Where no commit waits for the disk, one commit for many gains little.
const BY_GROUP_COMMIT: [&str; 2] = ["enqueue 8 at once", "enqueue 64 at once"];

/// How much of a core a hundred idle workers may take, with their server, in percent.
const IDLE: f64 = 1.0;
/// How much more than the defaults other settings may give.
const GAIN: f64 = 1.25;

/// An aim, and what was found.
#[derive(Debug, PartialEq)]
pub struct Line {
    what: String,
    found: String,
    aim: String,
    holds: bool,
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Least(bound) => value >= bound,
            Most(bound) => value <= bound,
        }
    }

    fn text(self) -> String {
        match self {
            Least(bound) => format!("at least {bound}"),
            Most(bound) => format!("at most {bound}"),
        }
    }
}

/// What was found of all of which there are figures.
pub fn lines(report: &Report) -> Vec<Line> {
    let mut lines: Vec<Line> = AIMS.iter().filter_map(|aim| line(report, aim)).collect();
    lines.extend(tuned(report));
    lines.extend(idle(report));
    lines
}

fn is_default(row: &Row) -> bool {
    row.system == WINDLASS && row.config == DEFAULT
}

fn line(report: &Report, (head, tail, mark, bound): &(&str, &str, Mark, Bound)) -> Option<Line> {
    let named = |row: &&Row| {
        let rest = row.workload.strip_prefix(head);
        rest.is_some_and(
            |rest| if tail.is_empty() { rest.is_empty() } else { rest.ends_with(tail) },
        )
    };
    let own = report.rows().iter().filter(named).find(|row| is_default(row))?;
    if own.backend == "redis" && BY_GROUP_COMMIT.contains(head) {
        return None;
    }
    let rows: Vec<&Row> = report.rows().iter().filter(named).collect();
    let other = match mark {
        Mark::Itself => None,
        Mark::Peer => Some(report.best_peer(&rows)?),
        Mark::Synced if rows.iter().all(|row| row.syncs()) => return None,
        Mark::Synced => {
            let synced: Vec<&Row> = rows.into_iter().filter(|row| row.syncs()).collect();
            Some(report.best_peer(&synced)?)
        }
        Mark::Raw => Some(rows.into_iter().find(|row| row.system == RAW)?),
    };
    let Some(value) = own.value else {
        let (what, found) = (own.workload.clone(), "no figure".to_owned());
        return Some(Line { what, found, aim: bound.text(), holds: false });
    };
    let unit = if own.unit == RATIO { String::new() } else { format!(" {}", own.unit) };
    let mut found = format!("{}{unit}", figure(own.value));
    let mut held = value;
    if let Some(other) = other {
        held = value / other.value.filter(|value| *value > 0.0)?;
        let config =
            if other.config == DEFAULT { String::new() } else { format!(" ({})", other.config) };
        let _ = write!(found, ", {held:.2} of {}{config}", other.system);
    }
    let of = match mark {
        Mark::Itself => unit,
        Mark::Peer => " of the best peer".to_owned(),
        Mark::Synced => " of the best peer that syncs".to_owned(),
        Mark::Raw => " of raw".to_owned(),
    };
    let aim = bound.text() + &of;
    let sound = [Some(own), other].into_iter().flatten().all(|row| report.is_sound(row));
    if !sound {
        found.push_str(" \\*");
    }
    Some(Line { what: own.workload.clone(), found, aim, holds: sound && bound.holds(held) })
}

/// The workload that gains most by other settings.
fn tuned(report: &Report) -> Option<Line> {
    let gain = |row: &Row| {
        let same = |own: &&Row| is_default(own) && own.workload == row.workload;
        let own = report.rows().iter().find(same)?.value.filter(|value| *value > 0.0)?;
        Some((row.value? / own, row.workload.clone()))
    };
    // The pace of a load is asked for.
    let tuned = |row: &&Row| {
        let rate = row.unit == RATE && !row.workload.starts_with("latency");
        row.system == WINDLASS && row.config == TUNED && rate
    };
    let gains = report.rows().iter().filter(tuned).filter_map(gain);
    let (gain, workload) = gains.max_by(|a, b| a.0.total_cmp(&b.0))?;
    Some(Line {
        what: "tuned, in the workload where it gives most".to_owned(),
        found: format!("{gain:.2} of the defaults: {workload}"),
        aim: format!("at most {GAIN} of the defaults"),
        holds: gain <= GAIN,
    })
}

fn idle(report: &Report) -> Option<Line> {
    let name = "idle cost of 100 workers, processor time";
    let rows = report.rows().iter().filter(|row| is_default(row) && row.workload.starts_with(name));
    let parts: Vec<f64> = rows.filter_map(|row| row.value).collect();
    let all: f64 = parts.iter().sum();
    (!parts.is_empty()).then(|| Line {
        what: name.to_owned(),
        found: format!("{all:.2} % of a core"),
        aim: format!("at most {IDLE} % of a core"),
        holds: all <= IDLE,
    })
}

/// A table, or nothing where nothing was measured.
pub fn markdown(report: &Report) -> String {
    let lines = lines(report);
    let mut text = String::new();
    if lines.is_empty() {
        return text;
    }
    text.push_str("## Windlass as it comes, and its aims\n\n| workload | found | aim | reached |\n|---|---|---|---|\n");
    for Line { what, found, aim, holds } in lines {
        let _ =
            writeln!(text, "| {what} | {found} | {aim} | {} |", if holds { "yes" } else { "no" });
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass_bench_contestant::Figures;

    fn add(report: &mut Report, workload: &str, system: (&str, &str), unit: &str, value: f64) {
        report.add(Row::new("sqlite", workload, system, unit, vec![value]));
    }

    fn found(report: &Report) -> Vec<String> {
        lines(report)
            .iter()
            .map(|l| format!("{}: {}; {}; {}", l.what, l.found, l.aim, l.holds))
            .collect()
    }

    #[test]
    fn figures_are_held_against_sound_peers_and_raw() {
        let mut report = Report::default();
        let drain = "drain of no-op jobs";
        for (system, value) in [
            (("windlass", "default"), 40.0),
            (("windlass", "tuned"), 60.0),
            (("raw", "default"), 80.0),
            (("a", "tuned"), 20.0),
            (("b", "default"), 90.0),
        ] {
            add(&mut report, drain, system, RATE, value);
        }
        report.faults(
            "sqlite",
            drain,
            ("b", "default"),
            &[Figures { lost: 1, ..Figures::default() }],
        );
        assert_eq!(
            found(&report),
            [
                "drain of no-op jobs: 40.00 jobs/s, 2.00 of a (tuned); at least 2 of the best peer; true",
                "drain of no-op jobs: 40.00 jobs/s, 0.50 of raw; at least 0.6 of raw; false",
                "tuned, in the workload where it gives most: 1.50 of the defaults: drain of no-op jobs; at most 1.25 of the defaults; false",
            ]
        );
    }

    #[test]
    fn less_is_better_where_it_is() {
        let mut report = Report::default();
        let latency = "latency, idle queue p50";
        for (system, value) in [("windlass", 1.0), ("raw", 0.4), ("a", 1.5), ("b", 2.0)] {
            add(&mut report, latency, (system, "default"), "ms", value);
        }
        let idle = "idle cost of 100 workers, processor time of the";
        for part in ["workers", "server"] {
            add(
                &mut report,
                &format!("{idle} {part}"),
                ("windlass", "default"),
                "% of a core",
                0.5,
            );
        }
        add(&mut report, "claim rate, 1,000 waiting to few", ("windlass", "default"), RATIO, 0.7);
        assert_eq!(
            found(&report),
            [
                "latency, idle queue p50: 1.00 ms, 2.50 of raw; at most 2 of raw; false",
                "latency, idle queue p50: 1.00 ms, 0.67 of a; at most 1 of the best peer; true",
                "claim rate, 1,000 waiting to few: 0.70; at least 0.8; false",
                "idle cost of 100 workers, processor time: 1.00 % of a core; at most 1 % of a core; true",
            ]
        );
    }

    #[test]
    fn who_syncs_is_also_held_against_those_that_do() {
        let drain = "drain of no-op jobs";
        for (backend, told) in [("sqlite", 2), ("postgres", 1)] {
            let mut report = Report::default();
            for (system, value) in [
                (("windlass", "default"), 40.0),
                (("effectum", "default"), 10.0),
                (("effectum", "tuned"), 50.0),
            ] {
                report.add(Row::new(backend, drain, system, RATE, vec![value]));
            }
            let all = [
                "drain of no-op jobs: 40.00 jobs/s, 0.80 of effectum (tuned); at least 2 of the best peer; false",
                "drain of no-op jobs: 40.00 jobs/s, 4.00 of effectum; at least 2 of the best peer that syncs; true",
            ];
            assert_eq!(found(&report), all[..told]);
            assert_eq!(report.markdown(&[]).contains("tuned †"), told == 2);
        }
    }

    #[test]
    fn an_unsound_figure_reaches_no_aim() {
        let mut report = Report::default();
        add(&mut report, "drain of no-op jobs", ("windlass", "default"), RATE, 80.0);
        add(&mut report, "drain of no-op jobs", ("raw", "default"), RATE, 80.0);
        let lost = Figures { lost: 1, ..Figures::default() };
        report.faults("sqlite", "drain of no-op jobs", ("windlass", "default"), &[lost]);
        assert_eq!(
            found(&report),
            ["drain of no-op jobs: 80.00 jobs/s, 1.00 of raw \\*; at least 0.6 of raw; false"]
        );
    }

    #[test]
    fn workloads_with_an_aim_are_there() {
        let works = crate::works::all(&crate::sizes::Sizes::full());
        let names: Vec<String> = works
            .iter()
            .flat_map(|work| work.columns.iter().map(|c| format!("{}{}", work.name, c.name)))
            .collect();
        // What is measured elsewhere has numbers in its name, or is named there.
        let here = AIMS.iter().filter(|aim| aim.1.is_empty() && !aim.0.starts_with("idle"));
        for (name, ..) in here {
            assert!(names.iter().any(|known| known == name), "{name} of {names:?}");
        }
    }

    #[test]
    fn where_no_commit_waits_for_the_disk_group_commit_is_no_aim() {
        let row = |backend, system| {
            Row::new(backend, "enqueue 8 at once", (system, "default"), RATE, vec![1.0])
        };
        for (backend, told) in [("redis", 0), ("sqlite", 1)] {
            let mut report = Report::default();
            report.add(row(backend, "windlass"));
            report.add(row(backend, "a"));
            assert_eq!(lines(&report).len(), told);
        }
    }

    #[test]
    fn what_was_not_measured_is_not_told() {
        assert_eq!(markdown(&Report::default()), "");
        let mut report = Report::default();
        add(&mut report, "enqueue 1 at once", ("windlass", "default"), RATE, 1.0);
        assert_eq!(lines(&report), []);
    }
}
