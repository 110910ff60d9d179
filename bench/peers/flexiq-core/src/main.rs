//! flexiq-core, on SQLite, Postgres and Redis. It is of threads that are held up, so that each call goes to one of them.

use std::sync::Arc;
use std::time::Duration;

use flexiq_core::{
    NewJob, PostgresStorage, RedisStorage, SchedulerConfig, SqliteStorage, Storage, StorageBackend,
    TaskError, Worker, WorkerHandle, now_millis,
};
use windlass_bench_contestant::{Contestant, Handler, Payload, Result, Setup, main_of};

/// Jobs claimed at the same time, when tuned.
const BATCH: usize = 100;
/// How often it looks for jobs when tuned, instead of every 50 ms. It gives up an idle server.
const POLL: Duration = Duration::from_millis(1);
/// Connections to Postgres, when tuned, instead of 10.
const CONNECTIONS: u32 = 64;
/// A worker without jobs takes its time to stop, on Redis longer than 100 of them may one after the other. It isn't waited for so long.
const PATIENCE: Duration = Duration::from_millis(200);

fn main() -> Result<()> {
    main_of::<Flexiq>()
}

#[derive(Clone)]
struct Flexiq {
    storage: Arc<StorageBackend>,
    setup: Arc<Setup>,
}

fn queue(number: u64) -> String {
    format!("queue-{number}")
}

impl Flexiq {
    fn job(&self, payload: &Payload) -> Result<NewJob> {
        Ok(NewJob {
            queue: queue(payload.number % self.setup.queues),
            task_name: "noop".to_owned(),
            payload: serde_json::to_vec(payload)?,
            priority: 0,
            scheduled_at: now_millis(),
            max_retries: 3,
            timeout_ms: 30_000,
            unique_key: None,
            metadata: None,
            notes: None,
            depends_on: Vec::new(),
            expires_at: None,
            result_ttl_ms: None,
            namespace: None,
            debounce_key: None,
            enqueued_by: None,
        })
    }

    /// Does something that holds up its thread.
    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&StorageBackend) -> flexiq_core::Result<T> + Send + 'static,
    ) -> Result<T> {
        let storage = self.storage.clone();
        Ok(tokio::task::spawn_blocking(move || call(&storage)).await??)
    }
}

fn open(setup: &Setup) -> Result<StorageBackend> {
    let (url, tuned) = (setup.url.as_str(), setup.config == "tuned");
    Ok(match setup.backend() {
        // Commits of SQLite aren't synced: it sets `synchronous=NORMAL` itself.
        "sqlite" => StorageBackend::Sqlite(SqliteStorage::new(setup.path())?),
        "postgres" if tuned => {
            StorageBackend::Postgres(PostgresStorage::with_pool_size(url, CONNECTIONS)?)
        }
        "postgres" => StorageBackend::Postgres(PostgresStorage::new(url)?),
        "redis" => StorageBackend::Redis(RedisStorage::new(url)?),
        other => return Err(format!("{other} is not one of its backends").into()),
    })
}

impl Contestant for Flexiq {
    const NAME: &'static str = "flexiq-core";
    const VERSION: &'static str = "2.1.0";
    const BULK: bool = true;
    const QUEUES: bool = true;
    type Worker = WorkerHandle;

    fn configs(_backend: &str) -> &'static [&'static str] {
        &["default", "tuned"]
    }

    async fn open(setup: &Setup) -> Result<Self> {
        let setup = Arc::new(setup.clone());
        let given = setup.clone();
        let storage = tokio::task::spawn_blocking(move || open(&given)).await??;
        Ok(Self { storage: Arc::new(storage), setup })
    }

    async fn enqueue(&self, payload: Payload) -> Result<()> {
        let job = self.job(&payload)?;
        self.call(|storage| storage.enqueue(job)).await?;
        Ok(())
    }

    async fn enqueue_bulk(&self, payloads: Vec<Payload>) -> Result<()> {
        let jobs: Result<Vec<NewJob>> = payloads.iter().map(|payload| self.job(payload)).collect();
        let jobs = jobs?;
        self.call(|storage| storage.enqueue_batch(jobs)).await?;
        Ok(())
    }

    async fn start(&self, handler: Handler, concurrency: usize) -> Result<WorkerHandle> {
        // It has no bound for each queue: all of them share their sum.
        let all = concurrency * usize::try_from(self.setup.queues)?;
        let mut worker = Worker::new(StorageBackend::clone(&self.storage))
            .queues((0..self.setup.queues).map(queue))
            .num_workers(all)
            .register_async("noop", move |job| {
                let handler = handler.clone();
                async move {
                    let ran = handler.run_json(&job.payload).await;
                    ran.map(|()| None).map_err(|e| TaskError::fatal(e.to_string()))
                }
            });
        if self.setup.config == "tuned" {
            let config = SchedulerConfig {
                poll_interval: POLL,
                batch_size: Some(BATCH),
                ..SchedulerConfig::default()
            };
            worker = worker.scheduler_config(config);
            // To be woken by an enqueue is the default on Redis. On Postgres it is only a look every 250 ms.
            if self.setup.backend() == "sqlite" {
                worker = worker.push_dispatch(true);
            }
        }
        Ok(tokio::task::spawn_blocking(|| worker.spawn()).await??)
    }

    async fn stop(&self, worker: WorkerHandle) -> Result<()> {
        let stops = tokio::task::spawn_blocking(|| worker.shutdown());
        match tokio::time::timeout(PATIENCE, stops).await {
            Ok(stopped) => Ok(stopped??),
            Err(_) => Ok(()),
        }
    }

    async fn left(&self) -> Result<u64> {
        let counts = self.call(|storage| storage.live_counts(None, None)).await?;
        Ok(u64::try_from(counts.pending + counts.running)?)
    }
}
