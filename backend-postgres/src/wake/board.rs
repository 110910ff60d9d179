//! What is known of news, and who waits for it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;
use windlass_core::{Error, QueueName, Result, Wake};

use crate::error::NAME;
use crate::txn::News;

/// Shared by those who tell and those who wait.
#[derive(Debug, Default)]
pub(super) struct Board {
    state: Mutex<State>,
    ready: Notify,
    events: Notify,
    /// Who watches the feed.
    watchers: AtomicUsize,
    watched: Notify,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Grows with each piece of news.
    version: u64,
    /// The version of the last news of each queue.
    queues: HashMap<String, u64>,
    /// The version of the last news of unknown queues.
    anywhere: u64,
    /// Up to which version a claim has seen each queue empty.
    seen: HashMap<String, u64>,
    /// How often the feed was seen to grow.
    events: u64,
}

impl State {
    fn of(&self, queue: &str) -> u64 {
        self.queues.get(queue).copied().unwrap_or(0).max(self.anywhere)
    }
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is news.
    pub(super) fn committed(&self, news: &News) {
        self.ready(news.queues.iter().map(String::as_str));
        if news.events {
            self.grown();
        }
    }

    /// There may be jobs in these queues.
    pub(super) fn ready<'a>(&self, queues: impl IntoIterator<Item = &'a str>) {
        let mut state = self.lock();
        let version = state.version + 1;
        let mut any = false;
        for queue in queues {
            any = true;
            match state.queues.get_mut(queue) {
                Some(known) => *known = version,
                None => drop(state.queues.insert(queue.to_owned(), version)),
            }
        }
        if any {
            state.version = version;
            drop(state);
            self.ready.notify_waiters();
        }
    }

    /// There may be jobs in any queue.
    pub(super) fn ready_anywhere(&self) {
        let mut state = self.lock();
        state.version += 1;
        state.anywhere = state.version;
        drop(state);
        self.ready.notify_waiters();
    }

    /// There may be new entries of the feed.
    pub(super) fn grown(&self) {
        self.lock().events += 1;
        self.events.notify_waiters();
    }

    /// Ends all waits, now and later.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.ready.notify_waiters();
        self.events.notify_waiters();
    }

    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed(NAME)) } else { Ok(()) }
    }

    pub(super) fn version(&self) -> u64 {
        self.lock().version
    }

    pub(super) fn seen(&self, queue: &QueueName, version: u64) {
        let mut state = self.lock();
        let seen = state.seen.entry(queue.as_str().to_owned()).or_default();
        *seen = version.max(*seen);
    }

    pub(super) async fn wait(&self, queues: &[QueueName], timeout: Duration) -> Wake {
        let start: Vec<u64> = {
            let state = self.lock();
            let fresh = |queue: &QueueName| {
                state.of(queue.as_str()) > state.seen.get(queue.as_str()).copied().unwrap_or(0)
            };
            if queues.iter().any(fresh) {
                return Wake::Hint;
            }
            queues.iter().map(|queue| state.of(queue.as_str())).collect()
        };
        let news = || {
            let state = self.lock();
            self.check_open().is_err()
                || queues.iter().zip(&start).any(|(queue, start)| state.of(queue.as_str()) > *start)
        };
        if until(&self.ready, news, timeout).await { Wake::Hint } else { Wake::Timeout }
    }

    pub(super) fn seq(&self) -> u64 {
        self.lock().events
    }

    pub(super) async fn watch(&self, seq: u64, timeout: Duration) {
        let _watcher = self.watcher();
        until(&self.events, || self.check_open().is_err() || self.seq() > seq, timeout).await;
    }

    fn watcher(&self) -> Watcher<'_> {
        if self.watchers.fetch_add(1, Ordering::AcqRel) == 0 {
            self.watched.notify_one();
        }
        Watcher(self)
    }

    /// Returns when somebody watches the feed.
    pub(super) async fn watched(&self) {
        while self.watchers.load(Ordering::Acquire) == 0 {
            self.watched.notified().await;
        }
    }
}

/// Waits until there is news, at most `timeout`; answers whether there is.
async fn until(notify: &Notify, news: impl Fn() -> bool, timeout: Duration) -> bool {
    let deadline = Instant::now().checked_add(timeout);
    loop {
        let mut notified = std::pin::pin!(notify.notified());
        notified.as_mut().enable();
        if news() {
            return true;
        }
        match deadline {
            None => notified.await,
            Some(deadline) => {
                if tokio::time::timeout_at(deadline, notified).await.is_err() {
                    return news();
                }
            }
        }
    }
}

/// Counts one who watches, for as long as it lives.
struct Watcher<'a>(&'a Board);

impl Drop for Watcher<'_> {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::AcqRel);
    }
}
