//! The backend: a writer, a few readers, and the hub that wakes who waits.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row as _;
use windlass_core::{Backend, Capabilities, Error, Limits, Result, Storage};

use crate::clock::Clock;
use crate::error::{self, NAME};
use crate::options::SqliteOptions;
use crate::readers::Readers;
use crate::storage::SqliteStorage;
use crate::txn::Tick;
use crate::wake::{Hub, SharedHub};
use crate::writer::{Shared, Writer};
use crate::{open, schema};

/// Jobs in a SQLite database. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct SqliteBackend {
    pub(crate) options: Arc<SqliteOptions>,
    pub(crate) writer: Writer,
    pub(crate) readers: Arc<Readers>,
    pub(crate) hub: SharedHub,
    pub(crate) clock: Clock,
}

impl SqliteBackend {
    /// Opens the database, and creates or upgrades its schema.
    ///
    /// # Errors
    /// [`Error::Config`] naming the file and the way out: a missing folder, a folder where a file should be, a file
    /// or folder that can't be written, a file that is no SQLite database or is malformed, a schema newer than this
    /// library. [`Error::Unavailable`] when another process keeps the database locked.
    pub async fn open(options: SqliteOptions) -> Result<Self> {
        open::preflight(&options).await?;
        let options = Arc::new(options);
        let mut conn = open::writer(&options).await?;
        schema::migrate(&mut conn, &options).await?;
        let (hub, clock) = (Arc::new(Hub::default()), Clock::new());
        let tick =
            crate::txn::Txn::peek(&mut conn).await.map_err(|e| open::explain(&options.path, e))?;
        hub.found(tick);
        let shared = Shared {
            options: options.clone(),
            clock: clock.clone(),
            hub: hub.clone(),
            memory: Arc::default(),
        };
        let writer = Writer::start(conn, shared)?;
        let readers = Arc::new(Readers::new(options.clone()));
        Ok(Self { options, writer, readers, hub, clock })
    }

    /// Opens the database that a URL names, see [`SqliteOptions::from_url`].
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn connect(url: &str) -> Result<Self> {
        Self::open(SqliteOptions::from_url(url)?).await
    }

    /// Lets this handle's clock run ahead, for tests of what happens later. Time never steps back: it stays so.
    #[doc(hidden)]
    pub fn advance_clock(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// The time by the database's clock, as a reader sees it.
    pub(crate) async fn now(&self, during: &'static str) -> Result<i64> {
        let rows = self.readers.fetch(during, sqlx::query(include_str!("sql/tick.sql"))).await?;
        let stored = match rows.first() {
            Some(row) => Tick::read(row).map_err(error::map(during))?.now,
            None => 0,
        };
        Ok(self.clock.now(stored))
    }
}

#[async_trait]
impl Backend for SqliteBackend {
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
        Arc::new(SqliteStorage::new(self))
    }

    async fn ping(&self) -> Result<()> {
        self.writer.call(crate::calls::Ping {}).await?;
        let rows = self.readers.fetch("ping", sqlx::query("SELECT 1")).await?;
        let one: i64 = match rows.first() {
            Some(row) => row.try_get(0).map_err(error::map("ping"))?,
            None => 0,
        };
        if one == 1 { Ok(()) } else { Err(Error::Closed(NAME)) }
    }

    async fn close(&self) -> Result<()> {
        self.writer.close().await?;
        self.hub.close();
        self.readers.close().await;
        Ok(())
    }
}
