//! A connection in use.

use std::sync::Arc;
use std::time::Instant;

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgConnection;
use sqlx::{Error, Postgres, Result};
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use super::{Spare, Spares};

/// How the work on a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It didn't: it was given up.
    Open,
    /// By an error.
    Failed,
    Well,
}

/// A connection out of the pool. One on which a call was given up before its end goes back to no pool: what it is doing nobody knows, and waiting for
/// the end would keep its place in the pool taken.
pub(crate) struct Held {
    conn: Option<PoolConnection<Postgres>>,
    end: End,
    /// None for those of a host's pool.
    place: Option<Place>,
}

pub(super) struct Place {
    pub(super) spares: Arc<Spares>,
    pub(super) taken: Instant,
    pub(super) _permit: OwnedSemaphorePermit,
}

impl Held {
    /// A connection of the host's pool.
    pub(crate) fn hosts(conn: PoolConnection<Postgres>) -> Self {
        Self { conn: Some(conn), end: End::Open, place: None }
    }

    pub(super) fn own(conn: PoolConnection<Postgres>, place: Place) -> Self {
        Self { conn: Some(conn), end: End::Open, place: Some(place) }
    }

    pub(crate) fn conn(&mut self) -> Result<&mut PgConnection> {
        self.conn.as_deref_mut().ok_or(Error::PoolClosed)
    }

    #[cfg(test)]
    pub(super) fn taken(&self) -> Option<Instant> {
        self.place.as_ref().map(|place| place.taken)
    }

    /// Nothing is under way on it any more.
    pub(crate) fn ended(&mut self, well: bool) {
        self.end = if well { End::Well } else { End::Failed };
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(mut conn) = self.conn.take() else { return };
        if Handle::try_current().is_err() {
            // Without a runtime the driver can neither take it back nor part from the server.
            drop(conn.detach());
            return;
        }
        match (self.end, &self.place) {
            (End::Open, _) => conn.close_on_drop(),
            (End::Well, Some(Place { spares, taken, .. })) => {
                spares.keep(Spare { conn, taken: *taken, idle: Instant::now() });
            }
            _ => {}
        }
    }
}
