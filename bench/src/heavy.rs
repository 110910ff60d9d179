//! Whether a large backlog or a large history makes claims slow. Windlass and the raw loop only; filled once, and used by all rounds.

use windlass_bench_contestant::{Run, Workload};

use crate::contestants::{Contestant, RAW, WINDLASS};
use crate::place::Database;
use crate::process::{Outcome, measured};
use crate::report::{RATE, Row};
use crate::runner::{DEFAULT, Runner, check};
use crate::sizes::Sizes;
use crate::{Error, Result};

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

/// What is done with each in turn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    /// Makes the large backlog.
    Fill,
    FewWaiting,
    ManyWaiting,
    /// Makes the large history of the backlog.
    Finish,
    NoneFinished,
    /// In a round of that number.
    ManyFinished(u64),
}

/// A system, and what is known of it.
struct Heavy<'a> {
    contestant: &'a Contestant,
    found: Found,
    /// Its large database. What can't have one takes part in nothing more.
    large: Option<Database>,
    failed: Option<Error>,
}

/// The rows of all workloads here.
pub async fn run(runner: &mut Runner) -> Result<()> {
    if !runner.wants(NAME) {
        return Ok(());
    }
    eprintln!("{}: a large backlog and a large history", runner.backend);
    let contestants = std::mem::take(&mut runner.contestants);
    let mut all: Vec<Heavy> = contestants
        .iter()
        .filter(|c| [WINDLASS, RAW].contains(&c.name.as_str()))
        .map(|contestant| Heavy { contestant, found: Found::default(), large: None, failed: None })
        .collect();
    for step in steps(runner.sizes.rounds as u64) {
        for heavy in all.iter_mut().filter(|heavy| heavy.failed.is_none()) {
            heavy.failed = heavy.step(runner, step).await.err();
        }
    }
    for Heavy { contestant, found, large, failed } in all {
        rows(runner, &contestant.name, found);
        if let Some(error) = failed {
            // What its earlier runs found is in the rows of these workloads.
            for name in Names::new(&runner.sizes).all() {
                runner.fail(&name, (&contestant.name, DEFAULT), error.to_string().into());
            }
        }
        if let Some(database) = large {
            runner.place.remove(database).await?;
        }
    }
    runner.contestants = contestants;
    runner.save()
}

/// Little and much take turns, too.
fn steps(rounds: u64) -> Vec<Step> {
    let mut steps = vec![Step::Fill];
    (0..rounds).for_each(|_| steps.extend([Step::FewWaiting, Step::ManyWaiting]));
    steps.push(Step::Finish);
    (0..rounds).for_each(|round| steps.extend([Step::NoneFinished, Step::ManyFinished(round)]));
    steps
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

impl Heavy<'_> {
    async fn step(&mut self, runner: &Runner, step: Step) -> Result<()> {
        let (part, large) = (runner.sizes.part, runner.sizes.large);
        let some = |run: Run| Run { stop_at: Some((part as f64 * MOST) as u64), ..run };
        match step {
            Step::Fill => {
                let database = self.large.insert(runner.place.create().await?);
                let all = drain(&database.url, large);
                runner.fill(database, self.contestant, &all, large).await?;
            }
            Step::FewWaiting => {
                self.found.few_waiting.extend(self.small(runner, some).await?);
            }
            Step::ManyWaiting => {
                let database = self.large.as_ref().ok_or("no large database")?;
                let outcome = self.go(runner, &some(drain(&database.url, large)), database).await?;
                self.found.many_waiting.extend(outcome.figures.rate);
                self.found.peak.push(outcome.usage.peak / 1e6);
            }
            Step::Finish => {
                let database = self.large.as_ref().ok_or("no large database")?;
                let all = drain(&database.url, large);
                // What ran before is missing here, so that nothing is checked.
                let between = async { Ok(()) };
                measured(self.contestant, &all, &runner.place, database, between).await?;
            }
            Step::NoneFinished => {
                self.found.none_finished.extend(self.small(runner, |run| run).await?);
            }
            Step::ManyFinished(round) => {
                let database = self.large.as_ref().ok_or("no large database")?;
                let run = Run { first: large + round * part, ..drain(&database.url, part) };
                runner.fill(database, self.contestant, &run, part).await?;
                let outcome = self.go(runner, &run, database).await?;
                self.found.many_finished.extend(outcome.figures.rate);
            }
        }
        Ok(())
    }

    /// The rate in a small database of its own.
    async fn small(&self, runner: &Runner, change: impl Fn(Run) -> Run) -> Result<Option<f64>> {
        let database = runner.place.create().await?;
        let run = drain(&database.url, runner.sizes.part);
        let ran = async {
            runner.fill(&database, self.contestant, &run, run.jobs).await?;
            self.go(runner, &change(run), &database).await
        };
        let ran = ran.await;
        runner.place.remove(database).await?;
        Ok(ran?.figures.rate)
    }

    async fn go(&self, runner: &Runner, run: &Run, database: &Database) -> Result<Outcome> {
        let between = async { Ok(()) };
        let outcome = measured(self.contestant, run, &runner.place, database, between).await?;
        check(self.contestant, &outcome.figures)
            .map_err(|e| format!("a drain of {}: {e}", self.contestant.name))?;
        Ok(outcome)
    }
}

fn drain(url: &str, jobs: u64) -> Run {
    let base = Run::new(url, "default", Workload::Drain);
    Run { jobs, concurrency: CONCURRENCY, seconds: LIMIT, ..base }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_and_much_take_turns_in_each_round() {
        use Step::{FewWaiting, Fill, Finish, ManyFinished, ManyWaiting, NoneFinished};
        let waiting = [Fill, FewWaiting, ManyWaiting, FewWaiting, ManyWaiting];
        let finished = [Finish, NoneFinished, ManyFinished(0), NoneFinished, ManyFinished(1)];
        assert_eq!(steps(2), [waiting, finished].concat());
    }

    #[test]
    fn thousands_are_apart() {
        let texts: Vec<String> = [0, 999, 1_000, 1_234_567].into_iter().map(count).collect();
        assert_eq!(texts, ["0", "999", "1,000", "1,234,567"]);
    }
}
