//! How a server is to be started.

use std::fmt::Write as _;

use super::server::{PASSWORD, PostgresServer, Running};
use super::{address::Postgres, template, tls};
use crate::error::{Result, blocking};
use crate::home::Home;
use crate::{binaries, clock, port};

/// How clients prove who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Auth {
    /// By a password (SCRAM-SHA-256).
    Scram,
    /// Not at all; a password is not looked at.
    Trust,
}

/// Builds a [`PostgresServer`].
#[derive(Debug, Clone)]
pub struct PostgresBuilder {
    version: Option<u32>,
    auth: Auth,
    settings: Vec<(String, String)>,
    tmpfs: Option<u64>,
    ssl: bool,
    clock: bool,
}

impl PostgresBuilder {
    pub(super) fn new() -> Self {
        Self {
            version: None,
            auth: Auth::Scram,
            settings: Vec::new(),
            tmpfs: None,
            ssl: false,
            clock: false,
        }
    }

    /// The major version, one of [`PostgresServer::available_versions`]; the newest by default.
    #[must_use]
    pub fn version(mut self, major: u32) -> Self {
        self.version = Some(major);
        self
    }

    /// How clients prove who they are; by a password by default.
    #[must_use]
    pub fn auth(mut self, auth: Auth) -> Self {
        self.auth = auth;
        self
    }

    /// A line of `postgresql.conf`. A later one of the same name wins, also over this crate's own: `fsync` and
    /// `synchronous_commit` are on, because tests that kill the server need them.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Keeps the data on a file system of that many bytes, which a test can fill. An empty server takes about 40 MB. Needs root.
    #[must_use]
    pub fn data_on_tmpfs(mut self, bytes: u64) -> Self {
        self.tmpfs = Some(bytes);
        self
    }

    /// Gives the server a clock of its own, which [`PostgresServer::clock_ahead`] moves. Needs libfaketime.
    #[must_use]
    pub fn movable_clock(mut self) -> Self {
        self.clock = true;
        self
    }

    /// Offers TLS, with a certificate for 127.0.0.1 and localhost by a CA of its own: [`PostgresServer::ca_certificate`].
    #[must_use]
    pub fn ssl(mut self) -> Self {
        self.ssl = true;
        self
    }

    /// Starts the server and waits until it takes connections.
    pub async fn start(self) -> Result<PostgresServer> {
        blocking(move || self.start_now()).await
    }

    fn start_now(self) -> Result<PostgresServer> {
        let bin = binaries::postgres(self.version)?;
        let home = template::home()?;
        let data = home.make_folder("data")?;
        if let Some(bytes) = self.tmpfs {
            home.mount_tmpfs(&data, bytes)?;
        }
        template::fill(&home, &bin, &data)?;
        if self.ssl {
            tls::make(&home)?;
        }
        home.write("data/postgresql.conf", &self.conf(&home))?;
        home.write("data/pg_hba.conf", &self.hba())?;
        let ca = self.ssl.then(|| home.path().join(tls::CA));
        let env = if self.clock { clock::prepare(&home)? } else { Vec::new() };
        let mut running = Running { home, bin, data, port: 0, env };
        for again in (0..5).rev() {
            running.port = port::free()?;
            match running.start() {
                Ok(()) => break,
                // Another process was faster.
                Err(_) if again > 0 && running.home.tail("log").contains("could not bind") => {}
                Err(e) => return Err(e),
            }
        }
        let url = format!("postgres://postgres:{PASSWORD}@127.0.0.1:{}/postgres", running.port);
        Ok(PostgresServer::new(running, Postgres::new(&url)?, ca))
    }

    fn conf(&self, home: &Home) -> String {
        let mut lines = vec![
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("unix_socket_directories", home.path().display().to_string()),
            ("fsync", "on".to_owned()),
            ("synchronous_commit", "on".to_owned()),
            ("max_connections", "200".to_owned()),
            // In files of the data folder, which is removed; in /dev/shm a killed server's would stay.
            ("dynamic_shared_memory_type", "mmap".to_owned()),
        ];
        if self.ssl {
            lines.push(("ssl", "on".to_owned()));
            lines.push(("ssl_cert_file", home.path().join(tls::CERTIFICATE).display().to_string()));
            lines.push(("ssl_key_file", home.path().join(tls::KEY).display().to_string()));
        }
        let own = self.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
        lines.into_iter().chain(own).fold(String::new(), |mut text, (name, value)| {
            // Writing to a text can't fail.
            let _ = writeln!(text, "{name} = '{}'", value.replace('\'', "''"));
            text
        })
    }

    fn hba(&self) -> String {
        let method = match self.auth {
            Auth::Scram => "scram-sha-256",
            Auth::Trust => "trust",
        };
        format!(
            "local all all {method}\nhost all all 127.0.0.1/32 {method}\nhost replication all 127.0.0.1/32 {method}\n"
        )
    }
}
