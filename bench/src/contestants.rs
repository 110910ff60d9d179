//! The systems under test: which there are, and how their programs are made.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use windlass_bench_contestant::Description;

use crate::Result;
use crate::report::Report;

/// A program that speaks the protocol of `contestant/`.
struct Entry {
    /// As `--systems` names it, and as it names itself.
    name: &'static str,
    backends: &'static [&'static str],
    /// Its folder, from that of the bench program.
    folder: &'static str,
    language: Language,
}

#[derive(Clone, Copy, PartialEq)]
enum Language {
    /// A binary of this name.
    Rust(&'static str),
    /// A script of this name, with what `package-lock.json` names.
    Node(&'static str),
}

/// The raw loops, each on one backend.
pub const RAW: &str = "raw";
pub const WINDLASS: &str = "windlass";
/// What isn't a peer.
const OURS: &[&str] = &[WINDLASS, RAW, "raw-rusqlite"];

/// Who leaves commits on SQLite to the system's cache, by its own choice or its settings (`peers/README.md`): when the
/// machine fails the last are lost. On the servers all commits are as durable as the server is told to make them.
const UNSYNCED: &[(&str, &str)] = &[
    ("apalis", "default"),
    ("apalis", "tuned"),
    ("riverqueue", "tuned"),
    ("effectum", "tuned"),
    ("flexiq-core", "default"),
    ("flexiq-core", "tuned"),
];

const ENTRIES: &[Entry] = &[
    of(
        WINDLASS,
        &["sqlite", "postgres", "redis"],
        "windlass",
        Language::Rust("contestant-windlass"),
    ),
    of(RAW, &["sqlite"], "raw", Language::Rust("contestant-raw-sqlite")),
    of(RAW, &["postgres"], "raw", Language::Rust("contestant-raw-postgres")),
    of(RAW, &["redis"], "raw", Language::Rust("contestant-raw-redis")),
    of("raw-rusqlite", &["sqlite"], "raw", Language::Rust("contestant-raw-rusqlite")),
    of(
        "apalis",
        &["sqlite", "postgres", "redis"],
        "peers/apalis",
        Language::Rust("contestant-apalis"),
    ),
    of(
        "graphile_worker",
        &["postgres"],
        "peers/graphile_worker",
        Language::Rust("contestant-graphile-worker"),
    ),
    of("awa", &["postgres"], "peers/awa", Language::Rust("contestant-awa")),
    of(
        "riverqueue",
        &["sqlite", "postgres"],
        "peers/riverqueue",
        Language::Rust("contestant-riverqueue"),
    ),
    of("effectum", &["sqlite"], "peers/effectum", Language::Rust("contestant-effectum")),
    of("oxana", &["redis"], "peers/oxana", Language::Rust("contestant-oxana")),
    of(
        "rusty-sidekiq",
        &["redis"],
        "peers/rusty-sidekiq",
        Language::Rust("contestant-rusty-sidekiq"),
    ),
    of("bullmq", &["redis"], "peers/node", Language::Node("bullmq.js")),
    of("graphile-worker", &["postgres"], "peers/node", Language::Node("graphile-worker.js")),
    of("pg-boss", &["postgres"], "peers/node", Language::Node("pg-boss.js")),
    of(
        "flexiq-core",
        &["sqlite", "postgres", "redis"],
        "peers/flexiq-core",
        Language::Rust("contestant-flexiq-core"),
    ),
];

const fn of(
    name: &'static str,
    backends: &'static [&'static str],
    folder: &'static str,
    language: Language,
) -> Entry {
    Entry { name, backends, folder, language }
}

/// Whether a system is neither Windlass nor a raw loop.
pub fn is_peer(system: &str) -> bool {
    !OURS.contains(&system)
}

/// Whether a commit waits for the disk wherever the server, if there is one, makes it wait.
pub fn syncs(backend: &str, system: &str, config: &str) -> bool {
    backend != "sqlite" || !UNSYNCED.contains(&(system, config))
}

/// A contestant that is ready to run.
pub struct Contestant {
    pub name: String,
    pub description: Description,
    program: PathBuf,
    /// What comes before its arguments.
    before: Vec<String>,
}

impl Contestant {
    pub fn is_peer(&self) -> bool {
        is_peer(&self.name)
    }

    /// Its program, without arguments.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.before);
        command
    }

    /// The configurations, for a peer perhaps only the best of them.
    pub fn configs(&self, best_of_peers: bool) -> &[(String, Option<u64>)] {
        let configs = &self.description.configs;
        if best_of_peers && self.is_peer() {
            return &configs[configs.len().saturating_sub(1)..];
        }
        configs
    }
}

/// Makes the programs of a backend, those that `wanted` names, or all. A peer that can't be made is left out, and told why.
pub fn prepare(backend: &str, wanted: &[String], report: &mut Report) -> Result<Vec<Contestant>> {
    let known = |name: &String| ENTRIES.iter().any(|entry| entry.name == name);
    if let Some(name) = wanted.iter().find(|name| !known(name)) {
        let mut all: Vec<&str> = ENTRIES.iter().map(|entry| entry.name).collect();
        // The raw loops have one name.
        all.dedup();
        return Err(format!("there is no system `{name}`; there are {}", all.join(", ")).into());
    }
    let chosen = ENTRIES.iter().filter(|entry| {
        let named = wanted.is_empty() || wanted.iter().any(|name| name == entry.name);
        entry.backends.contains(&backend) && named
    });
    let mut contestants = Vec::new();
    for entry in chosen {
        match entry.contestant(backend) {
            Ok(contestant) => contestants.push(contestant),
            Err(error) if is_peer(entry.name) => {
                report.leave_out(format!("{} is left out: {error}", entry.name));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(contestants)
}

impl Entry {
    /// Makes its program and asks what it can do.
    fn contestant(&self, backend: &str) -> Result<Contestant> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.folder);
        let (program, before) = match self.language {
            Language::Rust(binary) => (build(&folder, binary)?, Vec::new()),
            Language::Node(_) if !has_node() => {
                return Err("`node` or `npm` is not there".into());
            }
            Language::Node(script) => {
                install(&folder)?;
                (PathBuf::from("node"), vec![folder.join(script).display().to_string()])
            }
        };
        let mut command = Command::new(&program);
        let output = command.args(&before).args(["describe", "--backend", backend]).output()?;
        let description: Description = serde_json::from_slice(&output.stdout)
            .map_err(|e| format!("{e}: {}", String::from_utf8_lossy(&output.stderr)))?;
        if description.system != self.name {
            return Err(format!("it calls itself `{}`", description.system).into());
        }
        Ok(Contestant { name: self.name.to_owned(), description, program, before })
    }
}

/// Whether this program was built with `--release`; what it builds is built likewise.
pub const OPTIMISED: bool = !cfg!(debug_assertions);

/// Builds a program into the folder where this one was built, and answers where it is.
fn build(folder: &Path, binary: &str) -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own.ancestors().nth(2).ok_or("this program is not in a target folder")?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.args(["build", "--quiet", "--locked", "--bin", binary, "--manifest-path"]);
    build.arg(folder.join("Cargo.toml")).arg("--target-dir").arg(target);
    build.args(OPTIMISED.then_some("--release"));
    if !build.status()?.success() {
        return Err(format!("`{binary}` could not be built").into());
    }
    Ok(target.join(if OPTIMISED { "release" } else { "debug" }).join(binary))
}

fn has_node() -> bool {
    let there = |program: &str| {
        let mut version = Command::new(program);
        version.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        version.status().is_ok_and(|status| status.success())
    };
    there("node") && there("npm")
}

/// Installs what the Node peers need, unless that is done.
fn install(folder: &Path) -> Result<()> {
    let changed = |file: &str| std::fs::metadata(folder.join(file)).and_then(|m| m.modified());
    // npm writes the second once all is installed.
    let done = changed("node_modules/.package-lock.json").ok();
    if done.is_some_and(|done| changed("package-lock.json").is_ok_and(|named| named <= done)) {
        return Ok(());
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--silent", "--no-fund", "--no-audit"]).current_dir(folder);
    if !npm.status()?.success() {
        return Err(format!("`npm ci` failed in `{}`", folder.display()).into());
    }
    Ok(())
}
