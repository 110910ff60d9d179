//! The pool for blocking handlers: threads of its own, so that they starve nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::lock;
use crate::{Error, Result};
use std::sync::Mutex;

/// Threads that run blocking handlers. Built on a runtime that is used for nothing else.
#[derive(Debug, Clone)]
pub(crate) struct BlockingPool {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    runtime: Mutex<Option<Runtime>>,
    threads: usize,
    busy: AtomicUsize,
}

/// A thread that is kept for a job from its claim on, while any clone of this lives.
#[derive(Debug, Clone)]
pub(crate) struct Thread {
    _busy: Arc<Busy>,
}

#[derive(Debug)]
struct Busy(Arc<Inner>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

impl BlockingPool {
    pub(crate) fn new(threads: usize) -> Result<Self> {
        let runtime = Builder::new_current_thread()
            .max_blocking_threads(threads)
            .thread_name("windlass-blocking")
            .build()
            .map_err(|e| Error::Config(format!("can't start the blocking pool: {e}").into()))?;
        let inner = Inner { runtime: Mutex::new(Some(runtime)), threads, busy: 0.into() };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Keeps a thread.
    pub(crate) fn keep(&self) -> Thread {
        self.inner.busy.fetch_add(1, Ordering::Relaxed);
        Thread { _busy: Arc::new(Busy(self.inner.clone())) }
    }

    /// Threads that are free. A handler that outlived its attempt keeps its thread busy.
    pub(crate) fn free(&self) -> u32 {
        let busy = self.inner.busy.load(Ordering::Relaxed);
        u32::try_from(self.inner.threads.saturating_sub(busy)).unwrap_or(u32::MAX)
    }

    /// Runs `work` on the thread that was kept for it. `None` after the pool was closed.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        thread: Option<Thread>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<JoinHandle<T>> {
        let runtime = lock(&self.inner.runtime);
        let runtime = runtime.as_ref()?;
        Some(runtime.spawn_blocking(move || {
            let _thread = thread;
            work()
        }))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // A plain drop would wait for handlers that don't end, and may not happen inside a runtime.
        if let Some(runtime) = lock(&self.runtime).take() {
            runtime.shutdown_background();
        }
    }
}
