//! The loop, the same for all.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt};
use tokio::task::JoinSet;
use uuid::Uuid;
use windlass_bench_contestant::{Contestant, Handler, Payload, Result, Setup};

/// How long a loop waits before it looks again unasked.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// A job that was claimed.
pub(crate) struct Claimed {
    pub(crate) id: Uuid,
    pub(crate) epoch: i64,
    pub(crate) args: Vec<u8>,
}

/// Jobs that were claimed together.
#[derive(Default)]
pub(crate) struct Batch {
    /// Fresh for each claim.
    pub(crate) claim: Uuid,
    pub(crate) jobs: Vec<Claimed>,
}

/// Jobs in a store, written by hand.
pub(crate) trait Table: Clone + Send + Sync + 'static {
    /// What one loop has for itself.
    type Seat: Send;
    const NAME: &'static str;
    /// Loops that claim at the same time.
    const LOOPS: usize;
    /// Jobs in a claim, unless more are to run at once.
    const BATCH: usize;

    fn open(setup: &Setup) -> impl Future<Output = Result<Self>> + Send;
    fn seat(&self) -> impl Future<Output = Result<Self::Seat>> + Send;
    /// Adds jobs, each to its queue, and wakes a loop if `wake`.
    fn insert(
        &self,
        jobs: Vec<(i64, Payload)>,
        wake: bool,
    ) -> impl Future<Output = Result<()>> + Send;
    /// Wakes a loop, where an insert does not in any case.
    fn wake(&self) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }
    /// Finishes what still has its epoch and its claim id, and claims up to `most` jobs of a queue, in one commit.
    fn turn(
        &self,
        seat: &mut Self::Seat,
        done: &Batch,
        queue: i64,
        most: usize,
    ) -> impl Future<Output = Result<Batch>> + Send;
    /// Waits until there may be jobs, but not for long.
    fn wait(&self, seat: &mut Self::Seat) -> impl Future<Output = Result<()>> + Send;
    fn left(&self) -> impl Future<Output = Result<u64>> + Send;
}

/// A loop without a library.
#[derive(Clone)]
pub struct Raw<T> {
    table: T,
    setup: Setup,
    /// Whether a loop of this process waits, or one of another may.
    idle: Arc<AtomicBool>,
}

/// What runs loops until it is told to stop.
pub struct Loops {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Result<()>>,
}

#[expect(private_bounds)]
impl<T: Table> Raw<T> {
    async fn insert(&self, payloads: Vec<Payload>) -> Result<()> {
        let queue = |payload: &Payload| (payload.number % self.setup.queues) as i64;
        let jobs = payloads.into_iter().map(|payload| (queue(&payload), payload)).collect();
        let wake = self.idle.load(Ordering::SeqCst);
        self.table.insert(jobs, wake).await?;
        // A loop may have looked in vain before the commit, and waits since.
        if !wake && self.idle.load(Ordering::SeqCst) { self.table.wake().await } else { Ok(()) }
    }

    async fn run(self, handler: Handler, concurrency: usize, stop: Arc<AtomicBool>) -> Result<()> {
        let (mut seat, mut done) = (self.table.seat().await?, Batch::default());
        while !stop.load(Ordering::SeqCst) {
            if self.round(&mut seat, &mut done, &handler, concurrency).await? {
                continue;
            }
            self.idle.store(true, Ordering::SeqCst);
            // What came in before is not told of.
            if !self.round(&mut seat, &mut done, &handler, concurrency).await? {
                self.table.wait(&mut seat).await?;
            }
        }
        self.table.turn(&mut seat, &done, 0, 0).await?;
        Ok(())
    }

    /// Takes a batch of each queue and runs it; each is finished with the claim of the next. Answers whether there were any.
    async fn round(
        &self,
        seat: &mut T::Seat,
        done: &mut Batch,
        handler: &Handler,
        concurrency: usize,
    ) -> Result<bool> {
        let (most, mut any) = (T::BATCH.max(concurrency), false);
        for queue in 0..self.setup.queues {
            *done = self.table.turn(seat, done, queue as i64, most).await?;
            if done.jobs.is_empty() {
                continue;
            }
            if !any {
                self.idle.store(self.setup.concurrency == 0, Ordering::SeqCst);
            }
            any = true;
            let runs: Vec<_> = done.jobs.iter().map(|job| handler.run_json(&job.args)).collect();
            let ran: Vec<Result<()>> =
                stream::iter(runs).buffer_unordered(concurrency.max(1)).collect().await;
            ran.into_iter().collect::<Result<()>>()?;
        }
        Ok(any)
    }
}

impl<T: Table> Contestant for Raw<T> {
    const NAME: &'static str = T::NAME;
    const BULK: bool = true;
    const QUEUES: bool = true;
    type Worker = Loops;

    async fn open(setup: &Setup) -> Result<Self> {
        let idle = Arc::new(AtomicBool::new(setup.concurrency == 0));
        Ok(Self { table: T::open(setup).await?, setup: setup.clone(), idle })
    }

    async fn enqueue(&self, payload: Payload) -> Result<()> {
        self.insert(vec![payload]).await
    }

    async fn enqueue_bulk(&self, payloads: Vec<Payload>) -> Result<()> {
        self.insert(payloads).await
    }

    async fn start(&self, handler: Handler, concurrency: usize) -> Result<Loops> {
        let (stop, mut tasks) = (Arc::new(AtomicBool::new(false)), JoinSet::new());
        let concurrency = concurrency.div_ceil(T::LOOPS);
        for _ in 0..T::LOOPS {
            tasks.spawn(self.clone().run(handler.clone(), concurrency, stop.clone()));
        }
        Ok(Loops { stop, tasks })
    }

    async fn stop(&self, mut worker: Loops) -> Result<()> {
        worker.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = worker.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }

    async fn left(&self) -> Result<u64> {
        self.table.left().await
    }
}
