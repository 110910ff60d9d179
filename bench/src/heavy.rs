//! Whether a large backlog or a large history makes claims slow. Windlass and the raw loop only; filled once, and used by all rounds.

use windlass_bench_contestant::{Run, Workload};

use crate::Result;
use crate::contestants::{Contestant, RAW, WINDLASS};
use crate::process::{Outcome, measured};
use crate::report::{RATE, Row};
use crate::runner::{DEFAULT, Runner, check};
use crate::sizes::Sizes;

/// Each of the workloads is found by a part of it.
const NAME: &str = "claim rate, waiting, finished, memory with many waiting";
const CONCURRENCY: usize = 100;
/// How long anything here may take.
const LIMIT: f64 = 600.0;
/// Part of a small backlog that is run: the end of it is not of a full claim.
const MOST: f64 = 0.8;

/// Values of one system in each kind of place.
#[derive(Default)]
struct Found {
    few_waiting: Vec<f64>,
    many_waiting: Vec<f64>,
    peak: Vec<f64>,
    none_finished: Vec<f64>,
    many_finished: Vec<f64>,
}

/// The rows of all workloads here.
pub async fn run(runner: &mut Runner) -> Result<()> {
    if !runner.wants(NAME) {
        return Ok(());
    }
    let contestants = std::mem::take(&mut runner.contestants);
    for contestant in contestants.iter().filter(|c| [WINDLASS, RAW].contains(&c.name.as_str())) {
        eprintln!("{}: a large backlog and a large history of {}", runner.backend, contestant.name);
        let mut found = Found::default();
        let ran = one(runner, contestant, &mut found).await;
        rows(runner, &contestant.name, found);
        if let Err(error) = ran {
            // What its earlier runs found is in the rows of these workloads.
            for name in Names::new(&runner.sizes).all() {
                runner.fail(&name, (&contestant.name, DEFAULT), error.to_string().into());
            }
        }
        runner.save()?;
    }
    runner.contestants = contestants;
    Ok(())
}

/// Names of the workloads.
struct Names {
    few_waiting: String,
    many_waiting: String,
    peak: String,
    none_finished: String,
    many_finished: String,
}

impl Names {
    fn new(sizes: &Sizes) -> Self {
        let (part, large) = (count(sizes.part), count(sizes.large));
        Self {
            few_waiting: format!("claim rate with {part} waiting"),
            many_waiting: format!("claim rate with {large} waiting"),
            peak: format!("most memory of a worker with {large} waiting"),
            none_finished: format!("drain of {part} with none finished"),
            many_finished: format!("drain of {part} with {large} finished"),
        }
    }

    fn all(self) -> [String; 5] {
        let Self { few_waiting, many_waiting, peak, none_finished, many_finished } = self;
        [few_waiting, many_waiting, peak, none_finished, many_finished]
    }
}

fn rows(runner: &mut Runner, system: &str, found: Found) {
    let names = Names::new(&runner.sizes);
    for (name, unit, values) in [
        (names.few_waiting, RATE, found.few_waiting),
        (names.many_waiting, RATE, found.many_waiting),
        (names.peak, "MB", found.peak),
        (names.none_finished, RATE, found.none_finished),
        (names.many_finished, RATE, found.many_finished),
    ] {
        let row = Row::new(&runner.backend, &name, (system, DEFAULT), unit, values);
        runner.report.add(row);
    }
}

/// Adds how rates with much compare to those with little.
pub fn compare(runner: &mut Runner) {
    let (names, large) = (Names::new(&runner.sizes), count(runner.sizes.large));
    let report = &mut runner.report;
    let waiting = format!("claim rate, {large} waiting to few");
    report.compare(&waiting, &names.many_waiting, &names.few_waiting);
    let finished = format!("drain, {large} finished to none");
    report.compare(&finished, &names.many_finished, &names.none_finished);
}

/// A number with its thousands apart.
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

async fn one(runner: &Runner, contestant: &Contestant, found: &mut Found) -> Result<()> {
    let (part, large) = (runner.sizes.part, runner.sizes.large);
    let claimed = (part as f64 * MOST) as u64;
    for _ in 0..runner.sizes.rounds {
        let database = runner.place.create().await?;
        let run = drain(&database.url, part);
        runner.fill(&database, contestant, &run, part).await?;
        let run = Run { stop_at: Some(claimed), ..run };
        found.few_waiting.extend(go(runner, contestant, &run, &database).await?.figures.rate);
        runner.place.remove(database).await?;

        let database = runner.place.create().await?;
        let run = drain(&database.url, part);
        runner.fill(&database, contestant, &run, part).await?;
        found.none_finished.extend(go(runner, contestant, &run, &database).await?.figures.rate);
        runner.place.remove(database).await?;
    }
    let database = runner.place.create().await?;
    let all = drain(&database.url, large);
    runner.fill(&database, contestant, &all, large).await?;
    for _ in 0..runner.sizes.rounds {
        let run = Run { stop_at: Some(claimed), ..all.clone() };
        let outcome = go(runner, contestant, &run, &database).await?;
        found.many_waiting.extend(outcome.figures.rate);
        found.peak.push(outcome.usage.peak / 1e6);
    }
    // The rest becomes the history. What ran above is missing here, so that nothing is checked.
    measured(contestant, &all, &runner.place, &database, async { Ok(()) }).await?;
    for round in 0..runner.sizes.rounds as u64 {
        let run = Run { first: large + round * part, ..drain(&database.url, part) };
        runner.fill(&database, contestant, &run, part).await?;
        found.many_finished.extend(go(runner, contestant, &run, &database).await?.figures.rate);
    }
    runner.place.remove(database).await
}

fn drain(url: &str, jobs: u64) -> Run {
    let base = Run::new(url, "default", Workload::Drain);
    Run { jobs, concurrency: CONCURRENCY, seconds: LIMIT, ..base }
}

async fn go(
    runner: &Runner,
    contestant: &Contestant,
    run: &Run,
    database: &crate::place::Database,
) -> Result<Outcome> {
    let outcome = measured(contestant, run, &runner.place, database, async { Ok(()) }).await?;
    check(contestant, &outcome.figures)
        .map_err(|e| format!("a drain of {}: {e}", contestant.name))?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        let texts: Vec<String> = [0, 999, 1_000, 1_234_567].into_iter().map(count).collect();
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
