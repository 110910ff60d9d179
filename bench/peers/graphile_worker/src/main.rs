//! graphile_worker, a queue on Postgres after the one of Node.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use graphile_worker::{
    IntoTaskHandlerResult, JobSpec, LocalQueueConfig, TaskHandler, Worker, WorkerContext,
    WorkerOptions, WorkerUtils,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::task::JoinHandle;
use windlass_bench_contestant::{Contestant, Error, Handler, Payload, Result, Setup, main_of};

/// As many connections as it makes for itself, then those of the tuned.
const CONNECTIONS: u32 = 20;
const TUNED_CONNECTIONS: u32 = 64;
/// Jobs that are locked in the worker ahead of their run, when tuned. Gives up that another worker may take them.
const LOCAL: usize = 5_000;
/// How long finished jobs are gathered, when tuned. Gives up that a finish is written when the job ends.
const GATHER: Duration = Duration::from_millis(5);
/// How often a tuned worker looks unasked. Gives up a quiet server while idle.
const LOOK: Duration = Duration::from_millis(5);

fn main() -> Result<()> {
    main_of::<Graphile>()
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct Noop(Payload);

/// An extension has to be `Debug`.
#[derive(Clone)]
struct State(Handler);

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("State")
    }
}

impl TaskHandler for Noop {
    const IDENTIFIER: &'static str = "noop";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let State(handler) = context.get_ext::<State>().ok_or("there is no handler")?;
        handler.run(self.0).await;
        Ok::<(), String>(())
    }
}

#[derive(Clone)]
struct Graphile {
    pool: PgPool,
    utils: WorkerUtils,
    tuned: bool,
}

struct Running {
    worker: Arc<Worker>,
    task: JoinHandle<Result<(), Error>>,
}

fn options(pool: &PgPool) -> WorkerOptions {
    WorkerOptions::default()
        .pg_pool(pool.clone())
        .listen_os_shutdown_signals(false)
        .define_job::<Noop>()
}

impl Contestant for Graphile {
    const NAME: &'static str = "graphile_worker";
    const VERSION: &'static str = "0.14.1";
    const BULK: bool = true;
    type Worker = Running;

    fn configs(_backend: &str) -> &'static [&'static str] {
        &["default", "tuned"]
    }

    async fn open(setup: &Setup) -> Result<Self> {
        let tuned = setup.config == "tuned";
        let connections = if tuned { TUNED_CONNECTIONS } else { CONNECTIONS };
        let pool = PgPoolOptions::new().max_connections(connections).connect(&setup.url).await?;
        let utils = options(&pool).init().await?.create_utils();
        Ok(Self { pool, utils, tuned })
    }

    async fn enqueue(&self, payload: Payload) -> Result<()> {
        self.utils.add_job(Noop(payload), JobSpec::default()).await?;
        Ok(())
    }

    async fn enqueue_bulk(&self, payloads: Vec<Payload>) -> Result<()> {
        let spec = JobSpec::default();
        let jobs: Vec<_> = payloads.into_iter().map(|payload| (Noop(payload), &spec)).collect();
        self.utils.add_jobs(&jobs).await?;
        Ok(())
    }

    async fn start(&self, handler: Handler, concurrency: usize) -> Result<Running> {
        let mut options =
            options(&self.pool).concurrency(concurrency).add_extension(State(handler));
        if self.tuned {
            options = options
                .poll_interval(LOOK)
                .complete_job_batch_delay(GATHER)
                .local_queue(LocalQueueConfig::default().with_size(LOCAL));
        }
        let worker = Arc::new(options.init().await?);
        let running = worker.clone();
        let task = tokio::spawn(async move { Ok(running.run().await?) });
        Ok(Running { worker, task })
    }

    async fn stop(&self, running: Running) -> Result<()> {
        running.worker.request_shutdown();
        running.task.await?
    }

    async fn left(&self) -> Result<u64> {
        // What is finished is deleted.
        let ask = "SELECT count(*) FROM graphile_worker._private_jobs";
        let left: i64 = sqlx::query_scalar(ask).fetch_one(&self.pool).await?;
        Ok(u64::try_from(left)?)
    }
}
