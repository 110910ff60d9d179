//! Connections: whose they are, and how a piece of work runs on one.
//!
//! The library's own connections carry settings that hold every statement to its plan. On connections that others have a say in (the
//! host's pool, a pooler in transaction mode) each piece of work runs in a transaction that sets them for itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgRow};
use sqlx::{Connection as _, SqlStr};
use windlass_core::{Error, Result};

use crate::error::map;
use crate::spare::{Held, Spares};
use crate::sql::{Query, safe};

/// A plan made for an empty table must not be kept for a full one: every statement has an index to go by, and one that reads in order until its limit
/// must not gather everything first.
pub(crate) const SETTINGS: [(&str, &str); 5] = [
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("jit", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("default_transaction_isolation", "read committed"),
];

/// The texts that begin transactions, each in one round trip.
#[derive(Debug, Clone)]
pub(crate) struct Begin {
    /// Waits for locks that others hold as long as a statement may take.
    pub(crate) patient: SqlStr,
    /// Gives up when it waits for one lock for longer than the lock timeout.
    pub(crate) brief: SqlStr,
}

impl Begin {
    /// `own`: the connection brings the settings.
    pub(crate) fn new(own: bool, statement: Duration, lock: Duration) -> Self {
        let mut text = "BEGIN ISOLATION LEVEL READ COMMITTED".to_owned();
        if !own {
            for (name, value) in SETTINGS.iter().filter(|(name, _)| !name.starts_with("default")) {
                text.push_str(&format!("; SET LOCAL {name} = '{value}'"));
            }
            for name in TIMEOUTS {
                text.push_str(&format!("; SET LOCAL {name} = {}", millis(statement)));
            }
        }
        let brief = safe(format!("{text}; SET LOCAL lock_timeout = {}", millis(lock)));
        Self { patient: safe(text), brief }
    }
}

/// What the server bounds as the client does: a client that is lost leaves neither a statement running nor a transaction open.
const TIMEOUTS: [&str; 2] = ["statement_timeout", "idle_in_transaction_session_timeout"];

/// A duration as the server counts it; 0 would mean none.
fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX).max(1)
}

/// Where connections come from.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) pool: PgPool,
    /// The connections are the library's own and direct, so that settings made at their start hold.
    pub(crate) own: bool,
    /// Statements can't be prepared beyond a transaction.
    pub(crate) pooled: bool,
    /// How long a statement may take before its connection is given up.
    pub(crate) statement_timeout: Duration,
    /// The pool is the host's, who goes on with it after the backend was closed.
    pub(crate) hosts: bool,
    /// Connections of the library's own that were in use a moment ago.
    pub(crate) spares: Arc<Spares>,
    pub(crate) state: Arc<SessionState>,
    pub(crate) begin: Begin,
}

/// What the clones of a session share.
#[derive(Debug, Default)]
pub(crate) struct SessionState {
    closed: AtomicBool,
    /// Calls that wait for a connection.
    waiting: AtomicU32,
}

impl Session {
    pub(crate) async fn acquire(&self, during: &'static str) -> Result<Held> {
        self.connection().await.map_err(|error| unreached(during, error))
    }

    /// [`acquire`](Self::acquire) with the driver's own error.
    async fn connection(&self) -> sqlx::Result<Held> {
        let _waiting = Waiting::new(&self.state.waiting);
        let held = match self.hosts {
            true => Held::hosts(self.pool.acquire().await?),
            false => self.spares.acquire(&self.pool).await?,
        };
        if self.state.closed.load(Ordering::Acquire) {
            return Err(sqlx::Error::PoolClosed);
        }
        Ok(held)
    }

    /// Calls that wait for a connection now.
    pub(crate) fn waiting(&self) -> u32 {
        self.state.waiting.load(Ordering::Relaxed)
    }

    /// Lets no call begin any more. The library's own pool is closed once the calls under way have ended.
    pub(crate) async fn close(&self) {
        self.state.closed.store(true, Ordering::Release);
        if !self.hosts {
            self.spares.close();
            self.pool.close().await;
        }
    }

    /// Runs one statement that stands for itself.
    pub(crate) async fn fetch(&self, during: &'static str, query: Query) -> Result<Vec<PgRow>> {
        let mut conn = self.acquire(during).await?;
        self.within(&mut conn, query).await.map_err(map(during))
    }

    /// [`fetch`](Self::fetch) with the driver's own error.
    pub(crate) async fn try_fetch(&self, query: Query) -> sqlx::Result<Vec<PgRow>> {
        let mut conn = self.connection().await?;
        self.within(&mut conn, query).await
    }

    /// Runs one statement within the time that it may take.
    async fn within(&self, conn: &mut Held, query: Query) -> sqlx::Result<Vec<PgRow>> {
        let work = self.fetch_on(conn.conn()?, query);
        let done = tokio::time::timeout(self.statement_timeout, work).await;
        if let Ok(done) = &done {
            conn.ended(done.is_ok());
        }
        done.unwrap_or_else(|_| Err(timed_out(STATEMENT)))
    }

    /// Runs one statement that stands for itself on a connection.
    pub(crate) async fn fetch_on(
        &self,
        conn: &mut PgConnection,
        query: Query,
    ) -> sqlx::Result<Vec<PgRow>> {
        if self.own {
            return query.fetch_all(conn).await;
        }
        let mut transaction = conn.begin_with(self.begin.patient.clone()).await?;
        let rows = query.persistent(!self.pooled).fetch_all(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(rows)
    }
}

/// Counts one that waits, for as long as it lives.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// No connection could be had. Whatever the reason is now, it may be gone later: passwords and rules change under services that run.
fn unreached(during: &'static str, error: sqlx::Error) -> Error {
    match map(during)(error) {
        Error::Backend { backend, during, source } => {
            Error::Unavailable { backend, during, source }
        }
        error => error,
    }
}

/// How long a statement, or a whole transaction, may take.
pub(crate) const STATEMENT: &str = "the `statement_timeout`";

/// Something took longer than it may.
pub(crate) fn timed_out(limit: impl std::fmt::Display) -> sqlx::Error {
    let text = format!("no answer within {limit}");
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, text))
}

/// Options for a connection of the library's own.
pub(crate) fn own(options: &PgConnectOptions, pooled: bool) -> PgConnectOptions {
    if pooled {
        // Poolers refuse start-up parameters that they don't know.
        options.clone().statement_cache_capacity(0).extra_float_digits(None)
    } else {
        options.clone().options(SETTINGS)
    }
}

/// Whether the settings of a connection of the library's own have arrived.
pub(crate) async fn check(conn: &mut PgConnection) -> sqlx::Result<bool> {
    let query = "SELECT bool_and(current_setting(s.name) = s.value) FROM unnest($1::text[], $2::text[]) AS s (name, value)";
    let query = sqlx::query_scalar(query);
    let arrived: Option<bool> = query
        .bind(SETTINGS.map(|(name, _)| name))
        .bind(SETTINGS.map(|(_, value)| value))
        .fetch_one(conn)
        .await?;
    Ok(arrived.unwrap_or(false))
}

/// [`own`] with the server's own bound on how long a statement may take.
pub(crate) fn bounded(
    options: &PgConnectOptions,
    pooled: bool,
    statement: Duration,
) -> PgConnectOptions {
    let options = own(options, pooled);
    if pooled { options } else { options.options(TIMEOUTS.map(|name| (name, millis(statement)))) }
}
