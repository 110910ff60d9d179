//! By rusqlite on SQLite: the fastest driver.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::TransactionBehavior::Immediate;
use rusqlite::{Connection, params};
use tokio::sync::Notify;
use uuid::Uuid;
use windlass_bench_contestant::{Payload, Result, Setup};

use crate::sqlite::{CLAIM, INSERT, LEFT, SCHEMA, now, wait};
use crate::table::{Batch, Claimed, Table};

const KEEP: &str = "INSERT INTO raw_finished (id, queue, epoch, claim_id, created_at, started_at, finished_at, args)
    SELECT id, queue, epoch, claim_id, created_at, started_at, ?4, args FROM raw_jobs
    WHERE id = ?1 AND epoch = ?2 AND claim_id = ?3";
const REMOVE: &str = "DELETE FROM raw_jobs WHERE id = ?1";

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
    const BATCH: usize = 1_000;

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
            let transaction = conn.transaction_with_behavior(Immediate)?;
            let mut insert = transaction.prepare_cached(INSERT)?;
            for (queue, payload) in &jobs {
                let (id, args) = (Uuid::now_v7(), serde_json::to_vec(payload)?);
                insert.execute(params![id.as_bytes(), queue, now(), args])?;
            }
            drop(insert);
            Ok(transaction.commit()?)
        };
        self.with(insert).await?;
        self.wake.notify_one();
        Ok(())
    }

    async fn turn(&self, _seat: &mut (), done: &Batch, queue: i64, most: usize) -> Result<Batch> {
        let (old, most) = (done.claim, i64::try_from(most)?);
        let done: Vec<(Uuid, i64)> = done.jobs.iter().map(|job| (job.id, job.epoch)).collect();
        let turn = move |conn: &mut Connection| {
            let (claim, mut jobs) = (Uuid::new_v4(), Vec::new());
            let transaction = conn.transaction_with_behavior(Immediate)?;
            {
                let mut keep = transaction.prepare_cached(KEEP)?;
                let mut remove = transaction.prepare_cached(REMOVE)?;
                for (id, epoch) in &done {
                    let fenced = params![id.as_bytes(), epoch, old.as_bytes(), now()];
                    if keep.execute(fenced)? == 1 {
                        remove.execute([id.as_bytes()])?;
                    }
                }
                let mut ask = transaction.prepare_cached(CLAIM)?;
                let mut rows = ask.query(params![claim.as_bytes(), now(), queue, most])?;
                while let Some(row) = rows.next()? {
                    let id = Uuid::from_bytes(row.get(0)?);
                    jobs.push(Claimed { id, epoch: row.get(1)?, args: row.get(2)? });
                }
            }
            transaction.commit()?;
            Ok(Batch { claim, jobs })
        };
        self.with(turn).await
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
