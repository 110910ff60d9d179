//! Connections for reading. Each statement sees one consistent state, whatever the writer does meanwhile.

use std::sync::{Arc, Mutex, PoisonError};

use sqlx::sqlite::SqliteRow;
use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::Semaphore;
use windlass_core::{Error, Result};

use crate::batch::Query;
use crate::error::{self, NAME};
use crate::open;
use crate::options::SqliteOptions;

/// A few connections, opened when needed.
#[derive(Debug)]
pub(crate) struct Readers {
    options: Arc<SqliteOptions>,
    free: Mutex<Vec<SqliteConnection>>,
    turn: Semaphore,
}

impl Readers {
    pub(crate) fn new(options: Arc<SqliteOptions>) -> Self {
        let turn = Semaphore::new(options.readers);
        Self { options, free: Mutex::default(), turn }
    }

    /// Runs one statement.
    pub(crate) async fn fetch(&self, during: &'static str, query: Query) -> Result<Vec<SqliteRow>> {
        let _turn = self.turn.acquire().await.map_err(|_| Error::Closed(NAME))?;
        let failed = |e| error::in_file(error::translate(during, e), &self.options.path);
        let free = self.lock().pop();
        let mut conn = match free {
            Some(conn) => conn,
            None => open::reader(&self.options).await.map_err(failed)?,
        };
        // A connection goes back only after a good answer: one that was dropped or failed is opened anew.
        let rows = query.fetch_all(&mut conn).await.map_err(failed)?;
        if !self.turn.is_closed() {
            self.lock().push(conn);
        }
        Ok(rows)
    }

    /// Closes the connections; later reads fail.
    pub(crate) async fn close(&self) {
        self.turn.close();
        let free = std::mem::take(&mut *self.lock());
        for conn in free {
            if let Err(error) = conn.close().await {
                tracing::debug!(%error, "closing a reading connection failed");
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<SqliteConnection>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
