//! oxana, on Redis.

use std::convert::Infallible;
use std::time::Duration;

use oxana::{
    FromContext, Job, JobContext, Queue, QueueConfig, Storage, StorageBuilderTimeouts, Worker,
};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use windlass_bench_contestant::{Contestant, Handler, Payload, Result, Setup, main_of};

/// Connections, when tuned: its 50 run out with many jobs at the same time.
const CONNECTIONS: usize = 200;
/// How long a connection is waited for, when tuned.
const PATIENCE: Duration = Duration::from_secs(5);
/// When tuned, how long it sleeps after it found nothing, instead of 10 s. It gives up an idle server: 1,000 queries per second.
const POLL: Duration = Duration::from_millis(1);

fn main() -> Result<()> {
    main_of::<Oxana>()
}

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct Noop(Payload);

impl Job for Noop {}

struct Runs(Handler);

impl FromContext<Handler> for Runs {
    fn from_context(handler: &Handler) -> Self {
        Self(handler.clone())
    }
}

#[async_trait::async_trait]
impl Worker<Noop> for Runs {
    type Error = Infallible;

    async fn process(&self, job: Noop, _: &JobContext) -> Result<(), Infallible> {
        self.0.run(job.0).await;
        Ok(())
    }
}

/// A queue by its number.
struct Numbered(u64);

impl Queue for Numbered {
    fn key(&self) -> String {
        format!("queue-{}", self.0)
    }

    fn to_config() -> QueueConfig {
        QueueConfig::as_static("queue-0")
    }

    fn config(&self) -> QueueConfig {
        QueueConfig::as_static(self.key())
    }
}

#[derive(Clone)]
struct Oxana {
    storage: Storage,
    setup: Setup,
}

/// What tells a worker to stop, and the worker.
struct Running(oneshot::Sender<()>, JoinHandle<Result<()>>);

impl Contestant for Oxana {
    const NAME: &'static str = "oxana";
    const VERSION: &'static str = "2.5.0";
    const BULK: bool = true;
    const QUEUES: bool = true;
    type Worker = Running;

    fn configs(_backend: &str) -> &'static [&'static str] {
        &["default", "tuned"]
    }

    async fn open(setup: &Setup) -> Result<Self> {
        let mut builder = Storage::builder();
        if setup.config == "tuned" {
            let timeouts = StorageBuilderTimeouts::new(PATIENCE);
            builder = builder.max_pool_size(CONNECTIONS).timeouts(timeouts);
        }
        Ok(Self { storage: builder.build_from_redis_url(&setup.url)?, setup: setup.clone() })
    }

    async fn enqueue(&self, payload: Payload) -> Result<()> {
        let queue = Numbered(payload.number % self.setup.queues);
        self.storage.enqueue(queue, Noop(payload)).await?;
        Ok(())
    }

    async fn enqueue_bulk(&self, payloads: Vec<Payload>) -> Result<()> {
        let mut queues: Vec<Vec<Noop>> = (0..self.setup.queues).map(|_| Vec::new()).collect();
        for payload in payloads {
            queues[usize::try_from(payload.number % self.setup.queues)?].push(Noop(payload));
        }
        for (number, jobs) in (0..).zip(queues).filter(|(_, jobs)| !jobs.is_empty()) {
            self.storage.enqueue_list(Numbered(number), jobs).await?;
        }
        Ok(())
    }

    async fn start(&self, handler: Handler, concurrency: usize) -> Result<Running> {
        let (stop, stopped) = oneshot::channel();
        let mut runtime = self.storage.runtime(handler).worker::<Runs, Noop>();
        for number in 0..self.setup.queues {
            runtime = runtime.queue_with(Numbered(number).config().concurrency(concurrency));
        }
        if self.setup.config == "tuned" {
            runtime = runtime.dequeue_timeout(POLL);
        }
        let runtime = runtime.shutdown_on(async {
            // A sender that is gone stops it too.
            let _ = stopped.await;
            Ok(())
        });
        let task = tokio::spawn(async { Ok(runtime.run().await.map(|_| ())?) });
        Ok(Running(stop, task))
    }

    async fn stop(&self, Running(stop, task): Running) -> Result<()> {
        // Where it ended already, the task tells why.
        let _ = stop.send(());
        task.await?
    }

    async fn left(&self) -> Result<u64> {
        // A hash of all jobs that aren't finished: also those that run, and those to be tried again.
        Ok(self.storage.jobs_count().await? as u64)
    }
}
