//! How to reach the database.

use std::fmt;
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use windlass_core::{Error, Limits, Result};

/// The schema's name unless another is chosen.
pub const DEFAULT_SCHEMA: &str = "windlass";

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
    pub(crate) listen: Option<PgConnectOptions>,
    pub(crate) schema: String,
    pub(crate) limits: Limits,
    pub(crate) connections: u32,
    pub(crate) pooled: bool,
    pub(crate) migrate: bool,
    pub(crate) notify: bool,
    pub(crate) acquire_timeout: Duration,
    pub(crate) statement_timeout: Duration,
}

impl PostgresOptions {
    /// A database, by the driver's own options.
    #[must_use]
    pub fn new(connect: PgConnectOptions) -> Self {
        Self {
            connect,
            listen: None,
            schema: DEFAULT_SCHEMA.to_owned(),
            limits: Limits::default(),
            connections: 10,
            pooled: false,
            migrate: true,
            notify: true,
            acquire_timeout: Duration::from_secs(10),
            statement_timeout: Duration::from_secs(60),
        }
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

    /// The schema that holds the library's tables. Default `windlass`.
    ///
    /// # Errors
    /// [`Error::Config`] unless it is 1 to 48 lower-case letters, digits and underscores, doesn't begin with a digit, and isn't
    /// one of the server's own (`pg_…`).
    pub fn schema(mut self, name: impl Into<String>) -> Result<Self> {
        let name = name.into();
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
            .finish_non_exhaustive()
    }
}

pub(crate) fn config(why: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::Config(why.into())
}
