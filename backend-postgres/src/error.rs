//! The driver's errors in the library's terms.

use std::sync::Arc;

use sqlx::error::DatabaseError;
use windlass_core::Error;

/// The backend's name in errors and logs.
pub(crate) const NAME: &str = "postgres";

/// Raised by the library's own functions: a short path found what only the long one can handle.
pub(crate) const LONG_PATH: &str = "WL001";

/// The SQLSTATE of a driver error, when the server gave one.
pub(crate) fn state(error: &sqlx::Error) -> Option<String> {
    error.as_database_error()?.code().map(|code| code.into_owned())
}

/// Whether the transaction failed by the doing of others, and running the whole of it again is the way out: a serialization failure, a deadlock.
pub(crate) fn is_conflict(error: &sqlx::Error) -> bool {
    matches!(state(error).as_deref(), Some("40001" | "40P01"))
}

/// Whether the statement waited for a lock for longer than it may.
pub(crate) fn is_locked(error: &sqlx::Error) -> bool {
    state(error).as_deref() == Some("55P03")
}

/// Translates a driver error that came up while `during` was under way.
pub(crate) fn map(during: &'static str) -> impl Fn(sqlx::Error) -> Error {
    move |error| translate(during, error)
}

/// Translates a driver error that came up while `during` was under way.
pub(crate) fn translate(during: &'static str, error: impl Into<Arc<sqlx::Error>>) -> Error {
    let error = error.into();
    if matches!(*error, sqlx::Error::PoolClosed) {
        return Error::Closed(NAME);
    }
    let state = state(&error);
    let hint = hint(&error, state.as_deref());
    let lasting = match (state.as_deref(), &*error) {
        (Some(state), _) => !is_passing(state),
        (None, sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Protocol(_)) => false,
        (None, sqlx::Error::PoolTimedOut | sqlx::Error::WorkerCrashed) => false,
        (None, _) => true,
    };
    let source = Fault { hint, error }.into();
    if lasting {
        Error::Backend { backend: NAME, during, source }
    } else {
        Error::Unavailable { backend: NAME, during, source }
    }
}

/// Whether the same call may succeed later without any change by the caller. See
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn is_passing(state: &str) -> bool {
    // 28: the password or the server's rules changed under a service that runs; whoever changed them mends them.
    let classes = ["08", "28", "40", "53", "55", "57", "58"];
    // A standby or a server made read-only for a while; a transaction that took too long for the server; a database that is being restored; a job
    // that others went on adding and finishing.
    ["25006", "25P03", "25P04", "3D000", LONG_PATH].contains(&state)
        || classes.iter().any(|class| state.starts_with(class))
}

fn hint(error: &sqlx::Error, state: Option<&str>) -> &'static str {
    match (state, error) {
        (Some("53100"), _) => "the server's disk is full: make room",
        (Some("53300"), _) => {
            "the server has no connection left: use smaller pools, or raise `max_connections`"
        }
        (Some("53200"), _) => "the server is short of memory or of locks",
        (Some("57014"), _) => {
            "the statement was cancelled, by the server's `statement_timeout` or by an administrator"
        }
        (Some("55P03"), _) => {
            "another transaction has changed the same rows and not ended: see who holds one open in `pg_stat_activity`"
        }
        (Some("57P01" | "57P02" | "57P03"), _) => "the server is shutting down or starting up",
        (Some("26000" | "42P05"), _) => {
            "a pooler in transaction mode stands in between: say `pooler=transaction` in the URL, or `PostgresOptions::pooled`"
        }
        (Some("28000" | "28P01"), _) => {
            "the server no longer lets this role in: check its password and the server's rules"
        }
        (Some("25006"), _) => "the server takes no writes: it is a standby, or was made read-only",
        (Some("40001" | "40P01"), _) => {
            "others were in the way of this transaction again and again"
        }
        (Some("42501"), _) => {
            "the role lacks a privilege: see the list of grants in the documentation of the crate"
        }
        (Some("42P01" | "3F000" | "42883"), _) => {
            "the schema is missing or incomplete: let a role that may create it run the migrations"
        }
        (_, sqlx::Error::PoolTimedOut) => {
            "no connection became free in time (`acquire_timeout`): the server can't be reached or is slow, or the pool is too small for the load (`connections`)"
        }
        (_, sqlx::Error::Io(_)) => "the connection to the server failed",
        _ => "",
    }
}

/// A driver error with the way out. The server's message is told, never its detail, which may quote values.
struct Fault {
    hint: &'static str,
    error: Arc<sqlx::Error>,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let driver = self.error.as_database_error().map(DatabaseError::message);
        match (self.hint, driver) {
            ("", Some(driver)) => f.write_str(driver),
            ("", None) => write!(f, "{}", self.error),
            (hint, Some(driver)) => write!(f, "{hint} ({driver})"),
            (hint, None) => write!(f, "{hint} ({})", self.error),
        }
    }
}

impl std::fmt::Debug for Fault {
    /// Neither here: the driver's own text has the detail.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fault({self}, {:?})", state(&self.error))
    }
}

impl std::error::Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_is_transient_and_named() {
        let error = translate("claim", sqlx::Error::WorkerCrashed);
        assert!(error.is_transient());
        assert_eq!(error.to_string(), "postgres is unavailable during claim");
        assert!(matches!(translate("claim", sqlx::Error::PoolClosed), Error::Closed(NAME)));
    }
}
