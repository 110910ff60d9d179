//! One attempt in the hands of this worker: what its handler, its supervisor and the heartbeat share.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::course::{Course, Phase};
use super::lock;
use super::pool::Thread;
use crate::{AttemptOutcome, Client, Failure, Lease, LeaseKey, NewJob, machine};

/// Why a handler's cancellation token fired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CancelCause {
    /// A user asked to cancel the job. The handler may still complete it; an error ends it as cancelled.
    Requested,
    /// The lease is lost: whatever the handler returns is not recorded.
    LeaseLost,
    /// The attempt is past its deadline.
    Deadline,
    /// The worker shuts down and its drain time is over.
    Shutdown,
}

impl fmt::Display for CancelCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested => "its cancellation was requested",
            Self::LeaseLost => "its lease was lost",
            Self::Deadline => "it passed its deadline",
            Self::Shutdown => "the worker shuts down",
        })
    }
}

/// One attempt.
pub(crate) struct Attempt {
    /// The lease; its args went to the handler.
    pub(crate) lease: Lease,
    pub(crate) client: Client,
    pub(crate) started: Instant,
    pub(crate) deadline: Option<Instant>,
    /// The delay after a failure, drawn once so that a repeated settlement is the same.
    pub(crate) backoff: Duration,
    /// The worker's, for blocking handlers.
    pub(crate) runtime: Handle,
    /// Kept until a blocking handler has it for itself, or has ended.
    thread: Mutex<Option<Thread>>,
    pub(crate) token: CancellationToken,
    cause: OnceLock<CancelCause>,
    cancel_requested: AtomicBool,
    /// Fires when the handler must not go on.
    pub(crate) lost: CancellationToken,
    pub(crate) course: Course,
    follow_ups: Mutex<Vec<NewJob>>,
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("key", &self.lease.key)
            .field("kind", &self.lease.kind)
            .field("attempt", &self.lease.attempt)
            .finish_non_exhaustive()
    }
}

impl Attempt {
    /// An attempt whose time counts from `started`. To be called on the worker's runtime.
    pub(crate) fn new(
        lease: Lease,
        client: Client,
        started: Instant,
        backoff: Duration,
        course: Course,
    ) -> Self {
        Self {
            deadline: lease.timeout.and_then(|timeout| started.checked_add(timeout)),
            lease,
            client,
            started,
            backoff,
            runtime: Handle::current(),
            thread: Mutex::default(),
            token: CancellationToken::new(),
            cause: OnceLock::new(),
            cancel_requested: AtomicBool::new(false),
            lost: CancellationToken::new(),
            course,
            follow_ups: Mutex::default(),
        }
    }

    pub(crate) fn key(&self) -> LeaseKey {
        self.lease.key
    }

    pub(crate) fn keep_thread(&self, thread: Thread) {
        *lock(&self.thread) = Some(thread);
    }

    /// The thread that is kept for its blocking handler.
    pub(crate) fn thread(&self) -> Option<Thread> {
        lock(&self.thread).clone()
    }

    /// From here on only a handler that still runs keeps the thread.
    /// Answers whether there was one.
    pub(crate) fn leave_thread(&self) -> bool {
        lock(&self.thread).take().is_some()
    }

    /// Fires the handler's token; the first cause stays.
    pub(crate) fn cancel(&self, cause: CancelCause) {
        if cause == CancelCause::Requested {
            self.cancel_requested.store(true, Ordering::Relaxed);
        }
        let _ = self.cause.set(cause);
        self.token.cancel();
    }

    pub(crate) fn cause(&self) -> Option<CancelCause> {
        self.cause.get().copied()
    }

    pub(crate) fn cancel_requested(&self) -> bool {
        self.cancel_requested.load(Ordering::Relaxed)
    }

    /// Ends an attempt whose lease is gone with its worker's: at once, whatever it is doing.
    pub(crate) fn lose(&self) {
        self.end(self.course.lose());
    }

    /// Ends an attempt that the store doesn't know as running any more. False where that is no loss.
    pub(crate) fn lose_if_running(&self) -> bool {
        let Some(before) = self.course.lose_if_running() else { return false };
        self.end(before);
        true
    }

    fn end(&self, before: Phase) {
        self.cancel(CancelCause::LeaseLost);
        self.lost.cancel();
        if let Phase::Running(Some(abort)) = before {
            abort.abort();
        }
    }

    /// Adds a follow-up job; false above `limit`.
    pub(crate) fn push_follow_up(&self, job: NewJob, limit: usize) -> bool {
        let mut jobs = lock(&self.follow_ups);
        let room = jobs.len() < limit;
        if room {
            jobs.push(job);
        }
        room
    }

    pub(crate) fn follow_ups(&self) -> Vec<NewJob> {
        lock(&self.follow_ups).clone()
    }

    /// What to settle after a failure.
    pub(crate) fn failed(&self, failure: Failure, delay: Option<Duration>) -> AttemptOutcome {
        let delay = delay.unwrap_or(self.backoff);
        machine::after_failure(self.lease.attempt, self.lease.max_attempts, delay, failure)
    }
}
