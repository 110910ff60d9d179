//! How a server is to be started.

use std::fmt::Write as _;
use std::sync::Mutex;

use super::server::{PASSWORD, Redis, RedisServer, Running};
use crate::clock;
use crate::error::{Result, blocking};
use crate::home::Home;
use crate::port;
use crate::postgres::tls::{self, Certificates};

/// Builds a [`RedisServer`].
#[derive(Debug, Clone, Default)]
pub struct RedisBuilder {
    settings: Vec<(String, String)>,
    tls: Option<Tls>,
    sentinel: bool,
    clock: bool,
    tmpfs: Option<u64>,
}

/// Where the certificate comes from.
#[derive(Debug, Clone)]
enum Tls {
    Own,
    Shared(Certificates),
}

impl RedisBuilder {
    /// A line of `redis.conf`. A later one of the same name wins, also over this crate's own: every write is in the append-only file before
    /// its answer (`appendonly yes`, `appendfsync always`), because tests that kill the server need that.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes nothing but TLS, with a certificate for 127.0.0.1 and localhost by a CA of its own: [`RedisServer::ca_certificate`].
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = Some(Tls::Own);
        self
    }

    /// As [`tls`](Self::tls) if the other server has it, with the same certificate and CA, so that servers trust each other; else plain.
    pub fn tls_as(mut self, other: &RedisServer) -> Result<Self> {
        let shared =
            other.ca_certificate().map(|_| Certificates::of(other.folder())).transpose()?;
        self.tls = shared.map(Tls::Shared);
        Ok(self)
    }

    /// Another user, by its rules as the server has them (`on >password ~* +@all`).
    #[must_use]
    pub fn user(self, name: &str, rules: &str) -> Self {
        self.setting("user", &format!("{name} {rules}"))
    }

    /// Gives the server a clock of its own, which [`RedisServer::clock_ahead`] moves. Needs libfaketime.
    #[must_use]
    pub fn movable_clock(mut self) -> Self {
        self.clock = true;
        self
    }

    /// Keeps the append-only file on a file system of that many bytes, which a test can fill. Needs root.
    #[must_use]
    pub fn data_on_tmpfs(mut self, bytes: u64) -> Self {
        self.tmpfs = Some(bytes);
        self
    }

    /// A copy of another server, which follows it.
    #[must_use]
    pub fn replica_of(self, primary: &RedisServer) -> Self {
        self.setting("replicaof", &format!("127.0.0.1 {}", primary.port()))
            .setting("repl-diskless-sync-delay", "0")
    }

    /// A Sentinel instead of a server of data; the settings are all it has.
    pub(super) fn sentinel(mut self) -> Self {
        self.sentinel = true;
        self
    }

    /// Starts the server and waits until it takes connections.
    pub async fn start(self) -> Result<RedisServer> {
        blocking(move || self.start_now()).await
    }

    fn start_now(self) -> Result<RedisServer> {
        let home = Home::new("redis", "KILL", "redis", "redis-server")?;
        match &self.tls {
            Some(Tls::Own) => tls::make(&home)?,
            Some(Tls::Shared(certificates)) => certificates.put(&home)?,
            None => {}
        }
        let env = if self.clock { clock::prepare(&home)? } else { Vec::new() };
        if let Some(bytes) = self.tmpfs {
            home.mount_tmpfs(&home.make_folder("data")?, bytes)?;
        }
        let mut running = Running {
            home,
            env,
            port: 0,
            tls: self.tls.is_some(),
            sentinel: self.sentinel,
            child: Mutex::new(None),
        };
        for again in (0..5).rev() {
            running.port = port::free()?;
            running.home.write("redis.conf", &self.conf(running.port))?;
            match running.start() {
                Ok(()) => break,
                // Another process was faster.
                Err(_) if again > 0 && running.home.tail("log").contains("in use") => {}
                Err(e) => return Err(e),
            }
        }
        let scheme = if self.tls.is_some() { "rediss" } else { "redis" };
        let url = format!("{scheme}://:{PASSWORD}@127.0.0.1:{}/0", running.port);
        let ca = self.tls.is_some().then(|| running.home.path().join(tls::CA));
        Ok(RedisServer::new(running, Redis::new(&url), ca))
    }

    fn conf(&self, port: u16) -> String {
        let mut lines = vec![
            ("bind", "127.0.0.1".to_owned()),
            ("protected-mode", "yes".to_owned()),
            ("requirepass", PASSWORD.to_owned()),
            ("daemonize", "no".to_owned()),
            ("logfile", "log".to_owned()),
        ];
        let data = [
            ("masterauth", PASSWORD.to_owned()),
            ("save", "\"\"".to_owned()),
            ("appendonly", "yes".to_owned()),
            ("appendfsync", "always".to_owned()),
            ("maxmemory-policy", "noeviction".to_owned()),
            ("enable-debug-command", "local".to_owned()),
        ];
        if self.tmpfs.is_some() {
            lines.push(("dir", "data".to_owned()));
            // Else it would lie in the folder of the data.
            lines.push(("logfile", "../log".to_owned()));
        }
        if !self.sentinel {
            lines.extend(data);
        }
        if self.tls.is_some() {
            lines.push(("port", "0".to_owned()));
            lines.push(("tls-port", port.to_string()));
            lines.push(("tls-cert-file", tls::CERTIFICATE.to_owned()));
            lines.push(("tls-key-file", tls::KEY.to_owned()));
            lines.push(("tls-ca-cert-file", tls::CA.to_owned()));
            lines.push(("tls-auth-clients", "no".to_owned()));
            lines.push(("tls-replication", "yes".to_owned()));
            lines.push(("tls-cluster", "yes".to_owned()));
        } else {
            lines.push(("port", port.to_string()));
        }
        let own = self.settings.iter().map(|(name, value)| (name.as_str(), value.clone()));
        lines.into_iter().chain(own).fold(String::new(), |mut text, (name, value)| {
            // Writing to a text can't fail.
            let _ = writeln!(text, "{name} {value}");
            text
        })
    }
}
