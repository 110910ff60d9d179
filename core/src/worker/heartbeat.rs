//! The worker's lease: registered, kept by heartbeats, and given up in time. Runs on a thread and runtime of its
//! own, so that neither handlers nor a full buffer can starve it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::backoff::Pause;
use super::error_text;
use super::settle::Item;
use super::shared::Shared;
use crate::{
    AttemptOutcome, Error, Heartbeat, LeaseKey, Settlement, WorkerId, WorkerInfo, WorkerLease,
};

/// Least time between two heartbeats, however many hints come.
const EARLIEST: Duration = Duration::from_secs(1);

/// A granted lease, by this worker's monotonic clock.
#[derive(Debug, Clone, Copy)]
struct Kept {
    worker: WorkerId,
    lease: Duration,
    /// When the worker counts it as lost, unless a heartbeat comes through before.
    until: Instant,
}

/// Keeps a lease, and gets another after a loss, until the worker ends.
pub(crate) async fn run(shared: Arc<Shared>) {
    let lease = async {
        while let Some(kept) = register(&shared).await {
            shared.registry.begin(kept.worker);
            keep(&shared, kept).await;
            shared.health.heartbeat.store(false, Ordering::Relaxed);
            shared.registry.expire(kept.worker);
        }
    };
    tokio::select! {
        biased;
        () = lease => {}
        () = shared.halt.cancelled() => {}
    }
}

/// Registers under a fresh id, for as long as it takes. `None` when the worker stops before it has a lease.
async fn register(shared: &Shared) -> Option<Kept> {
    let mut pause = Pause::after_error();
    let fresh =
        || WorkerInfo::new(shared.name.clone(), shared.options.lease, shared.slots.queues());
    let mut info = fresh();
    while !shared.stop.is_cancelled() {
        let sent = Instant::now();
        let error = match shared.call("register", shared.backend().register(&info)).await {
            Ok(WorkerLease { worker, lease }) => {
                let until = sent + (lease - shared.options.margin(lease));
                if Instant::now() < until {
                    shared.health.heartbeat.store(true, Ordering::Relaxed);
                    tracing::info!(%worker, "the worker has its lease");
                    return Some(Kept { worker, lease, until });
                }
                Error::Timeout { what: "register".into(), after: lease }
            }
            Err(error) => error,
        };
        if matches!(error, Error::WorkerExpired { .. }) {
            info = fresh();
        }
        tracing::warn!(error = %error_text(&error), "registering the worker failed and is repeated");
        tokio::select! {
            biased;
            () = sleep(pause.next()) => {}
            () = shared.stop.cancelled() => {}
        }
    }
    None
}

/// Sends heartbeats until the lease is lost.
async fn keep(shared: &Shared, mut kept: Kept) {
    let interval = shared.options.heartbeat;
    let mut last = Instant::now();
    let mut next = last + interval;
    let mut orphans = BTreeSet::new();
    let mut pause = Pause::new(Duration::from_millis(100), interval);
    loop {
        tokio::select! {
            biased;
            () = sleep_until(next) => {}
            () = hinted(shared, last) => {}
            () = shared.farewell.wanted.notified() => {}
            () = shared.registry.ended(kept.worker) => return,
        }
        let sent = Instant::now();
        last = sent;
        if sent >= kept.until {
            return fenced(kept);
        }
        let farewell = shared.farewell.take();
        let owned = shared.registry.keys();
        let call = shared.call("heartbeat", shared.backend().heartbeat(kept.worker, &owned));
        let error = match timeout_at(kept.until, call).await {
            Ok(Ok(Heartbeat::Alive { lost, cancel, orphaned })) => {
                // Counted from before the request was sent: the store's own count began later.
                kept.until = sent + (kept.lease - shared.options.margin(kept.lease));
                next = sent + interval;
                pause.reset();
                shared.health.heartbeat.store(true, Ordering::Relaxed);
                shared.registry.lost(&lost);
                shared.registry.cancel(&cancel);
                match farewell {
                    Some(asked) => {
                        let unknown = shared.registry.unknown(&orphaned);
                        let _ = asked.send(unknown.into_iter().collect());
                    }
                    None => orphans = give_back(shared, &orphans, &orphaned),
                }
                continue;
            }
            Ok(Ok(Heartbeat::Expired) | Err(Error::WorkerExpired { .. })) => {
                tracing::warn!(worker = %kept.worker, "the worker's lease had run out");
                return;
            }
            Ok(Err(error)) => error,
            Err(_) => return fenced(kept),
        };
        shared.farewell.put_back(farewell);
        shared.health.heartbeat.store(false, Ordering::Relaxed);
        tracing::warn!(worker = %kept.worker, error = %error_text(&error), "a heartbeat failed and is repeated");
        next = (Instant::now() + pause.next()).min(kept.until);
    }
}

/// A hint that came while jobs run may stand for a cancel request. Waits for one, and until it is time.
async fn hinted(shared: &Shared, last: Instant) {
    shared.beat_hint.notified().await;
    sleep_until(last + EARLIEST).await;
}

fn fenced(kept: Kept) {
    tracing::error!(worker = %kept.worker, "no heartbeat came through in time: the worker gives up its lease");
}

/// Releases jobs that the store says run here and that this worker knows nothing of, once two heartbeats in
/// a row said so: their claim's reply is not on its way any more. Answers those named for the first time.
fn give_back(
    shared: &Shared,
    before: &BTreeSet<LeaseKey>,
    orphaned: &[LeaseKey],
) -> BTreeSet<LeaseKey> {
    let (old, new): (BTreeSet<_>, BTreeSet<_>) =
        shared.registry.unknown(orphaned).into_iter().partition(|key| before.contains(key));
    for key in &old {
        // Never waits: what finds no room is named again by the next heartbeat.
        let settlement = Settlement::new(*key, AttemptOutcome::Released);
        let _ = shared.settlements.try_send(Item::new(settlement, None));
    }
    new.into_iter().chain(old).collect()
}
