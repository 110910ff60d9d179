//! A running worker: its parts are started, watched over, and shut down in order and in bounded time.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

use super::backoff::Pause;
use super::execute::guard;
use super::pool::BlockingPool;
use super::settle::{self, Item};
use super::shared::{Parts, Shared};
use super::slots::Slots;
use super::stats::WorkerStats;
use super::{Worker, error_text, fetch, heartbeat, hints, maintain, notes, strangers};
use crate::{AttemptOutcome, Error, Result, Settlement, WorkerId};

/// A worker that runs. Dropping it begins a shutdown in the background.
#[must_use = "dropping a running worker shuts it down"]
pub struct RunningWorker {
    shared: Arc<Shared>,
    main: JoinHandle<Result<()>>,
}

impl fmt::Debug for RunningWorker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningWorker")
            .field("id", &self.id())
            .field("ready", &self.ready())
            .finish_non_exhaustive()
    }
}

impl RunningWorker {
    /// Begins the shutdown: nothing more is claimed, and running jobs have the drain time to end. Returns at once.
    pub fn shutdown(&self) {
        self.shared.stop.cancel();
    }

    /// Begins the shutdown without a drain time, or cuts short the one that goes on.
    pub fn shutdown_now(&self) {
        self.shared.stop.cancel();
        self.shared.drained.cancel();
    }

    /// Whether the worker has its lease, and its last heartbeat, claim and settle call were answered.
    /// False during a shutdown. For readiness checks.
    #[must_use]
    pub fn ready(&self) -> bool {
        self.shared.ready()
    }

    /// The incarnation that holds a lease now, if any.
    #[must_use]
    pub fn id(&self) -> Option<WorkerId> {
        self.shared.registry.worker()
    }

    /// What it has done since it started.
    #[must_use]
    pub fn stats(&self) -> WorkerStats {
        self.shared.stats()
    }

    /// Waits until the worker has shut down.
    ///
    /// # Errors
    /// [`Error::Closed`] when the backend was closed under it, [`Error::Backend`] when a part of it panicked.
    pub async fn join(mut self) -> Result<()> {
        match (&mut self.main).await {
            Ok(end) => end,
            Err(error) => Err(broken("shutdown", error)),
        }
    }

    /// Shuts down and waits for the end: [`shutdown`](Self::shutdown), then [`join`](Self::join).
    ///
    /// # Errors
    /// As for [`join`](Self::join).
    pub async fn stop(self) -> Result<()> {
        self.shutdown();
        self.join().await
    }

    /// Waits until the worker begins to shut down, for whatever reason.
    pub(super) async fn stopping(&self) {
        self.shared.stop.cancelled().await;
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.shutdown();
    }
}

fn broken(during: &'static str, error: impl Into<crate::error::BoxError>) -> Error {
    Error::Backend { backend: "worker", during, source: error.into() }
}

/// Starts every part.
pub(super) fn start<S>(worker: Worker<S>) -> Result<RunningWorker> {
    let Worker { client, options, handlers, kinds, queues, pool, .. } = worker;
    let blocking = handlers.values().any(|known| known.handler.blocking());
    if blocking {
        // A worker is started once, so the cell is empty.
        let _ = pool.set(BlockingPool::new(options.blocking_threads)?);
    }
    let slots = {
        let kinds = handlers.iter().map(|(kind, known)| {
            (kind.clone(), kinds.get(kind).copied(), known.handler.blocking())
        });
        Slots::new(&queues, kinds, options.ahead)
    };
    let (settlements, items) = mpsc::channel(options.settle_buffer);
    let name = options.name.clone().unwrap_or_else(default_name);
    let pool = pool.get().cloned();
    let shared =
        Arc::new(Shared::new(Parts { client, options, name, handlers, slots, settlements, pool }));
    let lease = spawn_heartbeat(&shared)?;
    shared.upkeep().join(&shared);
    // A runtime that is dropped takes its tasks along, but not the heartbeat's thread: without this, the lease would
    // live on, and with it jobs that nobody runs.
    let halt = shared.halt.clone().drop_guard();
    let run = main(shared.clone(), items, lease);
    let main = tokio::spawn(async move {
        let _halt = halt;
        run.await
    });
    Ok(RunningWorker { shared, main })
}

/// Starts the heartbeat on the client's thread for them. The answer ends when it does.
fn spawn_heartbeat(
    shared: &Arc<Shared>,
) -> Result<impl Future<Output = Result<()>> + Send + 'static> {
    let (done, ended) = oneshot::channel();
    let run = guard("heartbeat", heartbeat::run(shared.clone()));
    let work = async {
        let _ = done.send(run.await);
    };
    if shared.options.heartbeat_thread {
        shared.upkeep().heart()?.spawn(work);
    } else {
        tokio::spawn(work);
    }
    Ok(async move {
        ended.await.unwrap_or_else(|_| Err(broken("heartbeat", "its thread ended without a word")))
    })
}

/// Watches over the parts until the stop, then shuts down.
async fn main(
    shared: Arc<Shared>,
    items: mpsc::Receiver<Item>,
    lease: impl Future<Output = Result<()>> + Send + 'static,
) -> Result<()> {
    let mut parts = JoinSet::new();
    let claims = tokio_util::sync::CancellationToken::new();
    let claims_ended = claims.clone().drop_guard();
    let fetcher = fetch::run(shared.clone());
    parts.spawn(guard("fetch", async move {
        let _ended = claims_ended;
        fetcher.await;
    }));
    parts.spawn(guard("wait", hints::run(shared.clone())));
    parts.spawn(guard("settle", settle::run(shared.clone(), items)));
    parts.spawn(guard("record", notes::run(shared.clone())));
    parts.spawn(guard("maintain", maintain::run(shared.clone())));
    parts.spawn(guard("prune", maintain::prune(shared.clone())));
    parts.spawn(guard("strangers", strangers::run(shared.clone())));
    parts.spawn(guard("queue_settings", maintain::settings(shared.clone())));
    parts.spawn(lease);
    let watch = async {
        while let Some(end) = parts.join_next().await {
            let end = end.unwrap_or_else(|error| Err(broken("run", error)));
            if let Err(error) = end {
                tracing::error!(error = %error_text(&error), "a part of the worker failed: it shuts down");
                shared.fail(error);
            }
        }
    };
    tokio::select! {
        biased;
        () = watch => {}
        () = shut_down(&shared, &claims) => {}
    }
    shared.halt.cancel();
    let _ =
        timeout(Duration::from_secs(1), async { while parts.join_next().await.is_some() {} }).await;
    shared.take_failure().map_or(Ok(()), Err)
}

/// Waits for the stop, then ends what runs. Every step is bounded in time.
async fn shut_down(shared: &Shared, claims: &tokio_util::sync::CancellationToken) {
    shared.stop.cancelled().await;
    tracing::info!(running = shared.slots.held(), "the worker shuts down");
    let idle = async {
        claims.cancelled().await; // the last claim may still bring jobs
        shared.slots.idle().await;
    };
    tokio::pin!(idle);
    let failed = shared.has_failed();
    let drain = if failed { Duration::ZERO } else { shared.options.drain };
    let mut done = tokio::select! {
        biased;
        () = &mut idle => true,
        () = shared.drained.cancelled() => false,
        () = tokio::time::sleep(drain) => false,
    };
    shared.drained.cancel();
    if !done {
        let flush = if failed { Duration::ZERO } else { shared.options.flush };
        done = timeout(2 * shared.options.grace + flush, idle).await.is_ok();
    }
    if !done {
        tracing::warn!(
            running = shared.slots.held(),
            "not everything could be settled in time: other workers will rescue it"
        );
    }
    let Some(worker) = shared.registry.worker() else { return };
    if !failed && timeout(shared.options.flush / 2, release_unknown(shared)).await.is_err() {
        tracing::warn!(%worker, "can't learn in time whether a claim that was cut off took jobs");
    }
    let farewell = shared.backend().deregister(worker);
    match timeout(shared.options.flush, farewell).await {
        Ok(Err(error)) => {
            tracing::warn!(%worker, error = %error_text(&error), "can't end the lease: it runs out by itself");
        }
        Err(_) => tracing::warn!(%worker, "can't end the lease in time: it runs out by itself"),
        Ok(Ok(())) => {}
    }
}

/// A claim that was cut off may have been applied: what it took is given back while the lease is there.
async fn release_unknown(shared: &Shared) {
    let Ok(unknown) = shared.farewell.ask().await else { return };
    if unknown.is_empty() {
        return;
    }
    let release = |key| Settlement::new(key, AttemptOutcome::Released);
    let settlements: Vec<_> = unknown.into_iter().map(release).collect();
    let mut pause = Pause::after_error();
    while let Err(error) = shared.call("settle", shared.backend().settle(&settlements)).await {
        tracing::warn!(error = %error_text(&error), "can't give back jobs of a claim that was cut off yet");
        if !error.is_transient() {
            return;
        }
        tokio::time::sleep(pause.next()).await;
    }
}

/// Host name and process id.
fn default_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::env::var("HOSTNAME"))
        .or_else(|_| std::env::var("COMPUTERNAME"))
        .unwrap_or_else(|_| "unknown-host".to_owned());
    format!("{}:{}", host.trim(), std::process::id())
}
