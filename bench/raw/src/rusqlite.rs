//! By rusqlite on SQLite: the fastest driver.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, params};
use tokio::sync::Notify;
use uuid::Uuid;
use windlass_bench_contestant::{Payload, Result, Setup};

use crate::sqlite::{
    CLAIM, INSERT, INSERT_MANY, KEEP, LEFT, REMOVE, SCHEMA, list_claimed, list_new, now, wait,
};
use crate::table::{Claimed, Table};

/// A loop on SQLite by another driver.
#[derive(Clone)]
pub struct Rusqlite {
    conn: Arc<Mutex<Connection>>,
    wake: Arc<Notify>,
}

impl Rusqlite {
    /// On a thread that may be held up.
    async fn with<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let conn = self.conn.clone();
        let locked = move || work(&mut conn.lock().unwrap_or_else(PoisonError::into_inner));
        tokio::task::spawn_blocking(locked).await?
    }
}

impl Table for Rusqlite {
    type Seat = ();
    const NAME: &'static str = "raw-rusqlite";
    const LOOPS: usize = 1;

    async fn open(setup: &Setup) -> Result<Self> {
        let conn = Connection::open(setup.path())?;
        conn.pragma_update(None, "journal_mode", "WAL")?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.busy_timeout(Duration::from_secs(10))?;
        conn.execute_batch(SCHEMA)?;
        Ok(Self { conn: Arc::new(Mutex::new(conn)), wake: Arc::default() })
    }

    async fn seat(&self) -> Result<()> {
        Ok(())
    }

    async fn insert(&self, jobs: Vec<(i64, Payload)>, _wake: bool) -> Result<()> {
        let insert = move |conn: &mut Connection| {
            if let [(queue, payload)] = &jobs[..] {
                let (id, args) = (Uuid::now_v7(), serde_json::to_vec(payload)?);
                let mut insert = conn.prepare_cached(INSERT)?;
                insert.execute(params![id.as_bytes().as_slice(), queue, now(), args])?;
            } else {
                conn.prepare_cached(INSERT_MANY)?.execute(params![list_new(&jobs)?, now()])?;
            }
            Ok(())
        };
        self.with(insert).await?;
        self.wake.notify_one();
        Ok(())
    }

    async fn claim(
        &self,
        _seat: &mut (),
        queue: i64,
        most: usize,
        claim: Uuid,
    ) -> Result<Vec<Claimed>> {
        let take = move |conn: &mut Connection| {
            let mut ask = conn.prepare_cached(CLAIM)?;
            let mut rows = ask.query(params![
                claim.as_bytes().as_slice(),
                now(),
                queue,
                i64::try_from(most)?
            ])?;
            let mut jobs = Vec::new();
            while let Some(row) = rows.next()? {
                let id: Vec<u8> = row.get(0)?;
                let (epoch, args) = (row.get(1)?, row.get(2)?);
                jobs.push(Claimed { id: Uuid::from_slice(&id)?, epoch, args });
            }
            Ok(jobs)
        };
        self.with(take).await
    }

    async fn finish(&self, _seat: &mut (), jobs: &[Claimed], claim: Uuid) -> Result<()> {
        let rows = list_claimed(jobs)?;
        let keep = move |conn: &mut Connection| {
            let transaction = conn.transaction()?;
            let claim = claim.as_bytes().as_slice();
            transaction.prepare_cached(KEEP)?.execute(params![rows, claim, now()])?;
            transaction.prepare_cached(REMOVE)?.execute(params![rows, claim])?;
            Ok(transaction.commit()?)
        };
        self.with(keep).await
    }

    async fn wait(&self, _seat: &mut ()) -> Result<()> {
        wait(&self.wake).await;
        Ok(())
    }

    async fn left(&self) -> Result<u64> {
        let left: i64 = self.with(|conn| Ok(conn.query_row(LEFT, [], |row| row.get(0))?)).await?;
        Ok(u64::try_from(left)?)
    }
}
