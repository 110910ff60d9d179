//! `windlass-chaos`: see the library, and `docs/evidence.md`.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum as _};
use windlass_chaos::conductor::stop::Stop;
use windlass_chaos::conductor::{self, Backend, Length, Setting, Settings};
use windlass_chaos::report::{self, Origin, Section};
use windlass_chaos::task::Task;
use windlass_chaos::{Result, producer, worker};

/// The exit code if something could not be run, or not to its end.
const INCOMPLETE: u8 = 2;

/// Puts Windlass under real faults on real servers, and checks what was recorded.
///
/// Ends with 0 if every rule holds, with 1 if one is broken, and with 2 if something could not be run, or not to its end: the report tells
/// what was found until then.
#[derive(Debug, Parser)]
struct Options {
    #[command(subcommand)]
    role: Option<Role>,
    /// For how long faults are injected into each backend.
    #[arg(long, default_value_t = 2.0, value_parser = minutes)]
    minutes: f64,
    /// Instead, each setting goes on until each of its faults was injected so often; it is an error if one of them met nothing in one of the rounds, or can't be made.
    #[arg(long, conflicts_with_all = ["minutes", "soak"], value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// In rounds, a fault that can't be made here is told, and no error.
    #[arg(long)]
    allow_left_out: bool,
    /// Only this backend; all by default.
    #[arg(long)]
    backend: Option<Backend>,
    /// Only this setting of a backend, for all of the time.
    #[arg(long, conflicts_with = "backend")]
    setting: Option<Setting>,
    /// No fault hits one worker and one producer, and the report compares the first quarter with the last. Redis is run in one setting.
    #[arg(long)]
    soak: bool,
    /// Where random choices begin; drawn by default, and printed.
    #[arg(long)]
    seed: Option<u64>,
    /// A folder for the report.
    #[arg(long, default_value = "target/chaos")]
    out: PathBuf,
    /// Jobs per second.
    #[arg(long, default_value_t = 60.0, value_parser = above_zero)]
    rate: f64,
    /// Another build of this program, such as of an earlier version of the library: every other worker is one of it.
    #[arg(long)]
    second_build: Option<PathBuf>,
    /// Of which commit that is; scripts/chaos builds it.
    #[arg(long, requires = "second_build")]
    earlier: Option<String>,
    /// Keeps the evidence also of runs in which every rule holds.
    #[arg(long)]
    keep: bool,
    /// What the simulation wrote (`windlass-model --report`), for the report.
    #[arg(long)]
    simulation: Option<PathBuf>,
    /// With which code the simulation ended: 0 if all was well, 1 if a rule was broken.
    #[arg(long, default_value_t = 0)]
    simulation_ended: u8,
    /// For scripts/chaos: the simulation was told to end, and so is all that would follow.
    #[arg(long, hide = true)]
    told_to_end: bool,
    /// For scripts/chaos: runs nothing, and tells the backends of which servers would be needed.
    #[arg(long, hide = true)]
    only_check: bool,
}

fn above_zero(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "it is no number".to_owned())?;
    if number.is_finite() && number > 0.0 {
        Ok(number)
    } else {
        Err("it must be above 0".to_owned())
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = above_zero(text)?;
    let length = Duration::try_from_secs_f64(minutes * 60.0);
    length.map(|_| minutes).map_err(|_| "it is too long".to_owned())
}

impl Options {
    /// What is run, and which part of the time each has.
    fn settings(&self) -> Vec<(Setting, f64)> {
        if let Some(setting) = self.setting {
            return vec![(setting, 1.0)];
        }
        let all = [Backend::Sqlite, Backend::Postgres, Backend::Redis];
        let those = all.into_iter().filter(|one| self.backend.is_none_or(|only| only == *one));
        those
            .flat_map(|backend| match backend.settings() {
                [(first, _), ..] if self.soak => vec![(*first, 1.0)],
                settings => settings.to_vec(),
            })
            .collect()
    }

    /// How to run a setting again, or all.
    fn command(&self, seed: u64, only: Option<Setting>) -> String {
        let mut words = vec!["scripts/chaos".to_owned()];
        match (self.setting, self.backend.or(only.map(Setting::backend))) {
            (Some(setting), _) => {
                let name = setting.to_possible_value().map(|value| value.get_name().to_owned());
                words.extend(["--setting".to_owned(), name.unwrap_or_default()]);
            }
            (None, Some(backend)) => words.push(format!("--backend {}", backend.name())),
            (None, None) => {}
        }
        words.push(match self.rounds {
            Some(rounds) => format!("--rounds {rounds}"),
            None => format!("--minutes {}", self.minutes),
        });
        words.extend(self.allow_left_out.then(|| "--allow-left-out".to_owned()));
        words.push(format!("--seed {seed} --rate {}", self.rate));
        words.extend(self.soak.then(|| "--soak".to_owned()));
        words.extend(match (&self.earlier, &self.second_build) {
            (Some(commit), _) => Some(format!("--earlier {commit}")),
            (None, build) => build.as_ref().map(|p| format!("--second-build {}", p.display())),
        });
        words.join(" ")
    }

    /// For how long a setting that has this part of the time is run.
    fn length(&self, part: f64) -> Length {
        let time = Duration::from_secs_f64(self.minutes * part * 60.0);
        self.rounds.map_or(Length::Time(time), Length::Rounds)
    }
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Started by the conductor: runs jobs.
    #[command(hide = true)]
    Worker { task: PathBuf },
    /// Started by the conductor: enqueues jobs.
    #[command(hide = true)]
    Producer { task: PathBuf },
    /// Checks the evidence of an earlier run again.
    Check { folder: PathBuf },
}

#[tokio::main]
async fn main() -> ExitCode {
    let options = Options::parse();
    if options.only_check {
        only_check(&options);
        return ExitCode::SUCCESS;
    }
    let done = match &options.role {
        Some(Role::Worker { task }) => match Task::read(task) {
            Ok(task) => worker::run(task).await.map(|()| ExitCode::SUCCESS),
            Err(error) => Err(error),
        },
        Some(Role::Producer { task }) => match Task::read(task) {
            Ok(task) => producer::run(task).await.map(|()| ExitCode::SUCCESS),
            Err(error) => Err(error),
        },
        Some(Role::Check { folder }) => check(folder),
        None => return conduct(&options).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("windlass-chaos: {error}");
            ExitCode::from(INCOMPLETE)
        }
    }
}

/// The arguments are what they should be. Tells of which backends servers are started, if any are.
fn only_check(options: &Options) {
    if options.role.is_none() {
        let settings = options.settings();
        let backends: BTreeSet<Backend> = settings.iter().map(|(one, _)| one.backend()).collect();
        let names: Vec<_> = backends.into_iter().map(Backend::name).collect();
        println!("servers: {}", names.join(" "));
    }
}

fn check(folder: &Path) -> Result<ExitCode> {
    let findings = conductor::check_again(folder)?;
    for violation in &findings.violations {
        println!("{}", serde_json::to_string(violation)?);
    }
    println!("{}", serde_json::to_string(&findings.broken)?);
    if !findings.hold() {
        return Ok(ExitCode::FAILURE);
    }
    match report::asleep(&findings.figures) {
        Some(error) => Err(error.into()),
        None => Ok(ExitCode::SUCCESS),
    }
}

/// Of each setting what keeps it from being run, if anything does: that is known before hours are spent.
async fn prerequisites(
    settings: &[(Setting, f64)],
    folder: &Path,
    stop: &Stop,
) -> Vec<Option<String>> {
    // Of those that need the same, one is tried.
    let mut tried: BTreeMap<(Backend, bool), Option<String>> = BTreeMap::new();
    let mut errors = Vec::new();
    for (setting, _) in settings {
        let needs =
            (setting.backend(), matches!(setting, Setting::Failover | Setting::FailoverWaited));
        let error = match tried.get(&needs) {
            Some(known) => known.clone(),
            None if stop.asked() => None,
            None => {
                let error = conductor::try_out(*setting, folder).await.err();
                let error = error.map(|error| format!("it can't be run: {error}"));
                tried.insert(needs, error.clone());
                error
            }
        };
        errors.push(error);
    }
    errors
}

/// Runs all, writes the report, and tells the line of each backend, whatever could not be run.
async fn conduct(options: &Options) -> ExitCode {
    let seed = options.seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
    let settings = options.settings();
    let mut sections = Vec::new();
    let mut incomplete = options.simulation_ended > 1;
    let simulation = options.simulation.as_ref().map(std::fs::read_to_string).transpose();
    let simulation = simulation.unwrap_or_else(|error| {
        eprintln!("windlass-chaos: what the simulation wrote can't be read: {error}");
        incomplete = true;
        None
    });
    if let Err(error) = run_all(options, seed, &settings, &mut sections).await {
        // One that is missing here was not run, or not told of.
        let missing = settings.iter().skip(sections.len());
        sections.extend(missing.map(|(one, _)| Section::skipped(*one, &error.to_string())));
        eprintln!("windlass-chaos: {error}");
    }
    if let Err(error) = write(options, seed, &sections, simulation) {
        eprintln!("windlass-chaos: the report can't be written: {error}");
        incomplete = true;
    }
    let backends: BTreeSet<Backend> = settings.iter().map(|(one, _)| one.backend()).collect();
    for backend in backends {
        println!("{}", report::line(backend.name(), &sections));
    }
    let broken = sections.iter().any(|section| !section.findings.hold());
    if broken || options.simulation_ended == 1 {
        ExitCode::FAILURE
    } else if incomplete || sections.iter().any(|section| !section.good()) {
        ExitCode::from(INCOMPLETE)
    } else {
        ExitCode::SUCCESS
    }
}

/// Runs each setting that can be.
async fn run_all(
    options: &Options,
    seed: u64,
    settings: &[(Setting, f64)],
    sections: &mut Vec<Section>,
) -> Result<()> {
    let evidence = options.out.join(format!("evidence-{seed}-{}", std::process::id()));
    std::fs::create_dir_all(&evidence)?;
    let stop = Stop::on_signals()?;
    if options.told_to_end {
        stop.ask();
    }
    let errors = prerequisites(settings, &evidence, &stop).await;
    for (&(setting, part), error) in settings.iter().zip(errors) {
        let early = || stop.asked().then(|| "it was told to end before".to_owned());
        let section = match error.or_else(early) {
            Some(error) => Section::skipped(setting, &error),
            None => {
                let ran = run_one(options, seed, setting, part, &evidence, &stop).await;
                ran.unwrap_or_else(|error| Section::skipped(setting, &error.to_string()))
            }
        };
        tell(&section);
        sections.push(section);
    }
    // Only if nothing is kept in it.
    let _ = std::fs::remove_dir(&evidence);
    Ok(())
}

async fn run_one(
    options: &Options,
    seed: u64,
    setting: Setting,
    part: f64,
    evidence: &Path,
    stop: &Stop,
) -> Result<Section> {
    let length = options.length(part);
    let lasts = match length {
        Length::Time(time) => format!("{:.1} minutes", time.as_secs_f64() / 60.0),
        Length::Rounds(rounds) => format!("{rounds} rounds of all faults"),
    };
    eprintln!("{}: {lasts}, seed {seed}", setting.name());
    let folder = evidence.join(setting.name().replace([' ', ','], "-"));
    std::fs::create_dir_all(&folder)?;
    let run = Settings {
        length,
        seed,
        folder: folder.canonicalize()?,
        program: std::env::current_exe()?,
        second: options.second_build.clone(),
        rate: options.rate,
        soak: options.soak,
        allow_left_out: options.allow_left_out,
    };
    let section = Section::of(conductor::run(setting, &run, stop).await);
    let section = if options.soak { section.soaked() } else { section };
    if !section.good() {
        eprintln!("the evidence is in {}", folder.display());
        eprintln!("again: {}", options.command(seed, Some(setting)));
    } else if !options.keep
        && let Err(error) = std::fs::remove_dir_all(&folder)
    {
        eprintln!("`{}` can't be removed: {error}", folder.display());
    }
    Ok(section)
}

fn write(
    options: &Options,
    seed: u64,
    sections: &[Section],
    simulation: Option<String>,
) -> Result<()> {
    let second = options
        .second_build
        .as_ref()
        .map(|build| options.earlier.clone().unwrap_or_else(|| build.display().to_string()));
    let command = options.command(seed, None);
    let origin = Origin { command, seed, commit: commit(), system: system(), second, simulation };
    report::write(&options.out, sections, &origin)
}

/// What is to be known of a run at once.
fn tell(section: &Section) {
    let setting = &section.setting;
    section.errors.iter().for_each(|error| eprintln!("{setting}: {error}"));
    section.left_out.iter().for_each(|fault| eprintln!("{setting}: no fault {fault}"));
    if !section.missing.is_empty() {
        eprintln!("{setting}: no time for, or met nothing: {}", section.missing.join(", "));
    }
    if !section.findings.hold() {
        eprintln!("{setting}: {:?}", section.findings.broken);
    }
}

/// The commit of this program, where its sources are still there, and whether there is more than that.
fn commit() -> Option<String> {
    let said = |args: &[&str]| {
        let git = std::process::Command::new("git");
        let output = { git }.args(["-C", env!("CARGO_MANIFEST_DIR")]).args(args).output().ok()?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        output.status.success().then_some(said)
    };
    let head = said(&["rev-parse", "--short", "HEAD"])?;
    // Nothing is built of the documents.
    let changes = ["--untracked-files=no", "--", ":(top)", ":(top,exclude)docs"];
    let clean = said(&[&["status", "--porcelain"], &changes[..]].concat())?.is_empty();
    Some(if clean { head } else { format!("{head} with changes") })
}

/// What the machine is, as far as it matters for how often things happen.
fn system() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("a machine of {cores} cores ({} {})", std::env::consts::OS, std::env::consts::ARCH)
}
