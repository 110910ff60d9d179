//! What a process knows of news, and who waits for it: the part of [`Queue::wait`](crate::Queue::wait) and
//! [`Store::watch`](crate::Store::watch) that is the same whatever brings the news.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

use super::seen::Seen;
use crate::sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard, Notify, Ordering, PoisonError};
use crate::{ClaimRequest, Lease, QueueName, Wake};

/// Queues whose news are told apart. A hint may be spurious: beyond them, news are of any queue.
const MOST: usize = 10_000;

/// Shared by those who bring news and those who wait for it.
#[derive(Debug, Default)]
pub struct Board {
    state: Mutex<State>,
    ready: Notify,
    events: Notify,
    /// Who watches the feed.
    watchers: AtomicUsize,
    watched: Notify,
    closed: AtomicBool,
    /// Whether news of other processes come.
    hears: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Grows with each piece of news.
    version: u64,
    /// The version of the last news of each queue.
    queues: HashMap<String, u64>,
    /// The version of the last news of unknown queues.
    anywhere: u64,
    /// Which of them claims have looked at.
    seen: Seen,
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

    /// There may be jobs in these queues.
    pub fn ready<'a>(&self, queues: impl IntoIterator<Item = &'a str>) {
        let mut state = self.lock();
        let before = state.version;
        let version = before + 1;
        for queue in queues {
            state.version = version;
            match state.queues.get_mut(queue) {
                Some(known) => *known = version,
                None => drop(state.queues.insert(queue.to_owned(), version)),
            }
        }
        if state.queues.len() > MOST {
            state.queues.clear();
            state.anywhere = version;
        }
        // Who waits for jobs is not woken by commits that only tell of others.
        if state.version > before {
            drop(state);
            self.ready.notify_waiters();
        }
    }

    /// There may be jobs in any queue.
    pub fn ready_anywhere(&self) {
        let mut state = self.lock();
        state.version += 1;
        state.anywhere = state.version;
        drop(state);
        self.ready.notify_waiters();
    }

    /// Whether news of other processes come at present; not until it was said.
    pub fn hears(&self) -> bool {
        self.hears.load(Ordering::Acquire)
    }

    /// Says whether news of other processes come from now on. There may be jobs in any queue whenever it was said anew that they do, and when it changes.
    fn hear(&self, hears: bool) {
        if self.hears.swap(hears, Ordering::AcqRel) || hears {
            self.ready_anywhere();
        }
    }

    /// Says that news of other processes come, until what is given back is dropped: with whoever hears them, however that ends.
    pub fn hearing(&self) -> Hearing<'_> {
        self.hear(true);
        Hearing(self)
    }

    /// There may be new entries of the feed.
    pub fn grown(&self) {
        self.lock().events += 1;
        self.events.notify_waiters();
    }

    /// Ends all waits, now and later.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.ready.notify_waiters();
        self.events.notify_waiters();
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The version of now, for [`claimed`](Self::claimed) and [`seen`](Self::seen).
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    /// Notes what a claim that started at `version` has left, see [`Seen::claimed`].
    pub fn claimed(
        &self,
        request: &ClaimRequest,
        leases: &[Lease],
        version: u64,
        swept: impl Fn(&QueueName) -> bool,
    ) {
        self.lock().seen.claimed(request, leases, version, swept);
    }

    /// Notes that a look that started at `version` found nothing at all left in a queue.
    pub fn seen(&self, queue: &QueueName, version: u64) {
        self.lock().seen.all(queue, version);
    }

    /// Waits for news of one of the queues that claims have not looked at.
    pub async fn wait(&self, queues: &[QueueName], timeout: Duration) -> Wake {
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
            self.is_closed()
                || queues.iter().zip(&start).any(|(queue, start)| state.of(queue.as_str()) > *start)
        };
        if until(&self.ready, news, timeout).await { Wake::Hint } else { Wake::Timeout }
    }

    /// How often the feed was seen to grow, for [`watch`](Self::watch).
    pub fn growth(&self) -> u64 {
        self.lock().events
    }

    /// Waits until the feed was seen to grow after `growth` was read.
    pub async fn watch(&self, growth: u64, timeout: Duration) {
        let _watcher = self.watcher();
        until(&self.events, || self.is_closed() || self.growth() > growth, timeout).await;
    }

    fn watcher(&self) -> Watcher<'_> {
        if self.watchers.fetch_add(1, Ordering::AcqRel) == 0 {
            self.watched.notify_one();
        }
        Watcher(self)
    }

    /// Whether somebody watches the feed.
    pub fn is_watched(&self) -> bool {
        self.watchers.load(Ordering::Acquire) > 0
    }

    /// Returns when somebody watches the feed.
    pub async fn watched(&self) {
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
        // Enlists before the look, so that nothing falls in between.
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

/// Somebody hears news of other processes, for as long as it lives.
#[derive(Debug)]
pub struct Hearing<'a>(&'a Board);

impl Drop for Hearing<'_> {
    fn drop(&mut self) {
        self.0.hear(false);
    }
}

/// Counts one who watches, for as long as it lives.
struct Watcher<'a>(&'a Board);

impl Drop for Watcher<'_> {
    fn drop(&mut self) {
        self.0.watchers.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn news_that_came_before_the_wait_are_a_hint_until_a_claim_has_seen_them() {
        let (board, queue) = (Board::default(), [QueueName::new("q").unwrap()]);
        let second = Duration::from_secs(1);
        assert_eq!(board.wait(&queue, second).await, Wake::Timeout);
        board.ready(["other"]);
        assert_eq!(board.wait(&queue, second).await, Wake::Timeout);
        board.ready(["q"]);
        assert_eq!(board.wait(&queue, second).await, Wake::Hint);
        let version = board.version();
        board.ready(["q"]);
        board.seen(&queue[0], version);
        assert_eq!(board.wait(&queue, second).await, Wake::Hint, "what came during the claim");
        board.seen(&queue[0], board.version());
        assert_eq!(board.wait(&queue, second).await, Wake::Timeout);
        board.ready_anywhere();
        assert_eq!(board.wait(&queue, second).await, Wake::Hint);
    }

    /// Whoever tells of queues decides how many there are.
    #[tokio::test(start_paused = true)]
    #[cfg_attr(miri, ignore = "thousands of rounds")]
    async fn news_of_ever_more_queues_take_no_more_room() {
        let (board, queue) = (Board::default(), [QueueName::new("q").unwrap()]);
        for n in 0..=2 * MOST {
            board.ready([format!("queue-{n}").as_str()]);
        }
        assert!(board.lock().queues.len() <= MOST);
        // What was forgotten counts as news of any queue: once too often, never too seldom.
        let second = Duration::from_secs(1);
        assert_eq!(board.wait(&queue, second).await, Wake::Hint);
        board.seen(&queue[0], board.version());
        assert_eq!(board.wait(&queue, second).await, Wake::Timeout);
        board.ready(["q"]);
        assert_eq!(board.wait(&queue, second).await, Wake::Hint);
    }

    /// In which order, the machine decides; under Miri, its seed.
    #[test]
    fn news_are_heard_on_another_thread() {
        let board = std::sync::Arc::new(Board::default());
        let other = board.clone();
        let waits = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            // Without a timer: only news end the wait.
            runtime.block_on(other.wait(&[QueueName::new("q").unwrap()], Duration::MAX))
        });
        board.ready(["q"]);
        assert_eq!(waits.join().unwrap(), Wake::Hint);
    }

    #[tokio::test(start_paused = true)]
    async fn waits_end_when_news_begin_or_cease_to_come() {
        let (board, queue) = (Board::default(), [QueueName::new("q").unwrap()]);
        let hour = Duration::from_secs(3_600);
        assert!(!board.hears());
        for hears in [true, false, true] {
            let (wake, ()) =
                tokio::join!(biased; board.wait(&queue, hour), async { board.hear(hears) });
            assert_eq!((wake, board.hears()), (Wake::Hint, hears));
            board.seen(&queue[0], board.version());
        }
        board.hear(false);
        board.seen(&queue[0], board.version());
        board.hear(false);
        assert_eq!(board.wait(&queue, hour).await, Wake::Timeout, "nothing has changed");
    }

    #[test]
    fn nobody_hears_once_whoever_did_is_gone() {
        let board = Board::default();
        let hearing = board.hearing();
        assert!(board.hears());
        drop(hearing);
        assert!(!board.hears());
    }

    #[tokio::test(start_paused = true)]
    async fn a_close_ends_every_wait() {
        let (board, queue) = (Board::default(), [QueueName::new("q").unwrap()]);
        let hour = Duration::from_secs(3_600);
        let (wake, (), ()) = tokio::join!(biased; board.wait(&queue, hour), board.watch(0, hour), async { board.close() });
        assert_eq!(wake, Wake::Hint);
        assert!(!board.is_watched());
    }
}
