//! River in Rust, on Postgres and SQLite.

use std::convert::Infallible;
use std::str::FromStr;
use std::time::Duration;

use riverqueue::migrate::{PostgresMigrator, SqliteMigrator};
use riverqueue::sqlx::postgres::PgPoolOptions;
use riverqueue::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use riverqueue::sqlx::{PgPool, query_scalar};
use riverqueue::{
    Client, ClientBuilder, InsertOpts, Job, JobArgs, QueueConfig, RunHandle, WorkOutcome, Workers,
};
use serde::{Deserialize, Serialize};
use windlass_bench_contestant::{Contestant, Handler, Payload, Result, Setup, main_of};

/// Between two fetches, when tuned. Gives up a quiet store under load.
const COOLDOWN: Duration = Duration::from_millis(1);
/// How often a tuned worker looks unasked, as notices on SQLite take longer. Gives up a quiet store while idle.
const LOOK: Duration = Duration::from_millis(5);
/// A fetch takes no more jobs than may run, so a tuned worker may run many in all of its queues, whatever is asked.
const WORKERS: usize = 1_000;
/// Connections to Postgres, when tuned, instead of 10.
const CONNECTIONS: u32 = 64;

const LEFT: &str = "SELECT count(*) FROM river_job
    WHERE state IN ('available', 'pending', 'retryable', 'running', 'scheduled')";

fn main() -> Result<()> {
    main_of::<River>()
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Noop(Payload);

impl JobArgs for Noop {
    const KIND: &'static str = "noop";
}

#[derive(Clone)]
enum Pool {
    Postgres(PgPool),
    Sqlite(SqlitePool),
}

#[derive(Clone)]
struct River {
    pool: Pool,
    /// It only inserts.
    client: Client,
    tuned: bool,
    queues: u64,
}

fn queue(number: u64) -> String {
    match number {
        0 => "default".to_owned(),
        other => format!("queue-{other}"),
    }
}

fn builder(pool: &Pool, tuned: bool) -> ClientBuilder {
    let builder = match pool {
        Pool::Postgres(pool) => Client::builder(pool.clone()),
        Pool::Sqlite(pool) => Client::builder(pool.clone()),
    };
    if tuned { builder.fetch_cooldown(COOLDOWN) } else { builder }
}

async fn sqlite(url: &str, tuned: bool) -> Result<SqlitePool> {
    let options = SqliteConnectOptions::from_str(url)?
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(5));
    // NORMAL gives up the last commits when the machine fails.
    let options = if tuned { options.synchronous(SqliteSynchronous::Normal) } else { options };
    let pool = SqlitePoolOptions::new().max_connections(5).connect_with(options).await?;
    SqliteMigrator::new(pool.clone()).migrate_up().await?;
    Ok(pool)
}

impl River {
    fn options(&self, payload: &Payload) -> InsertOpts {
        InsertOpts::default().with_queue(queue(payload.number % self.queues))
    }
}

impl Contestant for River {
    const NAME: &'static str = "riverqueue";
    const VERSION: &'static str = "0.5.0";
    const BULK: bool = true;
    const QUEUES: bool = true;
    type Worker = RunHandle;

    fn configs(_backend: &str) -> &'static [&'static str] {
        &["default", "tuned"]
    }

    async fn open(setup: &Setup) -> Result<Self> {
        let tuned = setup.config == "tuned";
        let pool = if setup.backend() == "sqlite" {
            Pool::Sqlite(sqlite(&setup.url, tuned).await?)
        } else {
            let mut options = PgPoolOptions::new();
            if tuned {
                options = options.max_connections(CONNECTIONS);
            }
            let pool = options.connect(&setup.url).await?;
            PostgresMigrator::new(pool.clone()).migrate_up().await?;
            Pool::Postgres(pool)
        };
        let client = builder(&pool, tuned).build()?;
        Ok(Self { pool, client, tuned, queues: setup.queues })
    }

    async fn enqueue(&self, payload: Payload) -> Result<()> {
        let options = self.options(&payload);
        self.client.insert(Noop(payload)).opts(options).await?;
        Ok(())
    }

    async fn enqueue_bulk(&self, payloads: Vec<Payload>) -> Result<()> {
        let jobs = payloads.into_iter().map(|payload| {
            let options = self.options(&payload);
            (Noop(payload), options)
        });
        self.client.insert_many(jobs).await?;
        Ok(())
    }

    async fn start(&self, handler: Handler, concurrency: usize) -> Result<RunHandle> {
        let mut workers = Workers::new();
        workers.add_fn(move |_context, job: Job<Noop>| {
            let handler = handler.clone();
            async move {
                handler.run(job.args.0).await;
                Ok::<_, Infallible>(WorkOutcome::Complete)
            }
        })?;
        let least = if self.tuned { WORKERS / usize::try_from(self.queues)? } else { 1 };
        let each = concurrency.max(least);
        let builder = builder(&self.pool, self.tuned).workers(workers);
        let mut config = QueueConfig::new(each);
        if self.tuned {
            config = config.with_fetch_poll_interval(LOOK);
        }
        let add = |builder: ClientBuilder, n| builder.queue(queue(n), config.clone());
        Ok((0..self.queues).fold(builder, add).build()?.start()?)
    }

    async fn stop(&self, mut run: RunHandle) -> Result<()> {
        Ok(run.stop().await?)
    }

    async fn left(&self) -> Result<u64> {
        let left: i64 = match &self.pool {
            Pool::Postgres(pool) => query_scalar(LEFT).fetch_one(pool).await?,
            Pool::Sqlite(pool) => query_scalar(LEFT).fetch_one(pool).await?,
        };
        Ok(u64::try_from(left)?)
    }
}
