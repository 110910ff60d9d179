//! The backend: a pool, connections aside for heartbeats, and the hub that wakes who waits.

pub(crate) mod explain;
mod figures;
mod open;
mod roles;

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Row as _;
use windlass_core::{Backend, Capabilities, Error, Limits, Result, Storage};

use crate::aside::Aside;
use crate::error::{NAME, map};
use crate::gather::Singles;
use crate::ops::bounds::Bounds;
use crate::ops::maintain::Upkeep;
use crate::ops::under_way::UnderWay;
use crate::options::PostgresOptions;
use crate::outbox::Progress;
use crate::session::Session;
use crate::sql::{Statements, query};
use crate::storage::PostgresStorage;
use crate::wake::Hub;

pub use figures::PoolFigures;
pub use roles::Role;

/// Jobs in a Postgres database. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct PostgresBackend {
    pub(crate) options: Arc<PostgresOptions>,
    pub(crate) session: Session,
    pub(crate) sql: Arc<Statements>,
    /// Who waits is told here; also tells other processes after a commit.
    pub(crate) hub: Arc<Hub>,
    /// Connections for heartbeats.
    pub(crate) aside: Arc<Aside>,
    /// Single inserts that go together.
    pub(crate) gather: Arc<Singles>,
    /// Claims that have been sent and not answered.
    pub(crate) claims: Arc<UnderWay>,
    /// Where claims begin to look.
    pub(crate) bounds: Arc<Bounds>,
    /// Where takes from the outbox begin to look.
    pub(crate) outbox: Arc<Progress>,
    /// What upkeep has dealt with.
    pub(crate) upkeep: Arc<Upkeep>,
}

#[async_trait]
impl Backend for PostgresBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(true, true, true)
    }

    fn limits(&self) -> &Limits {
        &self.options.limits
    }

    fn storage(&self) -> Arc<dyn Storage> {
        Arc::new(PostgresStorage::new(self))
    }

    async fn ping(&self) -> Result<()> {
        self.hub.check_open()?;
        let rows = self.session.fetch("ping", query(&self.sql.ping)).await?;
        let writable = rows.first().map(|row| row.try_get::<bool, _>(0)).transpose();
        if writable.map_err(map("ping"))?.unwrap_or(false) {
            return Ok(());
        }
        let source = "the server takes no writes: it is a standby, or was made read-only".into();
        Err(Error::Unavailable { backend: NAME, during: "ping", source })
    }

    async fn close(&self) -> Result<()> {
        self.hub.close().await;
        self.aside.close();
        self.session.close().await;
        Ok(())
    }
}
