//! By sqlx on SQLite.

use std::sync::Arc;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::{Mutex, Notify};
use uuid::Uuid;
use windlass_bench_contestant::{Payload, Result, Setup, micros};

use crate::table::{Claimed, Table};

pub(crate) const SCHEMA: &str = include_str!("sql/sqlite.sql");
pub(crate) const INSERT: &str = "INSERT INTO raw_jobs (id, state, queue, epoch, created_at, args) VALUES (?1, 2, ?2, 0, ?3, ?4)";
/// Of a list of id, queue and args.
pub(crate) const INSERT_MANY: &str =
    "INSERT INTO raw_jobs (id, state, queue, epoch, created_at, args)
    SELECT unhex(value ->> 0), 2, value ->> 1, 0, ?2, CAST(value ->> 2 AS BLOB) FROM json_each(?1)";
pub(crate) const CLAIM: &str =
    "UPDATE raw_jobs SET state = 3, epoch = epoch + 1, claim_id = ?1, started_at = ?2
    WHERE id IN (SELECT id FROM raw_jobs WHERE state = 2 AND queue = ?3 ORDER BY queue, id LIMIT ?4)
    RETURNING id, epoch, args";
/// Of a list of id and epoch.
pub(crate) const KEEP: &str = "INSERT INTO raw_finished (id, queue, epoch, claim_id, created_at, started_at, finished_at, args)
    SELECT j.id, j.queue, j.epoch, j.claim_id, j.created_at, j.started_at, ?3, j.args
    FROM json_each(?1) AS e CROSS JOIN raw_jobs AS j
    ON j.id = unhex(e.value ->> 0) AND j.epoch = e.value ->> 1 AND j.claim_id = ?2";
pub(crate) const REMOVE: &str = "DELETE FROM raw_jobs WHERE id IN (
    SELECT j.id FROM json_each(?1) AS e CROSS JOIN raw_jobs AS j
    ON j.id = unhex(e.value ->> 0) AND j.epoch = e.value ->> 1 AND j.claim_id = ?2)";
pub(crate) const LEFT: &str = "SELECT count(*) FROM raw_jobs";

/// Now, as SQLite has it.
pub(crate) fn now() -> i64 {
    i64::try_from(micros()).unwrap_or(i64::MAX)
}

/// What [`INSERT_MANY`] reads.
pub(crate) fn list_new(jobs: &[(i64, Payload)]) -> Result<String> {
    let row = |(queue, payload): &(i64, Payload)| {
        let id = Uuid::now_v7().simple().to_string();
        Ok((id, *queue, serde_json::to_string(payload)?))
    };
    Ok(serde_json::to_string(&jobs.iter().map(row).collect::<Result<Vec<_>>>()?)?)
}

/// What [`KEEP`] and [`REMOVE`] read.
pub(crate) fn list_claimed(jobs: &[Claimed]) -> Result<String> {
    let rows: Vec<_> = jobs.iter().map(|job| (job.id.simple().to_string(), job.epoch)).collect();
    Ok(serde_json::to_string(&rows)?)
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
        let mut conn = self.conn.lock().await;
        if let [(queue, payload)] = &jobs[..] {
            let id = Uuid::now_v7();
            let insert = sqlx::query(INSERT).bind(id.as_bytes().as_slice()).bind(queue).bind(now());
            insert.bind(serde_json::to_vec(payload)?).execute(&mut *conn).await?;
        } else {
            let insert = sqlx::query(INSERT_MANY).bind(list_new(&jobs)?).bind(now());
            insert.execute(&mut *conn).await?;
        }
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
        let mut conn = self.conn.lock().await;
        let ask = sqlx::query_as(CLAIM).bind(claim.as_bytes().as_slice()).bind(now()).bind(queue);
        let rows: Vec<(Uuid, i64, Vec<u8>)> =
            ask.bind(i64::try_from(most)?).fetch_all(&mut *conn).await?;
        Ok(rows.into_iter().map(|(id, epoch, args)| Claimed { id, epoch, args }).collect())
    }

    async fn finish(&self, _seat: &mut (), jobs: &[Claimed], claim: Uuid) -> Result<()> {
        let (rows, mut conn) = (list_claimed(jobs)?, self.conn.lock().await);
        let mut transaction = conn.begin_with("BEGIN IMMEDIATE").await?;
        let keep = sqlx::query(KEEP).bind(&rows).bind(claim.as_bytes().as_slice()).bind(now());
        keep.execute(&mut *transaction).await?;
        let remove = sqlx::query(REMOVE).bind(&rows).bind(claim.as_bytes().as_slice());
        remove.execute(&mut *transaction).await?;
        transaction.commit().await?;
        Ok(())
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
