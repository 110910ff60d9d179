//! Hints: who waits for jobs or events is told when there may be some. A hint may be lost or spurious.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use windlass_core::kit::seen::Seen;
use windlass_core::{ClaimRequest, Error, Lease, QueueName, Result, Wake};

use crate::error::NAME;
use crate::sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard, Notify, Ordering, PoisonError};
use crate::txn::{News, Tick};

/// Queues whose news are told apart. A hint may be spurious: beyond them, news are of any queue.
const MOST: usize = 10_000;

/// Shared by the writer, which tells, and the callers that wait.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    state: Mutex<State>,
    ready: Notify,
    events: Notify,
    watchers: AtomicUsize,
    watched: Notify,
    closed: AtomicBool,
    /// Commits of other processes can't be looked for.
    blind: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Grows with each piece of news.
    version: u64,
    /// The version of the last news of each queue.
    queues: HashMap<String, u64>,
    /// The version of the last news of unknown queues: another process's commit.
    anywhere: u64,
    /// Which of them claims have looked at.
    seen: Seen,
    /// The tick after the last commit that is known.
    tick: Tick,
}

impl State {
    fn of(&self, queue: &str) -> u64 {
        self.queues.get(queue).copied().unwrap_or(0).max(self.anywhere)
    }
}

impl Hub {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares a tick just read with the last one known: whether another process has written.
    pub(crate) fn found(&self, tick: Tick) -> bool {
        let mut state = self.lock();
        let known = state.tick;
        let ready = (tick.turn, tick.config) != (known.turn, known.config);
        let events = tick.seq != known.seq;
        state.tick = tick;
        if ready {
            state.version += 1;
            state.anywhere = state.version;
        }
        drop(state);
        self.tell(ready, events);
        ready || events
    }

    /// Tells what a commit of this process did.
    pub(crate) fn committed(&self, news: News, tick: Tick) {
        let mut state = self.lock();
        state.tick = tick;
        state.version += 1;
        let version = state.version;
        let (ready, events) = (!news.queues.is_empty(), news.events);
        for queue in news.queues {
            state.queues.insert(queue, version);
        }
        if state.queues.len() > MOST {
            state.queues.clear();
            state.anywhere = version;
        }
        drop(state);
        self.tell(ready, events);
    }

    /// Whether looks for commits of other processes succeed.
    pub(crate) fn hears(&self) -> bool {
        !self.blind.load(Ordering::Acquire)
    }

    /// Notes whether a look succeeded. When that changes, all waits end.
    pub(crate) fn looked(&self, succeeded: bool) {
        if self.blind.swap(!succeeded, Ordering::AcqRel) == succeeded {
            let mut state = self.lock();
            state.version += 1;
            state.anywhere = state.version;
            drop(state);
            self.tell(true, false);
        }
    }

    fn tell(&self, ready: bool, events: bool) {
        if ready {
            self.ready.notify_waiters();
        }
        if events {
            self.events.notify_waiters();
        }
    }

    /// Ends all waits, now and later.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.tell(true, true);
    }

    /// An error once the backend was closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::Closed(NAME)) } else { Ok(()) }
    }

    /// The version of now, for [`claimed`](Self::claimed) and [`seen`](Self::seen).
    pub(crate) fn version(&self) -> u64 {
        self.lock().version
    }

    /// Notes what a claim that started at `version` has left.
    pub(crate) fn claimed(&self, request: &ClaimRequest, leases: &[Lease], version: u64) {
        self.lock().seen.claimed(request, leases, version, |_| true);
    }

    /// Notes that a look that started at `version` found nothing at all left in a queue.
    pub(crate) fn seen(&self, queue: &QueueName, version: u64) {
        self.lock().seen.all(queue, version);
    }

    /// Waits for news of one of the queues that claims have not looked at.
    pub(crate) async fn wait(&self, queues: &[QueueName], timeout: Duration) -> Wake {
        let _watcher = self.watcher();
        let start: Vec<u64> = {
            let state = self.lock();
            let fresh = |queue: &QueueName| state.seen.misses(queue, state.of(queue.as_str()));
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

    /// The tick after the last commit that is known.
    pub(crate) fn tick(&self) -> Tick {
        self.lock().tick
    }

    /// The number of the last feed entry that is known.
    pub(crate) fn seq(&self) -> i64 {
        self.lock().tick.seq
    }

    /// Waits until the feed has grown beyond `seq`.
    pub(crate) async fn watch(&self, seq: i64, timeout: Duration) {
        let _watcher = self.watcher();
        until(&self.events, || self.check_open().is_err() || self.seq() > seq, timeout).await;
    }

    fn watcher(&self) -> Watcher<'_> {
        if self.watchers.fetch_add(1, Ordering::AcqRel) == 0 {
            self.watched.notify_one();
        }
        Watcher(self)
    }

    /// Whether somebody waits, so that commits of other processes matter.
    pub(crate) fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Acquire) > 0
    }

    /// Returns when somebody begins to wait.
    pub(crate) async fn watched(&self) {
        while !self.is_watched() {
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

/// Counts one who waits, for as long as it lives.
struct Watcher<'a>(&'a Hub);

impl Drop for Watcher<'_> {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::AcqRel);
    }
}

pub(crate) type SharedHub = Arc<Hub>;

#[cfg(test)]
mod tests {
    use super::*;

    fn news(queue: String) -> News {
        News { queues: [queue].into(), events: false }
    }

    /// A host with a queue for each of its users has many.
    #[tokio::test]
    async fn news_of_ever_more_queues_take_no_more_room() {
        let (hub, queue) = (Hub::default(), [QueueName::new("q").unwrap()]);
        for n in 0..=2 * MOST {
            hub.committed(news(format!("queue-{n}")), Tick::default());
        }
        assert!(hub.lock().queues.len() <= MOST);
        // What was forgotten counts as news of any queue: once too often, never too seldom.
        assert_eq!(hub.wait(&queue, Duration::MAX).await, Wake::Hint);
        hub.seen(&queue[0], hub.version());
        hub.committed(news("q".to_owned()), Tick::default());
        assert_eq!(hub.wait(&queue, Duration::MAX).await, Wake::Hint);
    }

    /// Whoever polls rarely since hints come looks at once when they cease to, and when they come again.
    #[tokio::test]
    async fn waits_end_when_looks_begin_to_fail_or_to_succeed() {
        let (hub, queue) = (Hub::default(), [QueueName::new("q").unwrap()]);
        assert!(hub.hears());
        for succeeded in [false, true] {
            let (wake, ()) = tokio::join!(biased; hub.wait(&queue, Duration::MAX), async { hub.looked(succeeded) });
            assert_eq!((wake, hub.hears()), (Wake::Hint, succeeded));
            hub.seen(&queue[0], hub.version());
            hub.looked(succeeded);
            assert_eq!(
                hub.wait(&queue, Duration::ZERO).await,
                Wake::Timeout,
                "nothing has changed"
            );
        }
    }
}
