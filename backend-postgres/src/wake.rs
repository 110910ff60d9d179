//! Hints: who waits for jobs or events is told when there may be some. A hint may be lost or spurious.
//!
//! What this process commits is told at once. Other processes are told by `NOTIFY`, from a connection that is in nobody's transaction;
//! growth of the feed is looked for while somebody watches it. All of that runs in tasks that begin when they are first needed.

mod commits;
mod feed;
mod line;
mod listener;
mod notifier;
mod seldom;

use std::sync::Arc;
use std::time::Duration;

use windlass_core::kit::board::Board;
use windlass_core::kit::tasks::Tasks;
use windlass_core::{ClaimRequest, Error, Lease, QueueName, Result, Wake};

use crate::error::NAME;
use crate::txn::News;
use commits::Pending;
pub(crate) use line::Line;
use notifier::Outbox;
#[cfg(any(test, fuzzing))]
pub use notifier::notice;

/// How long a closing backend tries to tell others what it still has to tell.
const FAREWELL: Duration = Duration::from_secs(1);

/// The tasks.
const NOTIFIER: usize = 0;
const LISTENER: usize = 1;
const FEED: usize = 2;
const COMMITS: usize = 3;

/// Held by the handles of a backend: with the last of them its tasks end, that which tells others once it has.
#[derive(Debug)]
pub(crate) struct Hub(Arc<Shared>);

/// What the tasks share with the callers. The tasks hold it, so it outlives the hub until they have ended.
#[derive(Debug)]
struct Shared {
    board: Board,
    outbox: Outbox,
    pending: Pending,
    line: Line,
    tasks: Tasks<4>,
}

impl Shared {
    /// Tells what a commit did, here and elsewhere.
    fn committed(self: &Arc<Self>, news: &News) {
        self.board.ready(news.queues.iter().map(String::as_str));
        if news.events {
            self.board.grown();
        }
        if self.line.notify && !news.queues.is_empty() {
            self.outbox.put(&news.queues);
            self.notify();
        }
    }

    fn notify(self: &Arc<Self>) {
        let shared = self.clone();
        self.tasks.start(NOTIFIER, || notifier::run(shared));
    }
}

impl Hub {
    pub(crate) fn new(line: Line) -> Self {
        Self(Arc::new(Shared {
            board: Board::default(),
            outbox: Outbox::default(),
            pending: Pending::default(),
            line,
            tasks: Tasks::default(),
        }))
    }

    /// Tells what a commit of this process did.
    pub(crate) fn committed(&self, news: &News) {
        if !news.is_empty() {
            self.0.committed(news);
        }
    }

    /// Tells what a host's transaction did once it has committed. `transaction` is its number (`xid8`) as text.
    pub(crate) fn after_commit(&self, transaction: String, news: News) {
        if news.is_empty() {
            return;
        }
        self.0.pending.put(transaction, news);
        let shared = self.0.clone();
        self.0.tasks.start(COMMITS, || commits::run(shared));
    }

    /// An error once the backend was closed.
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.0.board.is_closed() { Err(Error::Closed(NAME)) } else { Ok(()) }
    }

    /// The version of now, for [`claimed`](Self::claimed) and [`seen`](Self::seen).
    pub(crate) fn version(&self) -> u64 {
        self.0.board.version()
    }

    /// Notes what a claim that started at `version` has left. `swept` tells whether a queue was looked at from end to end.
    pub(crate) fn claimed(
        &self,
        request: &ClaimRequest,
        leases: &[Lease],
        version: u64,
        swept: impl Fn(&QueueName) -> bool,
    ) {
        self.0.board.claimed(request, leases, version, swept);
    }

    /// Notes that a look that started at `version` found nothing at all left in a queue.
    pub(crate) fn seen(&self, queue: &QueueName, version: u64) {
        self.0.board.seen(queue, version);
    }

    /// Waits for news of one of the queues that claims have not looked at.
    pub(crate) async fn wait(&self, queues: &[QueueName], timeout: Duration) -> Wake {
        if self.0.line.listen.is_some() {
            let shared = self.0.clone();
            self.0.tasks.start(LISTENER, || listener::run(shared));
        }
        self.0.board.wait(queues, timeout).await
    }

    /// Whether other processes are heard at present. Where this one tells nothing, others may be set up likewise.
    pub(crate) fn hears(&self) -> bool {
        self.0.line.notify && self.0.board.hears()
    }

    /// How often the feed was seen to grow, for [`watch`](Self::watch).
    pub(crate) fn seq(&self) -> u64 {
        self.0.board.growth()
    }

    /// Waits until the feed was seen to grow after `seq` was read.
    pub(crate) async fn watch(&self, seq: u64, timeout: Duration) {
        let shared = self.0.clone();
        self.0.tasks.start(FEED, || feed::run(shared));
        self.0.board.watch(seq, timeout).await;
    }

    /// Ends all waits and tasks, now and later; what others were still to be told is told first.
    pub(crate) async fn close(&self) {
        self.0.board.close();
        self.0.tasks.end();
        let _ = tokio::time::timeout(FAREWELL, notifier::farewell(&self.0)).await;
    }
}

impl Drop for Hub {
    /// What others are still to be told is told yet, as long as the runtime goes on.
    fn drop(&mut self) {
        let left = self.0.outbox.leave();
        if self.0.line.notify && (left || !self.0.pending.is_empty()) {
            self.0.notify();
        }
        self.0.tasks.end_others(NOTIFIER);
    }
}
