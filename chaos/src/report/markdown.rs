//! The report for people.

use std::fmt::Write as _;

use windlass_checker::{Lasting, percentile};

use super::{Origin, Section, plot, soak};

fn ms(recovery: &[u64], hundredths: usize) -> String {
    percentile(recovery, hundredths).map_or_else(|| "–".to_owned(), |micros| number(micros / 1_000))
}

/// A number with commas.
fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn row(name: &str, of: &Lasting, ledger: bool) -> String {
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |\n",
        number(of.faults),
        number(of.count),
        number(of.jobs),
        number(of.lost),
        number(of.stale_refused),
        number(of.stale_accepted),
        if ledger { number(of.doubled_effects) } else { "–".to_owned() },
        number(of.repeated),
        number(of.outside),
        ms(&of.recovery, 50),
        ms(&of.recovery, 99),
        ms(&of.service, 50),
        ms(&of.service, 99),
    )
}

const HEAD: &str = "| fault | faults | hits | jobs ended | lost | stale finishes refused | stale finishes accepted | doubled effects | runs that did not count | their effects outside | recovery p50 (ms) | p99 (ms) | service p50 (ms) | p99 (ms) |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
";

/// Where the method stands: a report lies wherever it was asked for, so that no relative link leads there.
const METHOD: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/evidence.md");

/// The whole report.
pub(super) fn of(sections: &[Section], origin: &Origin) -> String {
    let at =
        origin.commit.as_ref().map(|commit| format!("at commit `{commit}` ")).unwrap_or_default();
    let mut text = format!(
        "# Chaos\n\nMade by `{}` (seed {}) {}on {}. [The method]({METHOD}) says what is counted, and how.\n",
        origin.command, origin.seed, at, origin.system
    );
    if let Some(build) = &origin.second {
        // Writing to a text can't fail.
        let _ = write!(text, "\nEvery other worker was of another build: `{build}`.\n");
    }
    for section in sections {
        text.push_str(&one(section));
    }
    text.push_str(origin.simulation.as_deref().unwrap_or_default());
    text
}

fn one(section: &Section) -> String {
    let (findings, figures) = (&section.findings, &section.findings.figures);
    let plain = &figures.recovery_plain;
    let mut text = format!("\n## {}\n\n", section.setting);
    let states: Vec<String> =
        figures.states.iter().map(|(state, jobs)| format!("{} {state}", number(*jobs))).collect();
    // Writing to a text can't fail.
    let _ = write!(
        text,
        "{}{:.1} minutes of faults. {} jobs ended ({}); {} inserts were acknowledged as new, {} attempts were claimed, {} handlers began, {} times two \
         of one job at once; {} effects were committed with a completion, of {} handlers that tried, {} rows with an insert; {} follow-ups were added; a unique key was certainly held {} times; a reader of the feed was told {} state changes; {} records of stale holders and {} settlements after one that counted were refused; {} jobs of lost workers were checked to be taken up in time, {} of them by the bound without another fault of {} ms, and these took {} ms in the middle, {} ms as p99 and {} ms at most.\n\n",
        section.server.as_ref().map(|server| format!("{server}. ")).unwrap_or_default(),
        section.minutes,
        number(figures.jobs),
        states.join(", "),
        number(figures.acknowledged),
        number(figures.claims),
        number(figures.runs),
        number(figures.overlaps),
        number(figures.effects),
        number(figures.effect_runs),
        number(figures.rows),
        number(figures.follow_ups),
        number(figures.held),
        number(figures.told),
        number(figures.records_refused),
        number(figures.repeats_refused),
        number(figures.recoveries),
        number(figures.recoveries_plain),
        number(figures.recovery_bound / 1_000),
        ms(plain, 50),
        ms(plain, 99),
        ms(plain, 100),
    );
    for error in &section.errors {
        let _ = write!(text, "**Not to the end:** {error}.\n\n");
    }
    if section.good() {
        text.push_str("Every rule holds.");
    } else if findings.hold() {
        text.push_str("No rule is broken by what was checked.");
    } else {
        text.push_str("**Rules are broken:**\n\n");
        for (rule, count) in &findings.broken {
            let _ = writeln!(text, "- {rule:?}: {count}");
        }
        text.push('\n');
        for violation in &findings.violations {
            let job = violation.job.map(|job| format!(" job {job}:")).unwrap_or_default();
            let _ = writeln!(text, "- {:?}:{job} {}", violation.rule, violation.text);
        }
    }
    if figures.second > 0 {
        let _ = write!(text, " {} handlers began in another build.", number(figures.second));
    }
    if findings.lost_as_allowed > 0 {
        let _ = write!(
            text,
            " {} acknowledged jobs were lost where the guarantees allow it.",
            number(findings.lost_as_allowed)
        );
    }
    if figures.reissued > 0 {
        let _ = write!(
            text,
            " {} epochs were given to two claims, which only the claim id tells apart.",
            number(figures.reissued)
        );
    }
    if figures.undone > 0 {
        let _ = write!(
            text,
            " {} ends of jobs that were acknowledged were undone, as is allowed there.",
            number(figures.undone)
        );
    }
    text.push_str("\n\n");
    text.push_str(HEAD);
    for (name, of) in &figures.faults {
        text.push_str(&row(name, of, figures.ledger));
    }
    text.push_str(&row("**all**", &figures.all(), figures.ledger));
    if let Some(table) = soak::table(&figures.samples) {
        text.push_str(&table);
    }
    if !section.left_out.is_empty() {
        text.push_str("\nFaults that could not be made:\n\n");
        for fault in &section.left_out {
            let _ = writeln!(text, "- {fault}");
        }
    }
    if !section.missing.is_empty() {
        let _ = writeln!(text, "\nNo time for, or met nothing: {}.", section.missing.join(", "));
    }
    if !section.dropped.is_empty() {
        text.push_str("\nReplies that were dropped after the commit, by what they said:\n\n");
        for (name, count) in &section.dropped {
            let _ = writeln!(text, "- {count} of `{}`", name.replace('`', "'"));
        }
    }
    text.push('\n');
    for (name, _) in plot::of(section) {
        let _ = writeln!(text, "![{}]({name})", section.setting);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_link_to_the_method_leads_there_from_any_folder() {
        let origin = Origin {
            command: String::new(),
            seed: 1,
            commit: None,
            system: String::new(),
            second: None,
            simulation: None,
        };
        let text = of(&[], &origin);
        let link = text.split("](").nth(1).and_then(|rest| rest.split(')').next()).unwrap();
        assert!(link.starts_with("https://"), "{link}");
        let root = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
        let path = link.rsplit_once("/main/").unwrap().1;
        assert!(std::path::Path::new(root).join(path).exists(), "{path}");
    }
}
