//! `windlass-chaos`: see the library, and `docs/evidence.md`.
#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use windlass_chaos::conductor::{self, Backend, Settings};
use windlass_chaos::report::{self, Origin, Section};
use windlass_chaos::task::Task;
use windlass_chaos::{Result, producer, worker};

/// Puts Windlass under real faults on real servers, and checks what was recorded.
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
            Ok(task) => worker::run(task).await.map(|()| true),
            Err(error) => Err(error),
        },
        Some(Role::Producer { task }) => match Task::read(task) {
            Ok(task) => producer::run(task).await.map(|()| true),
            Err(error) => Err(error),
        },
        Some(Role::Check { folder }) => check(folder),
        None => conduct(&options).await,
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("windlass-chaos: {error}");
            ExitCode::from(2)
        }
    }
}

fn check(folder: &std::path::Path) -> Result<bool> {
    let findings = conductor::check_again(folder)?;
    for violation in &findings.violations {
        println!("{}", serde_json::to_string(violation)?);
    }
    println!("{}", serde_json::to_string(&findings.broken)?);
    Ok(findings.hold())
}

fn command(options: &Options, seed: u64, backend: Backend) -> String {
    format!(
        "scripts/chaos --minutes {} --backend {} --seed {seed} --rate {}",
        options.minutes,
        backend.name(),
        options.rate
    )
}

async fn conduct(options: &Options) -> Result<bool> {
    let seed = options.seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
    let backends = match options.backend {
        Some(backend) => vec![backend],
        None => vec![Backend::Sqlite, Backend::Postgres, Backend::Redis],
    };
    let evidence = options.out.join(format!("evidence-{seed}-{}", std::process::id()));
    let mut sections = Vec::new();
    for &backend in &backends {
        for &(setting, part) in backend.settings() {
            eprintln!("{}: {:.1} minutes, seed {seed}", setting.name(), options.minutes * part);
            let folder = evidence.join(setting.name().replace([' ', ','], "-"));
            std::fs::create_dir_all(&folder)?;
            let settings = Settings {
                length: Duration::from_secs_f64(options.minutes * part * 60.0),
                seed,
                folder: folder.canonicalize()?,
                program: std::env::current_exe()?,
                second: options.second_build.clone(),
                rate: options.rate,
            };
            let outcome = conductor::run(setting, &settings).await.inspect_err(|_| {
                eprintln!("the evidence is in {}", folder.display());
                eprintln!("again: {}", command(options, seed, backend));
            })?;
            if !outcome.findings.hold() {
                eprintln!("{}: {:?}", setting.name(), outcome.findings.broken);
                eprintln!("the evidence is in {}", folder.display());
                eprintln!("again: {}", command(options, seed, backend));
            } else if !options.keep {
                std::fs::remove_dir_all(&folder)?;
            }
            sections.push(Section::of(backend, outcome));
        }
    }
    // Only if nothing is kept in it.
    let _ = std::fs::remove_dir(&evidence);
    let origin = Origin {
        command: match options.backend {
            Some(backend) => command(options, seed, backend),
            None => format!(
                "scripts/chaos --minutes {} --seed {seed} --rate {}",
                options.minutes, options.rate
            ),
        },
        seed,
        system: system(),
    };
    report::write(&options.out, &sections, &origin)?;
    for backend in backends {
        println!("{}", report::line(backend.name(), &sections));
    }
    Ok(sections.iter().all(|section| section.findings.hold()))
}

/// What the machine is, as far as it matters for how often things happen.
fn system() -> String {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    format!("a machine of {cores} cores ({} {})", std::env::consts::OS, std::env::consts::ARCH)
}
