//! awa, a queue on Postgres.

use std::time::Duration;

use awa::model::insert::params_with;
use awa::{
    Client, InsertOpts, InsertParams, JobArgs, JobResult, QueueConfig, QueueStorage,
    QueueStorageConfig, insert, insert_many, migrations,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use windlass_bench_contestant::{Contestant, Handler, Payload, Result, Setup, main_of};

/// A claim takes no more jobs than may run, so a tuned worker may run many, whatever is asked.
const WORKERS: u32 = 1_000;
/// How often a tuned worker looks unasked. Gives up a quiet server while idle.
const LOOK: Duration = Duration::from_millis(50);
/// Connections, when tuned, instead of 10.
const CONNECTIONS: u32 = 64;
/// How long a stop waits for what runs.
const PATIENCE: Duration = Duration::from_secs(5);

/// Takes its new storage into use where nothing has been enqueued yet.
const NEW_STORAGE: &str = "SELECT awa.storage_auto_finalize_if_fresh($1)";
/// Its queue. To count what is left takes a heavy statement for each, so that it isn't asked about many.
const QUEUE: &str = "default";

fn main() -> Result<()> {
    main_of::<Awa>()
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Noop(Payload);

impl JobArgs for Noop {
    fn kind() -> &'static str {
        "noop"
    }
}

#[derive(Clone)]
struct Awa {
    pool: PgPool,
    tuned: bool,
}

impl Awa {
    fn params(payload: Payload) -> Result<InsertParams> {
        Ok(params_with(&Noop(payload), InsertOpts::default())?)
    }
}

/// As its client has it, too.
fn storage() -> Result<QueueStorage> {
    Ok(QueueStorage::new(QueueStorageConfig::default())?)
}

impl Contestant for Awa {
    const NAME: &'static str = "awa";
    const VERSION: &'static str = "0.6.9";
    const BULK: bool = true;
    type Worker = Client;

    fn configs(_backend: &str) -> &'static [&'static str] {
        &["default", "tuned"]
    }

    async fn open(setup: &Setup) -> Result<Self> {
        let (mut options, tuned) = (PgPoolOptions::new(), setup.config == "tuned");
        if tuned {
            options = options.max_connections(CONNECTIONS);
        }
        let pool = options.connect(&setup.url).await?;
        // Its future can't be sent to another thread.
        let runtime = tokio::runtime::Handle::current();
        tokio::task::block_in_place(|| runtime.block_on(migrations::run(&pool)))?;
        // As its first worker does. What is enqueued before goes to the tables of older versions.
        sqlx::query(NEW_STORAGE).bind("awa").execute(&pool).await?;
        Ok(Self { pool, tuned })
    }

    async fn enqueue(&self, payload: Payload) -> Result<()> {
        insert(&self.pool, &Noop(payload)).await?;
        Ok(())
    }

    async fn enqueue_bulk(&self, payloads: Vec<Payload>) -> Result<()> {
        let jobs = payloads.into_iter().map(Self::params);
        let jobs = jobs.collect::<Result<Vec<_>>>()?;
        if self.tuned {
            storage()?.enqueue_params_copy(&self.pool, &jobs).await?;
        } else {
            insert_many(&self.pool, &jobs).await?;
        }
        Ok(())
    }

    async fn start(&self, handler: Handler, concurrency: usize) -> Result<Client> {
        let asked = u32::try_from(concurrency)?;
        let wanted = if self.tuned { asked.max(WORKERS) } else { asked };
        let mut config = QueueConfig { max_workers: wanted, ..QueueConfig::default() };
        if self.tuned {
            config.poll_interval = LOOK;
            // Gives up the rescue of jobs that run too long, for the shorter path of those without a deadline.
            config.deadline_duration = Duration::ZERO;
        }
        let client = Client::builder(self.pool.clone())
            .queue(QUEUE, config)
            .register::<Noop, _, _>(move |job, _context| {
                let handler = handler.clone();
                async move {
                    handler.run(job.0).await;
                    Ok(JobResult::Completed)
                }
            })
            .build()?;
        client.start().await?;
        Ok(client)
    }

    async fn stop(&self, client: Client) -> Result<()> {
        client.shutdown(PATIENCE).await;
        Ok(())
    }

    async fn left(&self) -> Result<u64> {
        let counts = storage()?.queue_counts(&self.pool, QUEUE).await?;
        Ok(u64::try_from(counts.available + counts.running)?)
    }
}
