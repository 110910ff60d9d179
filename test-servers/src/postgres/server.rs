//! A server of the test's own, to be stopped and killed at will.

use std::io::ErrorKind;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;

use super::{address::Postgres, builder::PostgresBuilder, shared};
use crate::disk::{self, Filler};
use crate::error::{Context, Error, Result, blocking};
use crate::home::{Home, run};
use crate::{binaries, clock};

/// Distinctive, so that a test can look for it.
pub(super) const PASSWORD: &str = "tests-only-Kj4vXq81";
/// Seconds until `pg_ctl` gives up; a server that was killed first replays its log.
const PATIENCE: &str = "60";

/// A private PostgreSQL server, with the superuser `postgres`. Ends when dropped, and when the test process ends, however it does.
///
/// Derefs to [`Postgres`], where the URLs are.
#[derive(Debug)]
pub struct PostgresServer {
    running: Arc<Running>,
    address: Postgres,
    ca: Option<PathBuf>,
}

impl Deref for PostgresServer {
    type Target = Postgres;

    fn deref(&self) -> &Postgres {
        &self.address
    }
}

impl PostgresServer {
    pub(super) fn new(running: Running, address: Postgres, ca: Option<PathBuf>) -> Self {
        Self { running: Arc::new(running), address, ca }
    }

    /// Says how to start a server.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::new()
    }

    /// The major versions that are installed, oldest first.
    pub fn available_versions() -> Vec<u32> {
        binaries::postgres_versions()
    }

    /// The server that all tests of this process share: the one of the environment variable `DATABASE_URL` (when that is a
    /// `postgres:` or `postgresql:` URL), or a private one. It can't be stopped: tests of faults start one of their own.
    pub async fn shared() -> Result<&'static Postgres> {
        shared::get().await
    }

    /// The server's folder: the data in `data`, its log in `log`, and its Unix socket.
    pub fn folder(&self) -> &Path {
        self.running.home.path()
    }

    /// The certificate of the CA that signed the server's, in PEM, when started with [`ssl`](PostgresBuilder::ssl).
    pub fn ca_certificate(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// What the server has written to its log.
    pub fn log(&self) -> Result<String> {
        let path = self.folder().join("log");
        std::fs::read_to_string(&path).map_err(|e| Error::new(format!("`{}`: {e}", path.display())))
    }

    /// Starts the server after a stop or a kill, and waits until it takes connections.
    pub async fn start(&self) -> Result<()> {
        self.with(Running::start).await
    }

    /// Stops the server without a checkpoint; clients are told. Waits until it is gone.
    pub async fn stop_immediate(&self) -> Result<()> {
        self.with(|server| server.control(&["stop", "-m", "immediate"])).await
    }

    /// [`stop_immediate`](Self::stop_immediate) and [`start`](Self::start).
    pub async fn restart_immediate(&self) -> Result<()> {
        self.stop_immediate().await?;
        self.start().await
    }

    /// SIGKILLs all processes of the server and waits until they are gone.
    pub async fn kill_9(&self) -> Result<()> {
        self.with(|server| server.home.kill_9()).await
    }

    /// Stops all processes of the server in the middle of what they do (SIGSTOP): connections stay, and nothing is answered.
    pub async fn pause(&self) -> Result<()> {
        self.with(|server| server.home.signal(Signal::STOP)).await
    }

    /// Lets them go on after a pause.
    pub async fn resume(&self) -> Result<()> {
        self.with(|server| server.home.signal(Signal::CONT)).await
    }

    /// Takes all room on the file system of the data, until the answer is dropped. For data on a [tmpfs](PostgresBuilder::data_on_tmpfs).
    pub async fn fill_disk(&self) -> Result<Filler> {
        disk::fill(&self.running.data).await
    }

    /// Sets how far its clock is ahead of the machine's, for a server with a [movable clock](PostgresBuilder::movable_clock). It takes
    /// up to a second.
    pub async fn clock_ahead(&self, ahead: Duration) -> Result<()> {
        self.with(move |server| clock::set(server.home.path(), ahead)).await
    }

    async fn with(&self, work: impl FnOnce(&Running) -> Result<()> + Send + 'static) -> Result<()> {
        let running = Arc::clone(&self.running);
        blocking(move || work(&running)).await
    }
}

/// What the calls that block need.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) home: Home,
    pub(super) bin: PathBuf,
    pub(super) data: PathBuf,
    pub(super) port: u16,
    /// Environment variables of the server.
    pub(super) env: Vec<(String, String)>,
}

impl Running {
    pub(super) fn start(&self) -> Result<()> {
        if self.home.processes()?.is_empty() {
            self.forget_killed()?;
        }
        let port = format!("-p {}", self.port);
        self.control(&["start", "-l", "log", "-o", &port])
            .map_err(|e| Error::new(format!("{e}\n{}", self.home.tail("log"))))
    }

    /// A postmaster that was killed stays as a zombie until the system's init reaps it, which can take seconds. A server that finds
    /// its number in one of these files takes that for a sign that it runs already.
    fn forget_killed(&self) -> Result<()> {
        let lock = self.home.path().join(format!(".s.PGSQL.{}.lock", self.port));
        for path in [self.data.join("postmaster.pid"), lock] {
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(e).context(|| format!("`{}`", path.display()));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn control(&self, args: &[&str]) -> Result<()> {
        let mut pg_ctl: Command = self.home.command(&self.bin.join("pg_ctl"));
        pg_ctl.envs(self.env.iter().map(|(name, value)| (name, value)));
        run(pg_ctl.args(args).args(["-w", "-t", PATIENCE, "-D"]).arg(&self.data))
    }
}
