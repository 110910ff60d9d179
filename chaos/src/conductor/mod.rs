//! The conductor: starts servers and processes, applies the plan of faults, heals everything, and gathers the evidence.

mod aside;
pub mod follow;
mod gather;
mod met;
pub mod network;
pub mod place;
pub mod plan;
pub mod postgres;
pub mod processes;
pub mod redis;
mod run;
pub mod sqlite;
pub mod stop;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use windlass_checker::{Findings, Promises, check};
use windlass_test_servers::clock_ahead;

use aside::Aside;
use follow::Follower;
use place::Place;
pub use place::{Backend, Setting};
pub use plan::Length;
use plan::{FaultKind, Plan, Rest};
use processes::{Launch, Processes, Role};
use run::Run;
use stop::Stop;

use crate::Result;
use crate::history::History;
use crate::task::CALL;

const WORKERS: u32 = 4;
const PRODUCERS: u32 = 2;
/// A time in which each kind of fault has its turn, several times: one that met nothing in it is an error, and workers were lost in quiet.
pub const LONG: Duration = Duration::from_secs(600);

/// How to run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long faults are injected.
    pub length: Length,
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
    /// No fault hits one worker and one producer, and completed jobs are taken out of the store: what is needed over time tells of leaks.
    pub soak: bool,
    /// In rounds, faults that can't be made are no error.
    pub allow_left_out: bool,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What was run.
    pub setting: Setting,
    /// How long faults were injected.
    pub length: Duration,
    /// What the checker finds; nothing if it could not be asked.
    pub findings: Findings,
    /// What was run: the server and its version.
    pub server: Option<String>,
    /// Replies that were dropped, by what they said.
    pub dropped: BTreeMap<String, u64>,
    /// Faults that can't be made here, and why.
    pub left_out: Vec<String>,
    /// Faults for which there was no time, or that met nothing.
    pub missing: Vec<String>,
    /// Workers that were lost with quiet around them: some recoveries must have been checked.
    pub quiet_losses: u64,
    /// Of these, those whose recovery is judged by the bound of a quiet system.
    pub plain_losses: u64,
    /// Why the run is not what it should be: these are no findings.
    pub errors: Vec<String>,
}

impl Outcome {
    /// Nothing as yet.
    pub fn new(setting: Setting) -> Self {
        let (length, findings, dropped) = (Duration::ZERO, Findings::default(), BTreeMap::new());
        let (left_out, missing, errors) = (Vec::new(), Vec::new(), Vec::new());
        let (quiet_losses, plain_losses) = (0, 0);
        Self {
            setting,
            length,
            findings,
            server: None,
            dropped,
            left_out,
            missing,
            quiet_losses,
            plain_losses,
            errors,
        }
    }

    /// What the plan knows of the faults that were made.
    fn note(&mut self, plan: &Plan, promises: &Promises) {
        self.missing = plan.missing().iter().map(|kind| kind.name().to_owned()).collect();
        let [killed, stopped] =
            [FaultKind::WorkerKilled, FaultKind::WorkerStopped].map(|kind| plan.quiet_losses(kind));
        self.quiet_losses = killed + stopped;
        // One that is stopped holds all up where it may have the one lock that they need.
        self.plain_losses = if promises.one_writer { killed } else { killed + stopped };
    }

    /// Faults that were not made, where each must be. Less is too little in rounds, which have no other end; in a time that was long enough, too.
    fn not_made(&self, settings: &Settings) -> Vec<String> {
        let mut errors = Vec::new();
        let rounds = matches!(settings.length, Length::Rounds(_));
        if rounds && !settings.allow_left_out && !self.left_out.is_empty() {
            let left_out = self.left_out.join("; ");
            errors.push(format!(
                "faults can't be made here, which rounds without --allow-left-out must have: {left_out}"
            ));
        }
        if (rounds || self.length >= LONG) && !self.missing.is_empty() {
            errors.push(format!("faults met nothing: {}", self.missing.join(", ")));
        }
        errors
    }
}

/// Starts what a setting needs, and ends it: whether that can be is known before hours are spent.
pub async fn try_out(setting: Setting, folder: &Path) -> Result<()> {
    Place::start(setting, folder).await?;
    Ok(())
}

/// Runs one setting. Whatever fails, what was recorded until then is checked if it can be, and told.
pub async fn run(setting: Setting, settings: &Settings, stop: &Stop) -> Outcome {
    let mut outcome = Outcome::new(setting);
    if let Err(error) = attempt(settings, stop, &mut outcome).await {
        outcome.errors.push(error.to_string());
    }
    outcome
}

async fn attempt(settings: &Settings, stop: &Stop, outcome: &mut Outcome) -> Result<()> {
    let promises = outcome.setting.promises();
    let place = Place::start(outcome.setting, &settings.folder).await?;
    let kinds = kinds(&place, settings.soak, &mut outcome.left_out);
    let rest = Rest { before: CALL, after: Duration::from_micros(promises.recovery) };
    let plan = Plan::new(kinds, place.quiet(), rest, settings.seed);
    let mut plan = if matches!(settings.length, Length::Rounds(_)) { plan.brief() } else { plan };
    let mut run = start(place, settings).await?;
    outcome.server = Some(run.server().await?);
    let begun = Instant::now();
    let struck = run.faults(&mut plan, settings.length, stop).await;
    outcome.length = begun.elapsed();
    outcome.note(&plan, &promises);
    if stop.asked() {
        outcome.errors.push("it was told to end before its time".to_owned());
    } else {
        outcome.errors.extend(outcome.not_made(settings));
    }
    if let Err(error) = struck {
        outcome.errors.push(format!("the faults ended early: {error}"));
        run.heal().await?;
    }
    let evidence = run.gather(promises).await?;
    outcome.dropped = run.place.network().map(network::Network::dropped).unwrap_or_default();
    // Servers and small disks need memory, and so does the checker.
    drop(run);
    outcome.findings = check(&evidence);
    Ok(())
}

fn kinds(place: &Place, soak: bool, left_out: &mut Vec<String>) -> Vec<FaultKind> {
    let mut kinds = place.faults();
    left_out.extend(place.left_out().iter().cloned());
    // Where the clients' clocks are the database's.
    if matches!(place, Place::Sqlite(_)) {
        match clock_ahead(Duration::from_secs(1)) {
            Ok(_) => kinds.push(FaultKind::ClockOfProcess),
            Err(error) => left_out.push(format!("clock of a process: {error}")),
        }
    }
    kinds.retain(|kind| !soak || in_soak(*kind));
    kinds
}

/// Whether a fault is made in a soak. Where some processes are never killed, all are not; and what was written under a clock that is ahead is kept for longer
/// by as much, as jobs and entries of the feed are kept by their times.
fn in_soak(kind: FaultKind) -> bool {
    use FaultKind::{AllKilled, ClockOfProcess, ClockOfServer};
    !matches!(kind, AllKilled | ClockOfProcess | ClockOfServer)
}

/// Starts the processes at a place.
async fn start(place: Place, settings: &Settings) -> Result<Run> {
    let histories = settings.folder.join("histories");
    std::fs::create_dir_all(&histories)?;
    let history = History::begin(&histories, "conductor")?;
    let direct = gather::open(&place.direct()).await?;
    let launch = Launch {
        program: settings.program.clone(),
        second: settings.second.clone(),
        folder: settings.folder.clone(),
        url: place.url(),
        seed: settings.seed,
        rate: settings.rate / f64::from(PRODUCERS),
    };
    let mut processes = Processes::new(launch, history.clone());
    for (role, count) in [(Role::Worker, WORKERS), (Role::Producer, PRODUCERS)] {
        for _ in 0..count {
            processes.start(role, Vec::new())?;
        }
        if settings.soak {
            processes.spare_one(role);
        }
    }
    let follower = Follower::start(&place.url()).await?;
    let (number, hours, damage) = (0, 0, Vec::new());
    let (folder, aside) = (settings.folder.clone(), settings.soak.then(Aside::default));
    Ok(Run { folder, place, processes, history, direct, follower, aside, number, hours, damage })
}

/// Checks the evidence of an earlier run again.
pub fn check_again(folder: &Path) -> Result<Findings> {
    Ok(check(&gather::kept(folder)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(length: Length) -> Settings {
        Settings {
            length,
            seed: 1,
            folder: PathBuf::new(),
            program: PathBuf::new(),
            second: None,
            rate: 60.0,
            soak: false,
            allow_left_out: false,
        }
    }

    #[tokio::test]
    async fn a_soak_moves_no_clock_and_kills_not_all_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::start(Setting::Sqlite, folder.path()).await.unwrap();
        let names = |soak| {
            let kinds = kinds(&place, soak, &mut Vec::new());
            kinds.into_iter().map(FaultKind::name).collect::<Vec<_>>()
        };
        let (usual, soak) = (names(false), names(true));
        let left: Vec<_> = usual.into_iter().filter(|kind| !soak.contains(kind)).collect();
        assert_eq!(left, ["all killed in mid-commit", "clock of a process"]);
    }

    #[test]
    fn what_can_not_be_made_is_an_error_in_rounds_unless_that_is_allowed() {
        let mut outcome = Outcome::new(Setting::Sqlite);
        outcome.left_out.push("disk full: only root can mount".to_owned());
        let mut rounds = settings(Length::Rounds(1));
        assert_eq!(outcome.not_made(&rounds).len(), 1);
        rounds.allow_left_out = true;
        assert!(outcome.not_made(&rounds).is_empty());
        // Whoever is not root can run for a time.
        outcome.length = LONG;
        assert!(outcome.not_made(&settings(Length::Time(LONG))).is_empty());
    }

    #[test]
    fn what_met_nothing_is_an_error_in_rounds_and_in_a_long_time() {
        let mut outcome = Outcome::new(Setting::Sqlite);
        outcome.missing.push("disk full".to_owned());
        assert_eq!(outcome.not_made(&settings(Length::Rounds(1))).len(), 1);
        let time = settings(Length::Time(LONG));
        assert!(outcome.not_made(&time).is_empty());
        outcome.length = LONG;
        assert_eq!(outcome.not_made(&time).len(), 1);
    }

    #[test]
    fn a_worker_that_is_stopped_in_quiet_is_judged_plainly_where_no_lock_is_shared() {
        let rest = Rest::default();
        let kinds = vec![FaultKind::WorkerStopped];
        let mut plan = Plan::new(kinds, (1.0, 1.0), rest, 1);
        plan.rest(FaultKind::WorkerStopped);
        plan.made(FaultKind::WorkerStopped, 1, Length::Rounds(1));
        for (setting, plain) in [(Setting::Sqlite, 0), (Setting::Postgres, 1)] {
            let mut outcome = Outcome::new(setting);
            outcome.note(&plan, &setting.promises());
            assert_eq!((outcome.quiet_losses, outcome.plain_losses), (1, plain));
        }
    }
}
