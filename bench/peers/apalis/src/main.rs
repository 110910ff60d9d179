//! apalis, with its stores on SQLite, Postgres and Redis.

use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use apalis::prelude::*;
use apalis_postgres::{PgPool, PostgresStorage};
use apalis_redis::{ConnectionManager, RedisStorage};
use apalis_sqlite::callback::HookCallbackListener;
use apalis_sqlite::{SqliteConnectOptions, SqlitePool, SqliteStorage};
use futures_util::StreamExt;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use windlass_bench_contestant::{Contestant, Handler, Payload, Result, Setup, main_of};

/// Jobs in a fetch, when tuned.
const BATCH: usize = 1_000;
/// How often a tuned worker looks unasked. Gives up a quiet store while idle.
const LOOK: Duration = Duration::from_millis(20);
/// Connections to Postgres, when tuned, instead of 10.
const CONNECTIONS: u32 = 64;
/// Redis gets all due jobs unpacked in one script call, which has room for about 8,000.
const MOST_ON_REDIS: u64 = 7_000;

/// Without statistics, each finish on SQLite walks all rows that the worker ever had. Those of an empty table say nothing,
/// and samples would tell that there are hardly any rows of a worker that isn't among them.
const STATISTICS: &str = "
    INSERT INTO Workers (id, worker_type, storage_name) VALUES ('past', 'past', 'past');
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
    INSERT INTO Jobs (job, id, job_type, status, lock_at, lock_by, done_at)
    SELECT x'00', 'past-' || i, 'past', 'Done', 1, 'past', 1 FROM n;
    ANALYZE;
    DELETE FROM sqlite_stat4;
    DELETE FROM Jobs WHERE lock_by = 'past';
    DELETE FROM Workers WHERE id = 'past';
";

static WORKERS: AtomicU64 = AtomicU64::new(0);

fn main() -> Result<()> {
    main_of::<Apalis>()
}

#[derive(Clone)]
enum Store {
    /// With what tells of new rows, when tuned.
    Sqlite(SqlitePool, Option<HookCallbackListener>),
    Postgres(PgPool),
    Redis(ConnectionManager),
}

#[derive(Clone)]
struct Apalis {
    store: Store,
    tuned: bool,
    queues: u64,
}

/// One for each queue.
type Workers = Vec<(oneshot::Sender<()>, JoinHandle<Result<(), WorkerError>>)>;

async fn job(payload: Payload, handler: Data<Handler>) {
    handler.run(payload).await;
}

/// The configuration of a queue, of the type of its store.
macro_rules! config {
    ($store:ident, $self:ident, $queue:expr) => {{
        let config = $store::Config::default().queue(format!("queue-{}", $queue));
        // Without locks a job that runs is not marked as running, only as fetched.
        if $self.tuned { config.batch_size(BATCH).lock_tasks(false) } else { config }
    }};
}

/// The storage of a queue, bound to `$storage` in `$then`.
macro_rules! with_storage {
    ($self:ident, $queue:expr, $storage:ident => $then:expr) => {
        match &$self.store {
            Store::Sqlite(pool, _) => {
                let config = config!(apalis_sqlite, $self, $queue);
                let mut $storage = SqliteStorage::<Payload>::new(pool).with_config(config);
                $then
            }
            Store::Postgres(pool) => {
                let config = config!(apalis_postgres, $self, $queue);
                let mut $storage = PostgresStorage::<Payload>::new(pool).with_config(config);
                $then
            }
            Store::Redis(conn) => {
                let config = config!(apalis_redis, $self, $queue);
                let mut $storage = RedisStorage::<Payload>::new(conn.clone()).with_config(config);
                $then
            }
        }
    };
}

/// Starts a worker on a storage.
macro_rules! spawn {
    ($storage:expr, $handler:expr, $concurrency:expr) => {{
        let number = WORKERS.fetch_add(1, Ordering::Relaxed);
        let worker = WorkerBuilder::new(format!("worker-{}-{number}", std::process::id()))
            .backend($storage)
            .concurrency($concurrency)
            .parallelize(tokio::spawn)
            .data($handler)
            .build(job);
        let (stop, stopped) = oneshot::channel::<()>();
        let signal = async move {
            let _ = stopped.await;
            Ok::<_, std::io::Error>(())
        };
        (stop, tokio::spawn(worker.run_until(signal)))
    }};
}

impl Apalis {
    async fn sqlite(url: &str, tuned: bool) -> Result<Store> {
        let options = SqliteConnectOptions::from_str(url)?.create_if_missing(true);
        if !tuned {
            let pool = SqlitePool::connect_with(options).await?;
            SqliteStorage::setup(&pool).await?;
            return Ok(Store::Sqlite(pool, None));
        }
        let (pool, listener) = SqliteStorage::connect_with_callback(url)?;
        // NORMAL gives up the last commits when the machine fails. `setup` would set OFF, on one connection of the pool.
        let options =
            options.journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Normal);
        pool.set_connect_options(options.clone());
        let first = SqlitePool::connect_with(options).await?;
        SqliteStorage::migrations().run(&first).await?;
        sqlx::raw_sql(STATISTICS).execute(&first).await?;
        // The others read the statistics when they are opened.
        first.close().await;
        Ok(Store::Sqlite(pool, Some(listener)))
    }

    async fn count(&self) -> Result<i64> {
        // What failed comes again, or is killed at last.
        let ask =
            |table| format!("SELECT count(*) FROM {table} WHERE status NOT IN ('Done', 'Killed')");
        Ok(match &self.store {
            Store::Sqlite(pool, _) => {
                sqlx::query_scalar(sqlx::AssertSqlSafe(ask("Jobs"))).fetch_one(pool).await?
            }
            Store::Postgres(pool) => {
                sqlx::query_scalar(sqlx::AssertSqlSafe(ask("apalis.jobs"))).fetch_one(pool).await?
            }
            Store::Redis(conn) => {
                let mut ask = redis::pipe();
                for queue in 0..self.queues {
                    let config = config!(apalis_redis, self, queue);
                    ask.hlen(config.job_data_hash());
                    ask.scard(config.done_jobs_set()).scard(config.dead_jobs_set());
                }
                let counts: Vec<i64> = ask.query_async(&mut conn.clone()).await?;
                counts.chunks(3).map(|of| of[0] - of[1] - of[2]).sum()
            }
        })
    }
}

impl Contestant for Apalis {
    const NAME: &'static str = "apalis";
    const VERSION: &'static str = "1.0.0";
    const BULK: bool = true;
    const QUEUES: bool = true;
    type Worker = Workers;

    fn configs(_backend: &str) -> &'static [&'static str] {
        &["default", "tuned"]
    }

    fn largest_backlog(backend: &str, _config: &str) -> Option<u64> {
        (backend == "redis").then_some(MOST_ON_REDIS)
    }

    async fn open(setup: &Setup) -> Result<Self> {
        let tuned = setup.config == "tuned";
        let store = match setup.backend() {
            "sqlite" => Self::sqlite(&setup.url, tuned).await?,
            "postgres" => {
                let mut options = PgPoolOptions::new();
                if tuned {
                    // Each queue listens on one of its own.
                    let listening = u32::try_from(setup.queues)?;
                    options = options.max_connections(CONNECTIONS + listening);
                }
                let pool = options.connect(&setup.url).await?;
                PostgresStorage::setup(&pool).await?;
                Store::Postgres(pool)
            }
            _ => Store::Redis(apalis_redis::connect(setup.url.as_str()).await?),
        };
        Ok(Self { store, tuned, queues: setup.queues })
    }

    async fn enqueue(&self, payload: Payload) -> Result<()> {
        let queue = payload.number % self.queues;
        with_storage!(self, queue, storage => storage.push(payload).await?);
        Ok(())
    }

    async fn enqueue_bulk(&self, payloads: Vec<Payload>) -> Result<()> {
        for queue in 0..self.queues {
            let of_queue = payloads.iter().filter(|payload| payload.number % self.queues == queue);
            let some: Vec<Payload> = of_queue.cloned().collect();
            with_storage!(self, queue, storage => storage.push_bulk(some).await?);
        }
        Ok(())
    }

    async fn start(&self, handler: Handler, concurrency: usize) -> Result<Workers> {
        // With many slots in each of many queues, some queues stand still until the heartbeat: they share the slots.
        let each = (concurrency / usize::try_from(self.queues)?).max(1);
        let mut workers = Workers::new();
        for queue in 0..self.queues {
            let handler = handler.clone();
            let look = Strategy::new();
            workers.push(match &self.store {
                Store::Sqlite(pool, listener) => {
                    let config = config!(apalis_sqlite, self, queue);
                    let storage = SqliteStorage::<Payload>::new(pool).with_config(config);
                    if let Some(listener) = listener.clone() {
                        let look = look.stream(listener.ready_chunks(BATCH)).interval(LOOK);
                        spawn!(storage.poll_with_strategy(look), handler, each)
                    } else {
                        spawn!(storage, handler, each)
                    }
                }
                Store::Postgres(pool) => {
                    let config = config!(apalis_postgres, self, queue);
                    let storage = PostgresStorage::<Payload>::new(pool).with_config(config);
                    if self.tuned {
                        let look = look.interval(LOOK);
                        spawn!(storage.with_pubsub().poll_with_strategy(look), handler, each)
                    } else {
                        spawn!(storage, handler, each)
                    }
                }
                Store::Redis(conn) => {
                    let config = config!(apalis_redis, self, queue);
                    let storage = RedisStorage::<Payload>::new(conn.clone()).with_config(config);
                    if self.tuned {
                        spawn!(storage.poll_with_strategy(look.interval(LOOK)), handler, each)
                    } else {
                        spawn!(storage, handler, each)
                    }
                }
            });
        }
        Ok(workers)
    }

    async fn stop(&self, workers: Workers) -> Result<()> {
        let tasks: Vec<_> = workers
            .into_iter()
            .map(|(stop, task)| {
                // One that has ended by itself is told of by its task.
                let _ = stop.send(());
                task
            })
            .collect();
        for task in tasks {
            task.await??;
        }
        Ok(())
    }

    async fn left(&self) -> Result<u64> {
        Ok(u64::try_from(self.count().await?)?)
    }
}
