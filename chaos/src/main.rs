//! `windlass-chaos`: see the library, and `docs/evidence.md`.
#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum as _};
use windlass_chaos::conductor::stop::Stop;
use windlass_chaos::conductor::{self, Backend, Setting, Settings};
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
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
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
    #[arg(long, default_value_t = 60.0)]
    rate: f64,
    /// Another build of this program, such as of an earlier version of the library: every other worker is one of it.
    #[arg(long)]
    second_build: Option<PathBuf>,
    /// Keeps the evidence also of runs in which every rule holds.
    #[arg(long)]
    keep: bool,
    /// What the simulation wrote (`windlass-model --report`), for the report.
    #[arg(long)]
    simulation: Option<PathBuf>,
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
        words.push(format!("--minutes {} --seed {seed} --rate {}", self.minutes, self.rate));
        words.extend(self.soak.then(|| "--soak".to_owned()));
        words.extend(self.second_build.as_ref().map(|p| format!("--second-build {}", p.display())));
        words.join(" ")
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
        None => conduct(&options).await,
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("windlass-chaos: {error}");
            ExitCode::from(INCOMPLETE)
        }
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

/// What all settings need, before any is run.
async fn prerequisites(settings: &[(Setting, f64)], folder: &Path) -> Result<()> {
    // Of those that need the same, one.
    let mut tried = BTreeSet::new();
    for (setting, _) in settings {
        let pair = matches!(setting, Setting::Failover | Setting::FailoverWaited);
        if tried.insert((setting.backend(), pair)) {
            let tried = conductor::try_out(*setting, folder).await;
            tried.map_err(|error| format!("{} can't be run: {error}", setting.name()))?;
        }
    }
    Ok(())
}

async fn conduct(options: &Options) -> Result<ExitCode> {
    let seed = options.seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
    let settings = options.settings();
    let evidence = options.out.join(format!("evidence-{seed}-{}", std::process::id()));
    std::fs::create_dir_all(&evidence)?;
    let simulation = options.simulation.as_ref().map(std::fs::read_to_string).transpose()?;
    let stop = Stop::on_signals()?;
    let mut sections = Vec::new();
    if let Err(error) = prerequisites(&settings, &evidence).await {
        // Only if nothing is kept in it.
        let _ = std::fs::remove_dir(&evidence);
        return Err(error);
    }
    for &(setting, part) in &settings {
        if stop.asked() {
            sections.push(Section::skipped(setting, "it was told to end before"));
            continue;
        }
        eprintln!("{}: {:.1} minutes, seed {seed}", setting.name(), options.minutes * part);
        let folder = evidence.join(setting.name().replace([' ', ','], "-"));
        std::fs::create_dir_all(&folder)?;
        let run = Settings {
            length: Duration::from_secs_f64(options.minutes * part * 60.0),
            seed,
            folder: folder.canonicalize()?,
            program: std::env::current_exe()?,
            second: options.second_build.clone(),
            rate: options.rate,
            soak: options.soak,
        };
        let section = Section::of(conductor::run(setting, &run, &stop).await);
        let section = if options.soak { section.soaked() } else { section };
        tell(&section);
        if !section.good() {
            eprintln!("the evidence is in {}", folder.display());
            eprintln!("again: {}", options.command(seed, Some(setting)));
        } else if !options.keep {
            std::fs::remove_dir_all(&folder)?;
        }
        sections.push(section);
    }
    // Only if nothing is kept in it.
    let _ = std::fs::remove_dir(&evidence);
    let second = options.second_build.is_some();
    let command = options.command(seed, None);
    let origin = Origin { command, seed, system: system(), second, simulation };
    report::write(&options.out, &sections, &origin)?;
    let backends: BTreeSet<Backend> = settings.iter().map(|(one, _)| one.backend()).collect();
    for backend in backends {
        println!("{}", report::line(backend.name(), &sections));
    }
    Ok(if sections.iter().any(|section| !section.findings.hold()) {
        ExitCode::FAILURE
    } else if sections.iter().any(|section| !section.good()) {
        ExitCode::from(INCOMPLETE)
    } else {
        ExitCode::SUCCESS
    })
}

/// What is to be known of a run at once.
fn tell(section: &Section) {
    let setting = &section.setting;
    section.errors.iter().for_each(|error| eprintln!("{setting}: {error}"));
    section.left_out.iter().for_each(|fault| eprintln!("{setting}: no fault {fault}"));
    if !section.missing.is_empty() {
        eprintln!("{setting}: there was no time for: {}", section.missing.join(", "));
    }
    if !section.findings.hold() {
        eprintln!("{setting}: {:?}", section.findings.broken);
    }
}

/// What the machine is, as far as it matters for how often things happen.
fn system() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("a machine of {cores} cores ({} {})", std::env::consts::OS, std::env::consts::ARCH)
}
