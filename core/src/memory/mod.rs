//! The memory backend: the reference model of the contracts, the test double, and the backend of
//! applications whose jobs need not survive the process.
//!
//! One mutex guards plain maps; every rule is decided by [`machine`](crate::machine). `docs/writing-a-backend.md`
//! leads through these files.

mod blobs;
mod change;
mod claim;
mod clock;
mod feed;
mod index;
mod insert;
mod locks;
mod maintain;
mod notes;
mod prune;
mod queue;
mod read;
mod settle;
mod state;
mod store;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use tokio::sync::Notify;

use self::clock::Clock;
use self::state::Inner;
use crate::storage::MemoryStorage;
use crate::{Backend, Capabilities, Error, Limits, Result, Storage};

const NAME: &str = "memory";

/// A backend in the memory of this process.
///
/// A clone is a second handle on the same jobs, as another process would have one on a database;
/// each handle is closed by itself.
pub struct MemoryBackend {
    shared: Arc<Shared>,
    closed: AtomicBool,
}

struct Shared {
    inner: Mutex<Inner>,
    limits: Arc<Limits>,
    storage: Arc<MemoryStorage>,
    /// Something became claimable, or settings changed.
    work: Notify,
    /// The feed grew.
    feed: Notify,
}

impl MemoryBackend {
    /// An empty backend with the default limits, on the system's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(Limits::default())
    }

    /// An empty backend with these limits, on the system's clock.
    #[must_use]
    pub fn with_limits(limits: Limits) -> Self {
        Self::build(limits, Clock::system())
    }

    /// An empty backend whose clock starts at a fixed time and goes with Tokio's: in a runtime with paused time a
    /// test decides when it moves.
    #[must_use]
    pub fn with_tokio_clock() -> Self {
        Self::build(Limits::default(), Clock::tokio())
    }

    fn build(limits: Limits, clock: Clock) -> Self {
        let limits = Arc::new(limits);
        let shared = Shared {
            inner: Mutex::new(Inner::new(clock, limits.clone())),
            limits,
            storage: Arc::new(MemoryStorage::new()),
            work: Notify::new(),
            feed: Notify::new(),
        };
        Self { shared: Arc::new(shared), closed: AtomicBool::new(false) }
    }

    /// Moves the clock of the backend forward, for tests of what takes long: delays, leases, windows, retention.
    /// Like any passing of time it takes effect with the next call, such as [`maintain`](crate::Queue::maintain).
    pub fn advance(&self, by: Duration) {
        self.lock().clock.advance(by);
    }

    /// The time by the clock of the backend.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.lock().clock.now()
    }

    /// No code that holds the lock leaves the maps half changed, so a poisoned lock is still good.
    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one call as one atomic step, then wakes those whom it concerns.
    fn step<R>(&self, call: impl FnOnce(&mut Inner, Timestamp) -> Result<R>) -> Result<R> {
        self.open()?;
        let mut inner = self.lock();
        let now = inner.clock.now();
        let before = (inner.hints.total(), inner.feed.last());
        let answer = call(&mut inner, now);
        let after = (inner.hints.total(), inner.feed.last());
        drop(inner);
        if before.0 != after.0 {
            self.shared.work.notify_waiters();
        }
        if before.1 != after.1 {
            self.shared.feed.notify_waiters();
        }
        answer
    }

    fn open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::Closed("memory backend"));
        }
        Ok(())
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for MemoryBackend {
    fn clone(&self) -> Self {
        let closed = AtomicBool::new(self.closed.load(Ordering::Acquire));
        Self { shared: self.shared.clone(), closed }
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend")
            .field("jobs", &self.lock().jobs.len())
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::new(false, false, false)
    }

    fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    fn storage(&self) -> Arc<dyn Storage> {
        self.shared.storage.clone()
    }

    async fn ping(&self) -> Result<()> {
        self.open()
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Ordering::Release);
        // Those who wait on this handle find it closed.
        self.shared.work.notify_waiters();
        self.shared.feed.notify_waiters();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
