//! The worker runtime: claims jobs, runs their handlers, settles what became of them, and keeps its lease.
//!
//! A [`Worker`] is built with handlers and queues and then run; each part of the running worker is a task:
//! `fetch` claims, `execute` runs attempts, `settle` settles, `notes` records progress and log lines, `maintain`
//! does upkeep, `strangers` looks for jobs without a handler, and `heartbeat`, on a thread of its own, keeps the lease. They share `Shared`;
//! what the workers of one client do for each other is in `upkeep`.

mod attempt;
mod backoff;
mod claim;
mod context;
mod course;
mod execute;
mod fetch;
mod handler;
mod heartbeat;
mod hints;
mod maintain;
mod notes;
mod options;
mod outcome;
mod payloads;
mod pool;
mod registry;
mod running;
mod settle;
mod shared;
mod slots;
mod stats;
mod strangers;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

pub use attempt::CancelCause;
pub(crate) use backoff::Pause;
pub use context::Context;
pub use handler::Handler;
pub use options::{MAINTENANCE_MAX, WorkerOptions};
pub use running::RunningWorker;
pub use stats::WorkerStats;
pub(crate) use upkeep::Upkeep;

use crate::{Backend, Backoff, Client, Error, Job, Kind, Outcome, QueueName, Result};
use handler::{Async, Blocking, Erased, Registered};
use outcome::{error_text, panic_message};
use pool::BlockingPool;

/// A worker in the making: handlers, queues and options.
///
/// ```no_run
/// # use serde::{Deserialize, Serialize};
/// # use windlass_core::{Client, Context, Job, Outcome, Result, Worker};
/// # #[derive(Serialize, Deserialize)]
/// # struct Thumbnail { width: u32 }
/// # impl Job for Thumbnail { const KIND: &'static str = "thumbnail"; type Output = u32; }
/// struct App { scale: u32 }
///
/// async fn thumbnail(job: Thumbnail, cx: Context<App>) -> Outcome<u32> {
///     Ok(job.width * cx.state().scale)
/// }
///
/// # async fn run(client: Client, ctrl_c: impl Future<Output = ()>) -> Result<()> {
/// Worker::new(&client)
///     .state(App { scale: 2 })
///     .register(thumbnail)
///     .queue("media", 8)
///     .run_until(ctrl_c)
///     .await
/// # }
/// ```
#[must_use = "a worker does nothing until it is run"]
pub struct Worker<S = ()> {
    client: Client,
    options: WorkerOptions,
    state: Arc<S>,
    handlers: BTreeMap<Kind, Registered>,
    kinds: BTreeMap<Kind, u32>,
    queues: Vec<(QueueName, u32)>,
    pool: Arc<OnceLock<BlockingPool>>,
    problems: Vec<String>,
}

impl<S> fmt::Debug for Worker<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker")
            .field("kinds", &self.handlers.keys().collect::<Vec<_>>())
            .field("queues", &self.queues)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Worker {
    /// A worker on a client's jobs, with default options, without state, handlers and queues.
    pub fn new(client: impl Into<Client>) -> Self {
        Self {
            client: client.into(),
            options: WorkerOptions::default(),
            state: Arc::new(()),
            handlers: BTreeMap::new(),
            kinds: BTreeMap::new(),
            queues: Vec::new(),
            pool: Arc::default(),
            problems: Vec::new(),
        }
    }
}

impl<S: Send + Sync + 'static> Worker<S> {
    /// The state that handlers registered from here on find in their [`Context`].
    pub fn state<T: Send + Sync + 'static>(self, state: T) -> Worker<T> {
        Worker {
            client: self.client,
            options: self.options,
            state: Arc::new(state),
            handlers: self.handlers,
            kinds: self.kinds,
            queues: self.queues,
            pool: self.pool,
            problems: self.problems,
        }
    }

    /// Changes options: `worker.options(|o| o.drain = Duration::from_secs(5))`.
    pub fn options(mut self, change: impl FnOnce(&mut WorkerOptions)) -> Self {
        change(&mut self.options);
        self
    }

    /// Runs jobs of a kind by an async function: `async fn(J, Context<S>) -> Outcome<J::Output>`.
    pub fn register<J: Job, H: Handler<J, S>>(self, handler: H) -> Self {
        let handler = Async::new(handler, self.state.clone());
        self.insert::<J>(Arc::new(handler))
    }

    /// Runs jobs of a kind by a blocking function, on a pool of threads that is used for nothing else
    /// ([`WorkerOptions::blocking_threads`]). Such a handler can't be aborted: it should look at
    /// [`Context::cancellation`]; past its deadline its result is dropped, and its thread stays taken until it returns.
    pub fn register_blocking<J, F>(self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, Context<S>) -> Outcome<J::Output> + Send + Sync + 'static,
    {
        let handler = Blocking::<J, S, F>::new(handler, self.state.clone(), self.pool.clone());
        self.insert::<J>(Arc::new(handler))
    }

    fn insert<J: Job>(mut self, handler: Arc<dyn Erased>) -> Self {
        // Once and here: at run time, a panic in it would end the worker.
        let backoff = std::panic::catch_unwind(J::backoff).unwrap_or_else(|panic| {
            let text = panic_message(&*panic).unwrap_or("without a text");
            self.problem(format!("`backoff()` of kind `{}` panicked: {text}", J::KIND));
            Backoff::default()
        });
        match Kind::new(J::KIND) {
            Ok(kind) => {
                if self.handlers.insert(kind, Registered { handler, backoff }).is_some() {
                    self.problem(format!(
                        "two handlers for kind `{}`: register one, or give one job type another `KIND`",
                        J::KIND
                    ));
                }
            }
            Err(error) => self.problem(format!("`{}` as a kind: {error}", J::KIND)),
        }
        self
    }

    /// Runs at most `n` jobs of a kind at once, over all queues of this worker.
    pub fn kind_concurrency<J: Job>(mut self, n: u32) -> Self {
        match Kind::new(J::KIND) {
            Ok(_) if n == 0 => self.problem(format!(
                "concurrency 0 for kind `{}`: give it at least 1, or leave its handler out",
                J::KIND
            )),
            Ok(kind) => drop(self.kinds.insert(kind, n)),
            Err(error) => self.problem(format!("`{}` as a kind: {error}", J::KIND)),
        }
        self
    }

    /// Claims from a queue, and runs at most `n` of its jobs at once; a setting of the queue may change the number at run time.
    pub fn queue(mut self, name: impl AsRef<str>, n: u32) -> Self {
        let text = name.as_ref();
        match QueueName::new(text) {
            Ok(_) if n == 0 => self.problem(format!(
                "concurrency 0 for queue `{text}`: give it at least 1, or pause the queue instead"
            )),
            Ok(name) if self.queues.iter().any(|(known, _)| *known == name) => {
                self.problem(format!("queue `{text}` is named twice: name it once"));
            }
            Ok(name) => self.queues.push((name, n)),
            Err(error) => self.problem(format!("queue `{text}`: {error}")),
        }
        self
    }

    fn problem(&mut self, text: String) {
        self.problems.push(text);
    }

    fn check(&mut self) -> Result<()> {
        if self.handlers.is_empty() && self.problems.is_empty() {
            self.problem("the worker has no handler: add one with `.register(handler)`".to_owned());
        }
        if self.queues.is_empty() && self.problems.is_empty() {
            self.problem(
                "the worker has no queue: add one with `.queue(\"default\", 8)`".to_owned(),
            );
        }
        let strangers = self.kinds.keys().filter(|kind| !self.handlers.contains_key(*kind));
        let strangers: Vec<_> = strangers
            .map(|kind| {
                format!("concurrency for kind `{kind}`, which has no handler: register one")
            })
            .collect();
        self.problems.extend(strangers);
        if !self.problems.is_empty() {
            return Err(Error::Config(self.problems.join("; ").into()));
        }
        self.options.bound();
        self.options.check()
    }

    /// Starts the worker on the current Tokio runtime and returns at once. It gets its lease, and after an
    /// outage a new one, in the background: [`RunningWorker::ready`] tells.
    ///
    /// # Errors
    /// [`Error::Config`] with everything that is wrong with what was given, or outside of a runtime.
    pub fn start(mut self) -> Result<RunningWorker> {
        self.check()?;
        if tokio::runtime::Handle::try_current().is_err() {
            return Err(Error::Config(
                "a worker runs on a Tokio runtime: start it from async code".into(),
            ));
        }
        running::start(self)
    }

    /// Runs until `shutdown` ends, then shuts down: claims nothing more, lets running jobs go on for the drain time
    /// ([`WorkerOptions::drain`]), asks the rest to stop, and releases those that don't. Dropping the future
    /// begins a shutdown in the background.
    ///
    /// # Errors
    /// Those of [`start`](Self::start); [`Error::Closed`] when the backend was closed under the worker.
    pub async fn run_until<F: Future>(self, shutdown: F) -> Result<()> {
        let running = self.start()?;
        tokio::select! {
            biased;
            _ = shutdown => {}
            () = running.stopping() => {}
        }
        running.shutdown();
        running.join().await
    }

    /// Runs until the backend is closed.
    ///
    /// # Errors
    /// Those of [`run_until`](Self::run_until).
    pub async fn run(self) -> Result<()> {
        self.run_until(std::future::pending::<()>()).await
    }
}

impl<B: Backend> From<&Client<B>> for Client {
    fn from(client: &Client<B>) -> Self {
        client.erase()
    }
}

impl From<&Self> for Client {
    fn from(client: &Self) -> Self {
        client.clone()
    }
}

/// What a panicking holder leaves behind is still whole: all critical sections are plain updates.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
