//! By sqlx on Postgres.

use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};
use uuid::Uuid;
use windlass_bench_contestant::{Payload, Result, Setup};

use crate::table::{Batch, Claimed, LOOK, Table};

const INSERT: &str = "INSERT INTO raw_jobs (id, queue, args) VALUES ($1, $2, $3)";
const INSERT_AND_WAKE: &str = "WITH added AS (INSERT INTO raw_jobs (id, queue, args) VALUES ($1, $2, $3)) SELECT pg_notify('raw', '')";
const INSERT_MANY: &str = "INSERT INTO raw_jobs (id, queue, args) SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bytea[])";
/// A claim id is fresh for each claim, so that a match by sets is a fence. The claim is above the last job that was taken: the index has dead
/// entries below.
const TURN: &str = "WITH gone AS (
        DELETE FROM raw_jobs WHERE id = ANY ($5) AND claim_id = $6 AND epoch = ANY ($7) RETURNING id, queue, epoch, claim_id, created_at, started_at, args),
    kept AS (
        INSERT INTO raw_finished (id, queue, epoch, claim_id, created_at, started_at, args) SELECT * FROM gone)
    UPDATE raw_jobs SET state = 3, epoch = epoch + 1, claim_id = $1, started_at = statement_timestamp()
    WHERE id = ANY (ARRAY(SELECT id FROM raw_jobs WHERE state = 2 AND queue = $2 AND id > $3 ORDER BY queue, id LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED))
    RETURNING id, epoch, args";

/// A loop on Postgres.
#[derive(Clone)]
pub struct Postgres {
    pool: PgPool,
    setup: Setup,
}

/// Connections of one loop.
pub(crate) struct Seat {
    conn: PgConnection,
    listener: PgListener,
    /// The last job that was taken of each queue.
    last: Vec<Uuid>,
}

impl Table for Postgres {
    type Seat = Seat;
    const NAME: &'static str = "raw";
    const LOOPS: usize = 2;
    const BATCH: usize = 1_000;

    async fn open(setup: &Setup) -> Result<Self> {
        let most = u32::try_from(setup.concurrency)?.clamp(2, 64);
        let pool = PgPoolOptions::new().max_connections(most).test_before_acquire(false);
        let pool = pool.connect(&setup.url).await?;
        sqlx::raw_sql(include_str!("sql/postgres.sql")).execute(&pool).await?;
        Ok(Self { pool, setup: setup.clone() })
    }

    async fn seat(&self) -> Result<Seat> {
        let mut listener = PgListener::connect(&self.setup.url).await?;
        listener.listen("raw").await?;
        let last = vec![Uuid::nil(); usize::try_from(self.setup.queues)?];
        Ok(Seat { conn: PgConnection::connect(&self.setup.url).await?, listener, last })
    }

    async fn insert(&self, jobs: Vec<(i64, Payload)>, wake: bool) -> Result<()> {
        let (mut ids, mut queues, mut args) = (Vec::new(), Vec::new(), Vec::new());
        for (queue, payload) in jobs {
            ids.push(Uuid::now_v7());
            queues.push(queue);
            args.push(serde_json::to_vec(&payload)?);
        }
        if let ([id], [queue], [args]) = (&ids[..], &queues[..], &args[..]) {
            let insert = sqlx::query(if wake { INSERT_AND_WAKE } else { INSERT });
            insert.bind(id).bind(queue).bind(args).execute(&self.pool).await?;
            return Ok(());
        }
        sqlx::query(INSERT_MANY).bind(ids).bind(queues).bind(args).execute(&self.pool).await?;
        if wake { self.wake().await } else { Ok(()) }
    }

    async fn wake(&self) -> Result<()> {
        sqlx::query("SELECT pg_notify('raw', '')").execute(&self.pool).await?;
        Ok(())
    }

    async fn turn(&self, seat: &mut Seat, done: &Batch, queue: i64, most: usize) -> Result<Batch> {
        let (claim, last) = (Uuid::new_v4(), &mut seat.last[usize::try_from(queue)?]);
        let mut ids: Vec<Uuid> = done.jobs.iter().map(|job| job.id).collect();
        let epochs: Vec<i64> = done.jobs.iter().map(|job| job.epoch).collect();
        loop {
            let turn = sqlx::query_as(TURN).bind(claim).bind(queue).bind(*last);
            let turn = turn.bind(i64::try_from(most)?).bind(&ids).bind(done.claim).bind(&epochs);
            let rows: Vec<(Uuid, i64, Vec<u8>)> = turn.fetch_all(&mut seat.conn).await?;
            if rows.is_empty() && !last.is_nil() {
                // Others may have committed late below it.
                *last = Uuid::nil();
                ids.clear();
                continue;
            }
            *last = rows.iter().map(|row| row.0).max().unwrap_or_default();
            let claimed = |(id, epoch, args)| Claimed { id, epoch, args };
            return Ok(Batch { claim, jobs: rows.into_iter().map(claimed).collect() });
        }
    }

    async fn wait(&self, seat: &mut Seat) -> Result<()> {
        if let Ok(heard) = tokio::time::timeout(LOOK, seat.listener.recv()).await {
            heard?;
        }
        Ok(())
    }

    async fn left(&self) -> Result<u64> {
        let left: i64 =
            sqlx::query_scalar("SELECT count(*) FROM raw_jobs").fetch_one(&self.pool).await?;
        Ok(u64::try_from(left)?)
    }
}
