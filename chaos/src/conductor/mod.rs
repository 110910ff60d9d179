//! The conductor: starts servers and processes, applies the plan of faults, heals everything, and gathers the evidence.

pub mod follow;
mod gather;
pub mod network;
pub mod place;
pub mod plan;
pub mod postgres;
pub mod processes;
pub mod redis;
pub mod sqlite;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use follow::Follower;
use place::Place;
pub use place::{Backend, Setting};
use plan::{FaultKind, Plan};
use processes::{Launch, Processes, Role};

use windlass_test_servers::clock_ahead;

use crate::Result;
use crate::checker::{Evidence, Findings, check};
use crate::history::{self, History, What};
use crate::task::LEASE;

const HOUR: Duration = Duration::from_secs(3_600);
const WORKERS: usize = 4;
const PRODUCERS: usize = 2;
/// How long everything may take to end once all is healed.
const DRAIN: Duration = Duration::from_secs(120);
/// Between two measurements of memory.
const MEASURE: Duration = Duration::from_secs(1);

/// How to run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long faults are injected.
    pub length: Duration,
    /// Where random choices begin.
    pub seed: u64,
    /// A folder for the evidence.
    pub folder: PathBuf,
    /// This program.
    pub program: PathBuf,
    /// Another build of it, for every other worker.
    pub second: Option<PathBuf>,
    /// Jobs per second.
    pub rate: f64,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was run.
    pub setting: Setting,
    /// How long faults were injected.
    pub length: Duration,
    /// What the checker finds.
    pub findings: Findings,
    /// Replies that were dropped, by what they said.
    pub dropped: BTreeMap<String, u64>,
}

/// Runs one setting.
pub async fn run(setting: Setting, settings: &Settings) -> Result<Outcome> {
    let histories = settings.folder.join("histories");
    std::fs::create_dir_all(&histories)?;
    let history = History::begin(&histories, "conductor")?;
    let mut place = Place::start(setting, &settings.folder).await?;
    let direct = gather::open(&place.direct()).await?;
    let launch = Launch {
        program: settings.program.clone(),
        second: settings.second.clone(),
        folder: settings.folder.clone(),
        url: place.url(),
        seed: settings.seed,
        rate: settings.rate / PRODUCERS as f64,
    };
    let processes = Processes::new(launch, history.clone());
    let mut run = Run { processes, history, number: 0, hours: 0, damage: Vec::new() };
    for (role, count) in [(Role::Worker, WORKERS), (Role::Producer, PRODUCERS)] {
        for _ in 0..count {
            run.processes.start(role, Vec::new())?;
        }
    }
    let follower = Follower::start(&place.url()).await?;
    let begun = Instant::now();
    let mut plan = Plan::new(run.faults(&place), settings.seed);
    // So that there is something to lose.
    run.quiet(Duration::from_secs(2)).await?;
    while begun.elapsed() < settings.length {
        let Some(kind) = plan.draw() else { break };
        run.strike(kind, &mut place, &mut plan).await?;
        let quiet = plan.quiet();
        run.quiet(quiet).await?;
    }
    run.damage.extend(run.processes.end(Role::Producer).await?);
    gather::drain(&direct, DRAIN).await?;
    run.damage.extend(run.processes.end(Role::Worker).await?);
    run.damage.extend(place.damage().await?);
    let (jobs, last) = gather::jobs(&direct).await?;
    let (told, wrong) = follower.end(last).await;
    run.damage.extend(wrong);
    let evidence = Evidence {
        entries: history::read(&histories)?,
        jobs,
        told: Some(told),
        steady: None,
        effects: direct.effects().await?,
        rows: direct.rows().await?,
        damage: run.damage,
        promises: setting.promises(),
    };
    gather::keep(&evidence, &settings.folder)?;
    let dropped = place.network().map(network::Network::dropped).unwrap_or_default();
    Ok(Outcome { setting, length: begun.elapsed(), findings: check(&evidence), dropped })
}

/// Checks the evidence of an earlier run again.
pub fn check_again(folder: &Path) -> Result<Findings> {
    Ok(check(&gather::kept(folder)?))
}

struct Run {
    processes: Processes,
    history: History,
    /// Of the last fault.
    number: u32,
    /// How far the clock of a process was set ahead.
    hours: u32,
    /// What is wrong with the database or the processes.
    damage: Vec<String>,
}

impl Run {
    fn faults(&self, place: &Place) -> Vec<FaultKind> {
        let mut faults = place.faults();
        // Where the clients' clocks are the database's.
        if matches!(place, Place::Sqlite(_)) {
            match clock_ahead(HOUR) {
                Ok(_) => faults.push(FaultKind::ClockOfProcess),
                Err(error) => eprintln!("no fault `clock of a process`: {error}"),
            }
        }
        faults
    }

    /// Lets time pass, and measures.
    async fn quiet(&mut self, length: Duration) -> Result<()> {
        let end = Instant::now() + length;
        loop {
            self.processes.measure();
            let ended = self.processes.ended()?;
            if !ended.is_empty() {
                self.damage.extend(ended);
                return Err(format!("a process is gone: {:?}", self.damage).into());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(MEASURE)).await;
        }
    }

    /// Begins a fault, holds it, and heals it.
    async fn strike(&mut self, kind: FaultKind, place: &mut Place, plan: &mut Plan) -> Result<()> {
        self.number += 1;
        let number = self.number;
        let workers = self.processes.names(Role::Worker);
        let victim = plan.one_of(&workers).cloned().filter(|_| kind.hits_worker());
        if kind == FaultKind::KilledInCommit || kind == FaultKind::AllKilled {
            // Before the fault is dated.
            in_commit(place).await?;
        }
        let fault = What::Fault { number, kind: kind.name().to_owned(), victim: victim.clone() };
        self.history.record(fault);
        let count = match (kind, victim) {
            (FaultKind::WorkerKilled | FaultKind::KilledInCommit, Some(victim)) => {
                let (role, env) = self.processes.kill(&victim).await?;
                self.processes.start(role, env)?;
                1
            }
            (FaultKind::WorkerStopped, Some(victim)) => {
                self.processes.stop(&victim)?;
                tokio::time::sleep(LEASE + plan.between(1.0, 4.0)).await;
                self.processes.go_on(&victim)?;
                1
            }
            (FaultKind::ProducerKilled, _) => {
                let producers = self.processes.names(Role::Producer);
                if let Some(victim) = plan.one_of(&producers) {
                    let (role, env) = self.processes.kill(victim).await?;
                    self.processes.start(role, env)?;
                }
                1
            }
            (FaultKind::AllKilled, _) => self.kill_all(workers, place).await?,
            (FaultKind::ClockOfProcess, _) => self.move_clock(plan).await?,
            (kind, _) => place.strike(kind, plan).await?,
        };
        self.history.record(What::Healed { number, count });
        Ok(())
    }

    /// Kills everything at once, looks whether the database is whole, and starts everything.
    async fn kill_all(&mut self, workers: Vec<String>, place: &Place) -> Result<u64> {
        let names = [workers, self.processes.names(Role::Producer)].concat();
        let roles = self.processes.kill_all(&names).await?;
        self.damage.extend(place.damage().await?);
        let count = roles.len() as u64;
        roles.into_iter().try_for_each(|role| self.processes.start(role, Vec::new()))?;
        Ok(count)
    }

    /// Puts a worker in the place of another; its clock is another hour ahead.
    async fn move_clock(&mut self, plan: &mut Plan) -> Result<u64> {
        let workers = self.processes.names(Role::Worker);
        let Some(victim) = plan.one_of(&workers) else { return Ok(0) };
        self.hours += 1;
        let env = clock_ahead(HOUR * self.hours)?;
        self.processes.kill(victim).await?;
        self.processes.start(Role::Worker, env)?;
        // Until it has written.
        self.quiet(Duration::from_secs(2)).await?;
        Ok(1)
    }
}

async fn in_commit(place: &Place) -> Result<()> {
    if let Place::Sqlite(place) = place
        && !place.in_commit().await?
    {
        eprintln!("nobody commits: a kill is not in the middle of anything");
    }
    Ok(())
}
