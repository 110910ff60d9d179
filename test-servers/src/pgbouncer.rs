//! PgBouncer before a PostgreSQL server.

use std::fmt::Write as _;
use std::fs::File;
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Context, Error, Result, blocking};
use crate::home::Home;
use crate::{Postgres, binaries, port};

/// Until a start is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Builds a [`PgBouncer`].
#[derive(Debug, Clone)]
pub struct PgBouncerBuilder {
    server: Postgres,
    pool_size: u32,
    settings: Vec<(String, String)>,
    users: Vec<(String, String)>,
}

impl PgBouncerBuilder {
    /// `default_pool_size`: connections to the server for each pair of user and database; 4 by default.
    #[must_use]
    pub fn default_pool_size(mut self, connections: u32) -> Self {
        self.pool_size = connections;
        self
    }

    /// A line of the section `[pgbouncer]`; a later one of the same name wins, also over this crate's own.
    ///
    /// This crate sets `ignore_startup_parameters` to `extra_float_digits`, which sqlx sends unless told not to, and which
    /// PgBouncer else refuses.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Another user of the server who may connect, besides that of [`Postgres::url`].
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Starts it and waits until it takes connections.
    pub async fn start(self) -> Result<PgBouncer> {
        blocking(move || self.start_now()).await
    }

    fn start_now(self) -> Result<PgBouncer> {
        // Debian's package runs it as this user, which comes with a package it depends on.
        let home = Home::new("pgbouncer", "TERM", "postgres", "pgbouncer")?;
        let own = (self.server.user().to_owned(), self.server.password().to_owned());
        let users =
            self.users.iter().chain([&own]).fold(String::new(), |mut text, (name, password)| {
                let _ = writeln!(
                    text,
                    "\"{}\" \"{}\"",
                    name.replace('"', "\"\""),
                    password.replace('"', "\"\"")
                );
                text
            });
        home.write("users", &users)?;
        let mut running = Running { home, port: 0, child: Mutex::new(None) };
        for again in (0..5).rev() {
            running.port = port::free()?;
            running.home.write("conf", &self.conf(running.port))?;
            match running.start() {
                Ok(()) => break,
                // Another process was faster.
                Err(_) if again > 0 && running.home.tail("log").contains("in use") => {
                    running.kill()?
                }
                Err(e) => return Err(e),
            }
        }
        let address = self.server.at_port(running.port);
        Ok(PgBouncer { running: Arc::new(running), address })
    }

    fn conf(&self, port: u16) -> String {
        let mut text = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = users\nadmin_users = {}\n\
             pool_mode = transaction\ndefault_pool_size = {}\nignore_startup_parameters = extra_float_digits\n",
            self.server.port(),
            self.server.user(),
            self.pool_size,
        );
        for (name, value) in &self.settings {
            // Writing to a text can't fail.
            let _ = writeln!(text, "{name} = {value}");
        }
        text
    }
}

/// A private PgBouncer in transaction mode. Ends when dropped, and when the test process ends, however it does.
#[derive(Debug)]
pub struct PgBouncer {
    running: Arc<Running>,
    address: Postgres,
}

impl PgBouncer {
    /// Says how to start one before a server on 127.0.0.1.
    pub fn builder(server: &Postgres) -> PgBouncerBuilder {
        PgBouncerBuilder {
            server: server.clone(),
            pool_size: 4,
            settings: Vec::new(),
            users: Vec::new(),
        }
    }

    /// The URL of a database of the server, through PgBouncer; of its console with `pgbouncer`. Holds the password.
    pub fn url(&self, database: &str) -> String {
        self.address.url(database)
    }

    /// As [`url`](Self::url), for another user, added by [`PgBouncerBuilder::user`].
    pub fn url_as(&self, user: &str, password: &str, database: &str) -> String {
        self.address.url_as(user, password, database)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.running.port
    }

    /// Its folder: the configuration in `conf`, its log since the last start in `log`.
    pub fn folder(&self) -> &Path {
        self.running.home.path()
    }

    /// SIGKILLs it and waits until it is gone.
    pub async fn kill(&self) -> Result<()> {
        let running = Arc::clone(&self.running);
        blocking(move || running.kill()).await
    }

    /// Kills it, if it runs, starts it and waits until it takes connections.
    pub async fn restart(&self) -> Result<()> {
        let running = Arc::clone(&self.running);
        blocking(move || running.kill().and_then(|()| running.start())).await
    }
}

#[derive(Debug)]
struct Running {
    home: Home,
    port: u16,
    child: Mutex<Option<Child>>,
}

impl Running {
    fn start(&self) -> Result<()> {
        let mut pgbouncer = self.home.command(&binaries::program("pgbouncer", "pgbouncer")?);
        let log = File::create(self.home.path().join("log")).context(|| "its log".to_owned())?;
        let child = pgbouncer.arg("conf").stdout(std::process::Stdio::null()).stderr(log);
        let child = child.spawn().context(|| "can't start `pgbouncer`".to_owned())?;
        *self.child.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        // Only the log tells that this process, and no other, listens on the port.
        let ready = format!("listening on 127.0.0.1:{}\n", self.port);
        let since = Instant::now();
        loop {
            let log = self.home.tail("log");
            if log.contains(&ready) {
                return Ok(());
            }
            if self.has_ended()? || since.elapsed() > PATIENCE {
                return Err(Error::new(format!("`pgbouncer` did not start: {log}")));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn has_ended(&self) -> Result<bool> {
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(child) = child.as_mut() else { return Ok(true) };
        Ok(child.try_wait().context(|| "`pgbouncer`".to_owned())?.is_some())
    }

    fn kill(&self) -> Result<()> {
        let Some(mut child) = self.child.lock().unwrap_or_else(PoisonError::into_inner).take()
        else {
            return Ok(());
        };
        // It may be gone already.
        let _ = child.kill();
        child.wait().context(|| "`pgbouncer`".to_owned())?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Else it would stay as a zombie of this process.
        let _ = self.kill();
    }
}
