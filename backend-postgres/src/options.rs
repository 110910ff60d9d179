//! How to reach the database.

mod url;

use std::fmt;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgSslMode};
use windlass_core::{Error, Limits, Result};

use crate::ops::pace::Budget;

/// The schema's name unless another is chosen.
pub(crate) const DEFAULT_SCHEMA: &str = "windlass";

/// Where the database is and how it is used.
///
/// ```
/// use windlass_postgres::PostgresOptions;
///
/// let options = PostgresOptions::from_url("postgres://app@db.example/app?schema=jobs")?.connections(8);
/// assert_eq!(options.schema_name(), "jobs");
/// # Ok::<(), windlass_core::Error>(())
/// ```
#[derive(Clone)]
pub struct PostgresOptions {
    pub(crate) connect: PgConnectOptions,
    pub(crate) direct: Option<PgConnectOptions>,
    pub(crate) schema: String,
    pub(crate) limits: Limits,
    pub(crate) connections: u32,
    pub(crate) pooled: bool,
    pub(crate) migrate: bool,
    pub(crate) notify: bool,
    pub(crate) hear: bool,
    pub(crate) acquire_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) lock_timeout: Duration,
    pub(crate) sweeps: Budget,
}

/// How long settling waits for a job that somebody else is changing.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

impl PostgresOptions {
    /// A database, by the driver's own options, which are taken as they are: the driver's default of `sslmode=prefer` trusts any server.
    #[must_use]
    pub fn new(connect: PgConnectOptions) -> Self {
        Self {
            connect,
            direct: None,
            schema: DEFAULT_SCHEMA.to_owned(),
            limits: Limits::default(),
            connections: 10,
            pooled: false,
            migrate: true,
            notify: true,
            hear: true,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
            lock_timeout: LOCK_TIMEOUT,
            sweeps: Budget::default(),
        }
    }

    /// Reads `postgres://user:password@host:port/database?…`. What isn't named comes from the driver's environment variables (`PGHOST`, `PGUSER`,
    /// `PGPASSWORD`, `PGSSLMODE` and so on) and its password file. Parameters are
    ///
    /// - the driver's own: `sslmode`, `sslrootcert`, `sslcert`, `sslkey`, `host`, `hostaddr`, `port`, `dbname`, `user`, `password`, `application_name`,
    ///   `options`, `options[name]`, `statement-cache-capacity`;
    /// - `schema=name`, see [`schema`](Self::schema);
    /// - `connections=10`, see [`connections`](Self::connections);
    /// - `pooler=transaction`, see [`pooled`](Self::pooled);
    /// - `migrate=false`, see [`migrate`](Self::migrate);
    /// - `listen=off`, see [`listen`](Self::listen).
    ///
    /// With the cargo feature `tls`, a host that isn't this machine, and neither `sslmode` nor `PGSSLMODE`, the server's certificate is verified (`verify-full`). Without
    /// the feature nothing is encrypted.
    ///
    /// # Errors
    /// [`Error::Config`] naming the parameter that is unknown or can't be used, or the missing feature; it never shows the URL or a value.
    pub fn from_url(url: &str) -> Result<Self> {
        url::read(url)
    }

    /// Limits on what callers pass.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Connections for everything but heartbeats and `LISTEN`, opened when needed; at least 2. Default 10.
    #[must_use]
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections.max(2);
        self
    }

    /// How long a call may wait for a connection, and opening for the first one. Default 10 s.
    #[must_use]
    pub fn acquire_timeout(mut self, timeout: Duration) -> Self {
        self.acquire_timeout = timeout;
        self
    }

    /// How long a statement, or a transaction of the library's own, may take. It is measured here: after it the connection is given up, and the call fails with
    /// [`Error::Unavailable`]. The server ends the statement by itself (its `statement_timeout` and `idle_in_transaction_session_timeout` are set so, but
    /// for migrations), so that a process that is gone leaves none behind. Default 60 s.
    #[must_use]
    pub fn statement_timeout(mut self, timeout: Duration) -> Self {
        self.statement_timeout = timeout;
        self
    }

    /// How long settling, recording and maintenance wait for a row that another transaction has changed and not committed: one in which the host completes
    /// the job, or somebody's `UPDATE` by hand. After it the other settlements of the batch are applied, and that one is
    /// answered by [`Settled::Busy`](windlass_core::Settled::Busy), which workers repeat until their lease ends. Inserts and changes by users wait
    /// as long as a [statement](Self::statement_timeout) may take. Default 1 s.
    #[must_use]
    pub fn lock_timeout(mut self, timeout: Duration) -> Self {
        self.lock_timeout = timeout;
        self
    }

    /// What a look from the head of an index may cost and still be made at any time. Claims, heartbeats, maintenance and pruning begin their looks behind what
    /// they have dealt with; what came in late below that (a transaction that was open for long) is found from the head, which is dear while somebody holds
    /// an old snapshot and vacuum can't remove dead rows. What costs more takes its [share](Self::sweep_share) of the time. It is time on the server for
    /// claims, and 10 ms more for the rest, which are measured with the way there and back. Zero: none is cheap. Default 300 µs.
    #[must_use]
    pub fn cheap_sweep(mut self, cost: Duration) -> Self {
        self.sweeps.cheap = cost;
        self
    }

    /// Looks from the head that are not [cheap](Self::cheap_sweep) take at most one part in so many of the time, at least 1: one that costs 20 ms is made again after
    /// 200 ms by default. A job that is committed late, below what was claimed meanwhile, may wait so long. Default 10.
    #[must_use]
    pub fn sweep_share(mut self, parts: u32) -> Self {
        self.sweeps.share = parts.max(1);
        self
    }

    /// Whether a pooler such as PgBouncer stands in between and gives a connection for no longer than a transaction. Then every statement runs in a transaction, nothing
    /// is prepared beyond it, and [`LISTEN` and heartbeats](Self::direct_url) need a way past the pooler. Default false.
    #[must_use]
    pub fn pooled(mut self, pooled: bool) -> Self {
        self.pooled = pooled;
        self
    }

    /// A way to the database that no pooler stands in, for `LISTEN` and for heartbeats: through a pooler these would wait in its queue behind everything
    /// else, and a worker whose heartbeats wait too long loses its lease. Read like [`from_url`](Self::from_url), with the driver's own parameters alone.
    /// Heartbeats that find no connection that way go the way of everything else. Default: as everything else, and no `LISTEN` behind a pooler.
    ///
    /// # Errors
    /// Those of [`from_url`](Self::from_url), and [`Error::Config`] for a parameter that isn't the driver's.
    pub fn direct_url(mut self, url: &str) -> Result<Self> {
        self.direct = Some(url::read_direct(url)?);
        Ok(self)
    }

    /// [`direct_url`](Self::direct_url) by the driver's own options.
    #[must_use]
    pub fn direct_options(mut self, connect: PgConnectOptions) -> Self {
        self.direct = Some(connect);
        self
    }

    /// Whether a process that waits for jobs holds a connection that hears (`LISTEN`) of those that other processes add. Without it such jobs are found by
    /// polling. Default true.
    #[must_use]
    pub fn listen(mut self, listen: bool) -> Self {
        self.hear = listen;
        self
    }

    /// Whether to tell other processes of new jobs (`NOTIFY`), in a statement of its own after the commit: 200 times a second, and up to 1,000 times
    /// while that takes a fifth of the time at most. Without it they find the jobs by polling. Others may be set up like this process, so its own workers
    /// rely on no hints either: they poll as often as without [`listen`](Self::listen), and hear what they hear. Default true.
    #[must_use]
    pub fn notify(mut self, notify: bool) -> Self {
        self.notify = notify;
        self
    }

    /// Whether opening creates the schema and brings it up to date. Without it a schema that isn't is an error; see
    /// [`PostgresBackend::migrations_sql`](crate::PostgresBackend::migrations_sql). When there is nothing to do no privilege is needed. Default true.
    #[must_use]
    pub fn migrate(mut self, migrate: bool) -> Self {
        self.migrate = migrate;
        self
    }

    /// The schema that holds the library's tables. Default `windlass`.
    ///
    /// # Errors
    /// [`Error::Config`] unless it is 1 to 48 lower-case letters, digits and underscores, doesn't begin with a digit, and isn't
    /// one of the server's own (`pg_…`).
    pub fn schema(mut self, name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        check_schema(&name)?;
        self.schema = name;
        Ok(self)
    }

    /// The schema that holds the library's tables.
    #[must_use]
    pub fn schema_name(&self) -> &str {
        &self.schema
    }
}

impl fmt::Debug for PostgresOptions {
    /// Tells no password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("host", &self.connect.get_host())
            .field("port", &self.connect.get_port())
            .field("database", &self.connect.get_database())
            .field("schema", &self.schema)
            .field("connections", &self.connections)
            .field("pooled", &self.pooled)
            .field("migrate", &self.migrate)
            .field("notify", &self.notify)
            .field("listen", &self.hear)
            .finish_non_exhaustive()
    }
}

impl Default for PostgresOptions {
    /// What the driver's environment variables name.
    fn default() -> Self {
        Self::new(PgConnectOptions::new())
    }
}

/// Checks the name of a schema. It is put into statements as it is.
pub(crate) fn check_schema(name: &str) -> Result<()> {
    let letter = |b: u8| b.is_ascii_lowercase() || b == b'_';
    let fits = (1..=48).contains(&name.len())
        && name.bytes().next().is_some_and(letter)
        && name.bytes().all(|b| letter(b) || b.is_ascii_digit())
        && !name.starts_with("pg_")
        && name != "information_schema";
    if !fits {
        return Err(config(
            "the schema's name must be 1 to 48 lower-case letters, digits and underscores, not begin with a digit and not with `pg_`",
        ));
    }
    Ok(())
}

/// Whether the server is on this machine.
fn is_local(connect: &PgConnectOptions) -> bool {
    let host = connect.get_host().trim_matches(['[', ']']);
    let address = host.parse::<std::net::IpAddr>();
    connect.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || address.is_ok_and(|address| address.is_loopback())
}

/// Refuses encryption that this build can't do.
pub(crate) fn check_tls(connect: &PgConnectOptions) -> Result<()> {
    let asked = matches!(
        connect.get_ssl_mode(),
        PgSslMode::Require | PgSslMode::VerifyCa | PgSslMode::VerifyFull
    );
    if asked && !cfg!(feature = "tls") {
        return Err(config(
            "encryption is asked for (`sslmode`) and this build can't do it: turn on the cargo feature `tls` of windlass-postgres",
        ));
    }
    Ok(())
}

pub(crate) fn config(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::Config(why.into())
}

#[cfg(test)]
mod tests;
