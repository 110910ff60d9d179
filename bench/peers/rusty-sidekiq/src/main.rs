//! rusty-sidekiq, on Redis. It runs a job at most once: what a worker has taken is nowhere else.

use std::time::Duration;

use bb8::Pool;
use sidekiq::{Processor, ProcessorConfig, RedisConnectionManager, RedisPool, Worker};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use windlass_bench_contestant::{Contestant, Handler, Payload, Result, Setup, main_of};

/// A worker that has no job looks whether it is to stop every 2 s. It isn't waited for so long.
const PATIENCE: Duration = Duration::from_millis(100);
/// Connections that only enqueue, when tuned.
const ENQUEUERS: u32 = 64;
/// Connections of workers when tuned: one waits in each of them.
const MOST_WORKERS: u32 = 200;
/// Sets of jobs that are to run later.
const LATER: [&str; 2] = ["retry", "schedule"];

fn main() -> Result<()> {
    main_of::<Sidekiq>()
}

#[derive(Clone)]
struct Noop(Handler);

#[async_trait::async_trait]
impl Worker<Payload> for Noop {
    async fn perform(&self, payload: Payload) -> sidekiq::Result<()> {
        self.0.run(payload).await;
        Ok(())
    }
}

#[derive(Clone)]
struct Sidekiq {
    enqueues: RedisPool,
    setup: Setup,
}

struct Running(CancellationToken, JoinHandle<()>);

fn queue(number: u64) -> String {
    format!("queue-{number}")
}

impl Sidekiq {
    fn tuned(&self) -> bool {
        self.setup.config == "tuned"
    }

    /// The pool of a worker. When tuned it is one of its own, with a connection for each job that runs at the same time.
    async fn pool(&self, concurrency: usize) -> Result<RedisPool> {
        if !self.tuned() {
            return Ok(self.enqueues.clone());
        }
        let size = u32::try_from(concurrency)?.clamp(1, MOST_WORKERS);
        let manager = RedisConnectionManager::new(self.setup.url.as_str())?;
        Ok(Pool::builder().max_size(size).build(manager).await?)
    }
}

impl Contestant for Sidekiq {
    const NAME: &'static str = "rusty-sidekiq";
    const VERSION: &'static str = "0.15.2";
    const QUEUES: bool = true;
    type Worker = Running;

    fn configs(_backend: &str) -> &'static [&'static str] {
        &["default", "tuned"]
    }

    async fn open(setup: &Setup) -> Result<Self> {
        let manager = RedisConnectionManager::new(setup.url.as_str())?;
        let builder = Pool::builder();
        let builder = if setup.config == "tuned" { builder.max_size(ENQUEUERS) } else { builder };
        Ok(Self { enqueues: builder.build(manager).await?, setup: setup.clone() })
    }

    async fn enqueue(&self, payload: Payload) -> Result<()> {
        let queue = queue(payload.number % self.setup.queues);
        Ok(Noop::opts().queue(queue).perform_async(&self.enqueues, payload).await?)
    }

    async fn start(&self, handler: Handler, concurrency: usize) -> Result<Running> {
        let queues = (0..self.setup.queues).map(queue).collect();
        let mut config = ProcessorConfig::default();
        // As it comes there are as many as processors. More would hold all 10 connections, and nothing could be enqueued beside them.
        if self.tuned() {
            config = config.num_workers(concurrency.max(1));
        }
        let pool = self.pool(concurrency).await?;
        let mut processor = Processor::new(pool, queues).with_config(config);
        processor.register(Noop(handler));
        Ok(Running(processor.get_cancellation_token(), tokio::spawn(processor.run())))
    }

    async fn stop(&self, Running(stop, mut task): Running) -> Result<()> {
        stop.cancel();
        if tokio::time::timeout(PATIENCE, &mut task).await.is_err() {
            task.abort();
        }
        Ok(())
    }

    async fn left(&self) -> Result<u64> {
        let mut pipe = redis::pipe();
        for number in 0..self.setup.queues {
            pipe.cmd("LLEN").arg(format!("queue:{}", queue(number)));
        }
        for set in LATER {
            pipe.cmd("ZCARD").arg(set);
        }
        let mut conn = self.enqueues.get().await?;
        let counts: Vec<u64> = pipe.query_async(conn.unnamespaced_borrow_mut()).await?;
        Ok(counts.iter().sum())
    }
}
