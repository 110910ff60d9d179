//! A server of the test's own, to be stopped and killed at will.

use std::fs::File;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{builder::RedisBuilder, shared};
use crate::disk::{self, Filler};
use crate::error::{Context, Error, Result, blocking};
use crate::home::Home;
use crate::{binaries, clock};

/// Distinctive, so that a test can look for it.
pub(super) const PASSWORD: &str = "tests-only-Xw7rTz29";
/// Until a start is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a server is.
#[derive(Clone)]
pub struct Redis {
    /// With the password, without parameters.
    url: String,
}

impl Redis {
    pub(super) fn new(url: &str) -> Self {
        Self { url: url.split('?').next().unwrap_or_default().to_owned() }
    }

    /// The URL of a namespace. Holds the password.
    pub fn url(&self, namespace: &str) -> String {
        format!("{}?namespace={namespace}", self.url)
    }

    /// The URL without a namespace. Holds the password.
    pub fn base_url(&self) -> &str {
        &self.url
    }

    /// The password of the default user of a private server.
    pub fn password(&self) -> &'static str {
        PASSWORD
    }
}

impl std::fmt::Debug for Redis {
    /// Tells no password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let place = self.url.rsplit('@').next().unwrap_or_default();
        f.debug_tuple("Redis").field(&place).finish()
    }
}

/// A private Redis server. Ends when dropped, and when the test process ends, however it does.
///
/// Derefs to [`Redis`], where the URLs are.
#[derive(Debug)]
pub struct RedisServer {
    running: Arc<Running>,
    address: Redis,
    ca: Option<PathBuf>,
}

impl Deref for RedisServer {
    type Target = Redis;

    fn deref(&self) -> &Redis {
        &self.address
    }
}

impl RedisServer {
    pub(super) fn new(running: Running, address: Redis, ca: Option<PathBuf>) -> Self {
        Self { running: Arc::new(running), address, ca }
    }

    /// Says how to start a server.
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// The server that all tests of this process share: the one of the environment variable `REDIS_URL` (when that is a `redis:` URL), or a
    /// private one. It can't be stopped: tests of faults start one of their own.
    pub async fn shared() -> Result<&'static Redis> {
        shared::get().await
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.running.port
    }

    /// The server's folder, with its data and its log in `log`.
    pub fn folder(&self) -> &Path {
        self.running.home.path()
    }

    /// The certificate of the CA that signed the server's, in PEM, when started with [`tls`](RedisBuilder::tls).
    pub fn ca_certificate(&self) -> Option<&Path> {
        self.ca.as_deref()
    }

    /// Sends a command by `redis-cli`, as the default user, and answers what that prints.
    pub async fn command(&self, args: &[&str]) -> Result<String> {
        let args: Vec<String> = args.iter().map(|&arg| arg.to_owned()).collect();
        let running = Arc::clone(&self.running);
        blocking(move || running.command(&args)).await
    }

    /// A figure of `INFO`.
    pub async fn info(&self, name: &str) -> Result<String> {
        let told = self.command(&["INFO", "everything"]).await?;
        let value =
            |line: &str| Some(line.trim().strip_prefix(name)?.strip_prefix(':')?.to_owned());
        told.lines().find_map(value).ok_or_else(|| Error::new(format!("INFO has no `{name}`")))
    }

    /// SIGKILLs the server and waits until it is gone.
    pub async fn kill_9(&self) -> Result<()> {
        let running = Arc::clone(&self.running);
        blocking(move || running.kill()).await
    }

    /// Whether it does not run: it was killed, or has ended by itself.
    pub async fn has_ended(&self) -> Result<bool> {
        let running = Arc::clone(&self.running);
        blocking(move || running.has_ended()).await
    }

    /// Stops the server in the middle of what it does (SIGSTOP): connections stay, and nothing is answered.
    pub async fn pause(&self) -> Result<()> {
        self.running.signal(Signal::STOP)
    }

    /// Lets it go on after a pause.
    pub async fn resume(&self) -> Result<()> {
        self.running.signal(Signal::CONT)
    }

    /// Takes all room on the file system of the append-only file, until the answer is dropped. For data on a
    /// [tmpfs](RedisBuilder::data_on_tmpfs).
    pub async fn fill_disk(&self) -> Result<Filler> {
        disk::fill(&self.running.home.path().join("data")).await
    }

    /// Sets how far its clock is ahead of the machine's, for a server with a [movable clock](RedisBuilder::movable_clock). It takes up to
    /// a second.
    pub async fn clock_ahead(&self, ahead: Duration) -> Result<()> {
        let running = Arc::clone(&self.running);
        blocking(move || clock::set(running.home.path(), ahead)).await
    }

    /// Starts the server after a kill, and waits until it has loaded its data and takes connections.
    pub async fn start(&self) -> Result<()> {
        let running = Arc::clone(&self.running);
        blocking(move || running.start()).await
    }
}

impl RedisServer {
    /// Asks again and again until a figure of `INFO` has a value.
    pub async fn until_info(&self, name: &str, value: &str) -> Result<()> {
        let since = Instant::now();
        loop {
            let found = self.info(name).await;
            if found.as_ref().is_ok_and(|found| found == value) {
                return Ok(());
            }
            if since.elapsed() > PATIENCE {
                return Err(Error::new(format!("`{name}` did not become `{value}`: {found:?}")));
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[derive(Debug)]
pub(super) struct Running {
    pub(super) home: Home,
    pub(super) port: u16,
    pub(super) tls: bool,
    pub(super) sentinel: bool,
    pub(super) child: Mutex<Option<Child>>,
    /// Environment variables of the server.
    pub(super) env: Vec<(String, String)>,
}

impl Running {
    pub(super) fn start(&self) -> Result<()> {
        let program = binaries::program("redis-server", "redis-server")?;
        let mut server = self.home.command(&program);
        let output =
            File::create(self.home.path().join("output")).context(|| "its output".to_owned())?;
        let errors = output.try_clone().context(|| "its output".to_owned())?;
        server.envs(self.env.iter().map(|(name, value)| (name, value)));
        server.arg("redis.conf");
        if self.sentinel {
            server.arg("--sentinel");
        }
        let child = server.stdout(output).stderr(errors).spawn();
        let child = child.context(|| "can't start `redis-server`".to_owned())?;
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        let since = Instant::now();
        loop {
            if self.has_ended()? || since.elapsed() > PATIENCE {
                let told = format!("{}{}", self.home.tail("output"), self.home.tail("log"));
                return Err(Error::new(format!("`redis-server` did not start: {told}")));
            }
            // Only this server has this password.
            if self.command(&["PING".to_owned()]).is_ok_and(|answer| answer == "PONG") {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn has_ended(&self) -> Result<bool> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(child) = child.as_mut() else { return Ok(true) };
        Ok(child.try_wait().context(|| "`redis-server`".to_owned())?.is_some())
    }

    pub(super) fn command(&self, args: &[String]) -> Result<String> {
        let mut cli = Command::new(binaries::program("redis-cli", "redis-tools")?);
        // With `-e` an error of the server is one of the command.
        cli.args(["-e", "-h", "127.0.0.1", "-p"]).arg(self.port.to_string()).stdin(Stdio::null());
        cli.env("REDISCLI_AUTH", PASSWORD);
        if self.tls {
            cli.args(["--tls", "--cacert"]).arg(self.home.path().join("ca.crt"));
        }
        let output = cli.args(args).output().context(|| "can't start `redis-cli`".to_owned())?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        if output.status.success() {
            return Ok(said);
        }
        let errors = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Err(Error::new(format!("`redis-cli` failed: {said}{errors}")))
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = child.as_ref().and_then(|child| Pid::from_raw(child.id().try_into().ok()?));
        let pid = pid.ok_or_else(|| Error::new("the server does not run"))?;
        kill_process(pid, signal).context(|| "`redis-server`".to_owned())
    }

    pub(super) fn kill(&self) -> Result<()> {
        let child = self.child.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut child) = child else { return Ok(()) };
        // It may be gone already.
        let _ = child.kill();
        child.wait().context(|| "`redis-server`".to_owned())?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Else it would stay as a zombie of this process.
        let _ = self.kill();
    }
}
