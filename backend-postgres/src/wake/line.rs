//! How the tasks reach the database and other processes.

use std::fmt;
use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;

use crate::options::PostgresOptions;
use crate::session::Session;
use crate::sql::Statements;

/// Where the tasks find the database.
pub(crate) struct Line {
    pub(super) session: Session,
    pub(super) sql: Arc<Statements>,
    /// Whether others are told.
    pub(super) notify: bool,
    /// Where to listen; `None` when this process only polls.
    pub(super) listen: Option<PgConnectOptions>,
    /// What `NOTIFY` and `LISTEN` go by, in this database.
    pub(super) channel: String,
    /// Which process a notification is from.
    pub(super) sender: String,
}

impl Line {
    /// `connect` is how the pool connects.
    pub(crate) fn new(
        options: &PostgresOptions,
        connect: &PgConnectOptions,
        session: Session,
        sql: Arc<Statements>,
    ) -> Self {
        // A pooler in transaction mode hands the connection to others: a LISTEN there is lost.
        let direct = (!options.pooled).then_some(connect);
        let listen = options.direct.as_ref().or(direct).filter(|_| options.hear);
        Self {
            session,
            sql,
            notify: options.notify,
            listen: listen.cloned(),
            channel: channel(&options.schema),
            sender: format!("{:016x}", fastrand::u64(..)),
        }
    }
}

impl fmt::Debug for Line {
    /// Tells nothing of how to connect: that holds a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("channel", &self.channel)
            .field("notify", &self.notify)
            .field("listen", &self.listen.is_some())
            .finish_non_exhaustive()
    }
}

/// The channel of a schema; 57 of the 63 bytes that a name may have.
pub(crate) fn channel(schema: &str) -> String {
    format!("windlass_{schema}")
}
