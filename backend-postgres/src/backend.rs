//! The backend: a pool, connections aside for heartbeats, and the hub that wakes who waits.

use std::sync::Arc;

use async_trait::async_trait;
use windlass_core::{Backend, Capabilities, Limits, Result, Storage};

use crate::aside::Aside;
use crate::error::NAME;
use crate::ops::bounds::Bounds;
use crate::options::PostgresOptions;
use crate::session::Session;
use crate::sql::Statements;
use crate::storage::PostgresStorage;
use crate::wake::Hub;

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
    /// Where claims begin to look.
    pub(crate) bounds: Arc<Bounds>,
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
        todo!()
    }

    async fn close(&self) -> Result<()> {
        todo!()
    }
}
