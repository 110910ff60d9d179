//! By sqlx on SQLite.

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Mutex, Notify};
use uuid::Uuid;
use windlass_bench_contestant::{Payload, Result, Setup, micros};

use crate::table::{Batch, Claimed, Table};

pub(crate) const SCHEMA: &str = include_str!("sql/sqlite.sql");
pub(crate) const INSERT: &str =
    "INSERT INTO raw_jobs (id, state, queue, epoch, created_at, args) VALUES (?, 2, ?, 0, ?, ?)";
pub(crate) const CLAIM: &str =
    "UPDATE raw_jobs SET state = 3, epoch = epoch + 1, claim_id = ?1, started_at = ?2
    WHERE id IN (SELECT id FROM raw_jobs WHERE state = 2 AND queue = ?3 ORDER BY queue, id LIMIT ?4)
    RETURNING id, epoch, args";
/// Of a list of id and epoch.
const KEEP: &str = "INSERT INTO raw_finished (id, queue, epoch, claim_id, created_at, started_at, finished_at, args)
    SELECT j.id, j.queue, j.epoch, j.claim_id, j.created_at, j.started_at, ?3, j.args
    FROM json_each(?1) AS e CROSS JOIN raw_jobs AS j
    ON j.id = unhex(e.value ->> 0) AND j.epoch = e.value ->> 1 AND j.claim_id = ?2";
const REMOVE: &str = "DELETE FROM raw_jobs WHERE id IN (
    SELECT j.id FROM json_each(?1) AS e CROSS JOIN raw_jobs AS j
    ON j.id = unhex(e.value ->> 0) AND j.epoch = e.value ->> 1 AND j.claim_id = ?2)";
pub(crate) const LEFT: &str = "SELECT count(*) FROM raw_jobs";

/// Now, as SQLite has it.
pub(crate) fn now() -> i64 {
    i64::try_from(micros()).unwrap_or(i64::MAX)
}

/// A loop on SQLite, by the driver that Windlass uses.
#[derive(Clone)]
pub struct Sqlite {
    conn: Arc<Mutex<SqliteConnection>>,
    wake: Arc<Notify>,
}

impl Table for Sqlite {
    type Seat = ();
    const NAME: &'static str = "raw";
    const LOOPS: usize = 1;
    const BATCH: usize = 1_000;

    async fn open(setup: &Setup) -> Result<Self> {
        let options = SqliteConnectOptions::new()
            .filename(setup.path())
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(std::time::Duration::from_secs(10))
            .row_buffer_size(1_000);
        let mut conn = options.connect().await?;
        sqlx::raw_sql(SCHEMA).execute(&mut conn).await?;
        Ok(Self { conn: Arc::new(Mutex::new(conn)), wake: Arc::default() })
    }

    async fn seat(&self) -> Result<()> {
        Ok(())
    }

    async fn insert(&self, jobs: Vec<(i64, Payload)>, _wake: bool) -> Result<()> {
        // One statement, read once: as many rows as there are jobs.
        let more = ", (?, 2, ?, 0, ?, ?)".repeat(jobs.len().saturating_sub(1));
        let mut insert = sqlx::query(AssertSqlSafe(format!("{INSERT}{more}")));
        for (queue, payload) in &jobs {
            let id = Uuid::now_v7();
            insert = insert.bind(id).bind(queue).bind(now()).bind(serde_json::to_vec(payload)?);
        }
        insert.execute(&mut *self.conn.lock().await).await?;
        self.wake.notify_one();
        Ok(())
    }

    async fn turn(&self, _seat: &mut (), done: &Batch, queue: i64, most: usize) -> Result<Batch> {
        let (claim, mut conn) = (Uuid::new_v4(), self.conn.lock().await);
        let ask = sqlx::query_as(CLAIM).bind(claim).bind(now()).bind(queue);
        let ask = ask.bind(i64::try_from(most)?);
        let rows: Vec<(Uuid, i64, Vec<u8>)> = if done.jobs.is_empty() {
            ask.fetch_all(&mut *conn).await?
        } else {
            let list: Vec<_> =
                done.jobs.iter().map(|job| (job.id.simple().to_string(), job.epoch)).collect();
            let list = serde_json::to_string(&list)?;
            let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
            let keep = sqlx::query(KEEP).bind(&list).bind(done.claim).bind(now());
            keep.execute(&mut *transaction).await?;
            sqlx::query(REMOVE).bind(&list).bind(done.claim).execute(&mut *transaction).await?;
            let rows = ask.fetch_all(&mut *transaction).await?;
            transaction.commit().await?;
            rows
        };
        let jobs = rows.into_iter().map(|(id, epoch, args)| Claimed { id, epoch, args }).collect();
        Ok(Batch { claim, jobs })
    }

    async fn wait(&self, _seat: &mut ()) -> Result<()> {
        wait(&self.wake).await;
        Ok(())
    }

    async fn left(&self) -> Result<u64> {
        let mut conn = self.conn.lock().await;
        let left: i64 = sqlx::query_scalar(LEFT).fetch_one(&mut *conn).await?;
        Ok(u64::try_from(left)?)
    }
}

/// Other processes can't wake this one: it looks often.
pub(crate) async fn wait(wake: &Notify) {
    let _ = tokio::time::timeout(std::time::Duration::from_millis(1), wake.notified()).await;
}
