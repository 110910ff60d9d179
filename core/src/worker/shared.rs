//! What the parts of one worker share.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, SemaphorePermit, mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::attempt::Attempt;
use super::handler::Registered;
use super::lock;
use super::options::WorkerOptions;
use super::pool::BlockingPool;
use super::registry::Registry;
use super::settle::Item;
use super::slots::Slots;
use super::stats::WorkerStats;
use super::upkeep::{Scope, Served, Upkeep};
use crate::{Backend, Client, Error, Kind, LeaseKey, QueueName, Result};

/// One running worker, seen from inside.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) options: WorkerOptions,
    pub(crate) name: String,
    pub(crate) handlers: BTreeMap<Kind, Registered>,
    pub(crate) slots: Slots,
    pub(crate) registry: Registry,
    pub(crate) settlements: mpsc::Sender<Item>,
    pub(crate) pool: Option<BlockingPool>,
    /// Nothing more is to be claimed.
    pub(crate) stop: CancellationToken,
    /// The drain is over: running handlers are to end.
    pub(crate) drained: CancellationToken,
    /// Everything ends.
    pub(crate) halt: CancellationToken,
    /// Something became claimable here: look at once.
    pub(crate) look: Notify,
    /// The backend says that something may be claimable.
    pub(crate) hint: Notify,
    /// The fetcher has looked after a hint, and is ready for another.
    pub(crate) hint_followed: Notify,
    /// A heartbeat before its time may bring news of running jobs.
    pub(crate) beat_hint: Notify,
    /// Waiting for hints failed.
    pub(crate) deaf: AtomicBool,
    pub(crate) scope: Arc<Scope>,
    /// The jobs without a handler that were told of.
    pub(crate) told: Mutex<HashSet<(QueueName, Kind)>>,
    pub(crate) farewell: Farewell,
    pub(crate) notes_wake: Arc<Notify>,
    pub(crate) health: Health,
    pub(crate) stats: Mutex<WorkerStats>,
    failure: Mutex<Option<Error>>,
}

/// Whether the last call of each sort was answered.
#[derive(Debug, Default)]
pub(crate) struct Health {
    pub(crate) heartbeat: AtomicBool,
    pub(crate) claim: AtomicBool,
    pub(crate) settle: AtomicBool,
}

/// The last heartbeat of a shutdown, which tells of jobs that run here and that nobody here knows.
#[derive(Debug, Default)]
pub(crate) struct Farewell {
    pub(crate) wanted: Notify,
    answer: Mutex<Option<oneshot::Sender<Vec<LeaseKey>>>>,
}

impl Farewell {
    /// Asks for it.
    pub(crate) fn ask(&self) -> oneshot::Receiver<Vec<LeaseKey>> {
        let (answer, asked) = oneshot::channel();
        *lock(&self.answer) = Some(answer);
        self.wanted.notify_one();
        asked
    }

    /// Who asked, if anybody did: to be taken before the heartbeat is sent.
    pub(crate) fn take(&self) -> Option<oneshot::Sender<Vec<LeaseKey>>> {
        lock(&self.answer).take()
    }

    /// Waits for another heartbeat after one that failed.
    pub(crate) fn put_back(&self, asked: Option<oneshot::Sender<Vec<LeaseKey>>>) {
        if asked.is_some() {
            *lock(&self.answer) = asked;
        }
    }
}

/// What [`Shared`] is made of.
pub(crate) struct Parts {
    pub(crate) client: Client,
    pub(crate) options: WorkerOptions,
    pub(crate) name: String,
    pub(crate) handlers: BTreeMap<Kind, Registered>,
    pub(crate) slots: Slots,
    pub(crate) settlements: mpsc::Sender<Item>,
    pub(crate) pool: Option<BlockingPool>,
}

impl Shared {
    pub(crate) fn new(parts: Parts) -> Self {
        let served = Served::new(parts.slots.queues(), parts.handlers.keys(), &parts.options);
        let scope = parts.client.upkeep().scope(served);
        Self {
            client: parts.client,
            options: parts.options,
            name: parts.name,
            handlers: parts.handlers,
            slots: parts.slots,
            registry: Registry::new(),
            settlements: parts.settlements,
            pool: parts.pool,
            stop: CancellationToken::new(),
            drained: CancellationToken::new(),
            halt: CancellationToken::new(),
            look: Notify::new(),
            hint: Notify::new(),
            hint_followed: Notify::new(),
            beat_hint: Notify::new(),
            deaf: AtomicBool::new(false),
            scope,
            told: Mutex::default(),
            farewell: Farewell::default(),
            notes_wake: Arc::default(),
            health: Health {
                heartbeat: AtomicBool::new(false),
                claim: AtomicBool::new(true),
                settle: AtomicBool::new(true),
            },
            stats: Mutex::default(),
            failure: Mutex::default(),
        }
    }

    pub(crate) fn backend(&self) -> &dyn Backend {
        &**self.client.backend()
    }

    /// A call to the backend, bounded in time. One that takes too long may or may not have been applied.
    pub(crate) async fn call<T>(
        &self,
        what: &'static str,
        call: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let after = self.options.call_timeout;
        let late = |_| Err(Error::Timeout { what: what.into(), after });
        let answer = tokio::time::timeout(after, call).await.unwrap_or_else(late);
        if let Err(Error::Closed(_)) = &answer {
            self.fail(Error::Closed(self.backend().name()));
        }
        answer
    }

    /// Ends the worker for good.
    pub(crate) fn fail(&self, error: Error) {
        lock(&self.failure).get_or_insert(error);
        self.stop.cancel();
    }

    pub(crate) fn has_failed(&self) -> bool {
        lock(&self.failure).is_some()
    }

    pub(crate) fn take_failure(&self) -> Option<Error> {
        lock(&self.failure).take()
    }

    pub(crate) fn ready(&self) -> bool {
        let health = &self.health;
        !self.stop.is_cancelled()
            && self.registry.worker().is_some()
            && [&health.heartbeat, &health.claim, &health.settle]
                .iter()
                .all(|ok| ok.load(Ordering::Relaxed))
    }

    pub(crate) fn upkeep(&self) -> &Upkeep {
        self.client.upkeep()
    }

    /// A job is known to be due then: maintenance is to run no later.
    pub(crate) fn due_at(&self, at: Instant) {
        self.upkeep().due_at(at);
    }

    /// Whether hints can be relied on at present.
    pub(crate) fn hears(&self) -> bool {
        !self.deaf.load(Ordering::Relaxed) && self.backend().hears()
    }

    /// How long the siblings wait for a turn of this worker with work that should not be done twice at once: a call ends in half the time, whatever
    /// it meets.
    pub(crate) fn patience(&self) -> Duration {
        self.options.call_timeout.saturating_mul(2)
    }

    pub(crate) fn stats(&self) -> WorkerStats {
        WorkerStats {
            running: self.slots.held(),
            oldest_running: self.registry.oldest(),
            ..lock(&self.stats).clone()
        }
    }
}

/// A job in the hands of this worker, until it is dropped.
pub(crate) struct Held {
    shared: Arc<Shared>,
    pub(crate) attempt: Arc<Attempt>,
    _lane: Option<SemaphorePermit<'static>>,
}

impl Held {
    /// An attempt that the registry has admitted.
    pub(crate) fn new(
        shared: Arc<Shared>,
        attempt: Arc<Attempt>,
        lane: Option<SemaphorePermit<'static>>,
    ) -> Self {
        shared.slots.hold();
        Self { shared, attempt, _lane: lane }
    }

    /// Whether the lease is still this worker's, as far as it knows.
    pub(crate) fn is_owned(&self) -> bool {
        self.shared.registry.owns(&self.attempt.key())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.attempt.leave_thread();
        self.shared.registry.remove(&self.attempt.key());
        self.shared.slots.let_go();
    }
}
