//! Runs workloads, interleaved: each round has a run of every contestant in every configuration.

use std::collections::HashMap;

use windlass_bench_contestant::{Figures, Run, Workload};

use crate::contestants::{Contestant, WINDLASS, is_peer};
use crate::output::Output;
use crate::place::{Database, Place};
use crate::process::{Outcome, measured, plain};
use crate::report::{Report, Row};
use crate::sizes::Sizes;
use crate::works::{self, Who, Work};
use crate::{Error, Result};

/// Names of configurations.
pub const DEFAULT: &str = "default";
pub const TUNED: &str = "tuned";
pub const KEEPS_NOTHING: &str = "keeps nothing";
/// Jobs per second at half load, at least: also where hardly any ran while the rate was measured.
const LEAST_PACE: f64 = 100.0;
/// How long a fill may take, and how long that of a peer does: a slow one gets a smaller backlog.
const FILL: f64 = 600.0;
const FILL_OF_PEERS: f64 = 3.0;

/// What a run of the bench program has.
pub struct Runner {
    pub backend: String,
    pub place: Place,
    pub sizes: Sizes,
    pub works: Vec<Work>,
    pub contestants: Vec<Contestant>,
    pub only: Option<String>,
    pub report: Report,
    pub output: Output,
    /// The first failure of our own: the rest is measured all the same.
    pub failed: Option<Error>,
    /// Half of the steady rate of a system in a configuration, or why it could not be measured.
    pub paces: HashMap<(String, String), Result<f64, String>>,
}

/// The values of a column over the rounds.
type Values = Vec<Vec<f64>>;

impl Runner {
    /// Whether a workload of that name is to be run.
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|text| name.contains(text.as_str()))
    }

    /// A run failed. What it would have shown is unsound, and one of our own is told at the end, too.
    pub fn fail(&mut self, workload: &str, system: (&str, &str), error: Error) {
        self.report.failure(&self.backend, workload, system, &error.to_string());
        if !is_peer(system.0) && self.failed.is_none() {
            self.failed = Some(format!("{workload} of {}, {}: {error}", system.0, system.1).into());
        }
    }

    /// Writes what is known by now.
    pub fn save(&self) -> Result<()> {
        self.output.write(&self.report)
    }

    /// Does all workloads.
    pub async fn works(&mut self) -> Result<()> {
        for work in std::mem::take(&mut self.works) {
            if self.wants(&work.name) {
                self.work(&work).await;
                self.save()?;
            }
        }
        Ok(())
    }

    /// Does a workload with everybody who can.
    async fn work(&mut self, work: &Work) {
        eprintln!("{}: {}", self.backend, work.name);
        let contestants = std::mem::take(&mut self.contestants);
        let mut runs: Vec<_> = contestants
            .iter()
            .filter(|c| match work.who {
                Who::Bulk => c.description.bulk,
                Who::Queues => c.description.queues,
                Who::Windlass => c.name == WINDLASS,
                Who::All | Who::BestOfPeers => true,
            })
            .flat_map(|c| {
                c.configs(matches!(work.who, Who::BestOfPeers | Who::Queues))
                    .iter()
                    .map(move |x| (c, x))
            })
            .filter(|(c, (config, _))| c.name != WINDLASS || work.ours.contains(&config.as_str()))
            .map(|(c, (config, largest))| {
                (c, config, *largest, vec![Vec::new(); work.columns.len()], Vec::new())
            })
            .collect();
        for _ in 0..self.sizes.rounds {
            for (contestant, config, largest, values, faults) in &mut runs {
                let ran = self.once(work, contestant, config, *largest).await;
                self.note(work, (contestant, config), ran, values, faults);
            }
        }
        for (contestant, config, largest, values, faults) in runs {
            let system = (contestant.name.as_str(), config.as_str());
            self.rows(work, system, values);
            self.report.faults(&self.backend, &work.name, system, &faults);
            if let Some(most) = largest.filter(|most| *most < work.fill) {
                self.report.remark(&work.name, system, &format!("with a backlog of only {most}"));
            }
        }
        self.contestants = contestants;
    }

    /// Keeps what a run found.
    fn note(
        &mut self,
        work: &Work,
        (contestant, config): (&Contestant, &str),
        ran: Result<Outcome>,
        values: &mut Values,
        faults: &mut Vec<Figures>,
    ) {
        let system = (contestant.name.as_str(), config);
        match ran {
            Ok(outcome) => {
                if let Err(error) = check(contestant, &outcome.figures) {
                    self.fail(&work.name, system, error);
                }
                for (column, values) in work.columns.iter().zip(values) {
                    values.extend((column.values)(&outcome));
                }
                faults.push(outcome.figures);
            }
            Err(error) => self.fail(&work.name, system, error),
        }
    }

    fn rows(&mut self, work: &Work, system: (&str, &str), values: Values) {
        for (column, values) in work.columns.iter().zip(values) {
            let name = format!("{}{}", work.name, column.name);
            self.report.add(Row::new(&self.backend, &name, system, column.unit, values));
        }
    }

    /// One run on a fresh database.
    async fn once(
        &mut self,
        work: &Work,
        contestant: &Contestant,
        config: &str,
        largest: Option<u64>,
    ) -> Result<Outcome> {
        let mut run = Run { config: config.to_owned(), ..work.run.clone() };
        if run.workload == Workload::Load {
            run.rate = self.pace(contestant, config).await?;
        }
        let fill = work.fill.min(largest.unwrap_or(u64::MAX));
        if work.fill > 0 {
            run.jobs = fill;
        }
        let database = self.place.create().await?;
        let ran = self.on(&database, contestant, run, fill, work.remote).await;
        self.place.remove(database).await?;
        let ran = ran?;
        if ran.filled < fill {
            let text = format!("its backlog was what it enqueued in {FILL_OF_PEERS} s");
            self.report.remark(&work.name, (&contestant.name, config), &text);
        }
        Ok(ran)
    }

    async fn on(
        &self,
        database: &Database,
        contestant: &Contestant,
        mut run: Run,
        fill: u64,
        remote: bool,
    ) -> Result<Outcome> {
        run.url.clone_from(&database.url);
        if fill > 0 {
            run.jobs = self.fill(database, contestant, &run, fill).await?;
        }
        let place = &self.place;
        let between = async {
            if remote {
                let pace = Run { workload: Workload::Pace, concurrency: 0, ..run.clone() };
                plain(contestant, &pace, place, database).await?;
            }
            Ok(())
        };
        let ran = measured(contestant, &run, place, database, between).await?;
        Ok(Outcome { filled: if fill > 0 { run.jobs } else { 0 }, ..ran })
    }

    /// Enqueues jobs for a run, in a process of their own. Answers how many.
    pub async fn fill(
        &self,
        database: &Database,
        contestant: &Contestant,
        run: &Run,
        jobs: u64,
    ) -> Result<u64> {
        let seconds = if contestant.is_peer() { FILL_OF_PEERS } else { FILL };
        let fill = Run { workload: Workload::Fill, jobs, seconds, ..run.clone() };
        let filled = plain(contestant, &fill, &self.place, database).await?.jobs;
        if filled < jobs && !contestant.is_peer() {
            return Err(format!("{filled} of {jobs} jobs were enqueued in {seconds} s").into());
        }
        Ok(filled)
    }

    /// Half of what a contestant keeps up with, measured once.
    async fn pace(&mut self, contestant: &Contestant, config: &str) -> Result<f64> {
        let key = (contestant.name.clone(), config.to_owned());
        if let Some(pace) = self.paces.get(&key) {
            return pace.clone().map_err(Into::into);
        }
        let run = Run { config: config.to_owned(), ..works::calibration(&self.sizes) };
        let database = self.place.create().await?;
        let ran = self.on(&database, contestant, run, 0, false).await;
        self.place.remove(database).await?;
        let half = |ran: Outcome| (ran.figures.rate.unwrap_or_default() / 2.0).max(LEAST_PACE);
        let pace = ran.map(half).map_err(|e| format!("its pace could not be measured: {e}"));
        self.paces.insert(key, pace.clone());
        Ok(pace?)
    }
}

/// What may happen to a peer is a bug in our own.
pub fn check(contestant: &Contestant, figures: &Figures) -> Result<()> {
    let Figures { lost, repeated, .. } = figures;
    if !contestant.is_peer() && lost + repeated > 0 {
        return Err(format!("{lost} jobs were lost, and {repeated} repeated").into());
    }
    Ok(())
}
