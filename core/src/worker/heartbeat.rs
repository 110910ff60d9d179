//! The worker's lease: registered, kept by heartbeats, and given up in time. Runs on a thread and runtime of the client's
//! own, so that neither handlers nor a full buffer can starve it. Siblings send their heartbeats together; each sees to its own lease.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::backoff::Pause;
use super::error_text;
use super::settle::Item;
use super::shared::Shared;
use super::upkeep::{alone, together};
use crate::{
    AttemptOutcome, Beat, Error, Heartbeat, LeaseKey, Settlement, WorkerId, WorkerInfo, WorkerLease,
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
async fn keep(shared: &Arc<Shared>, mut kept: Kept) {
    let interval = shared.options.heartbeat;
    let mut last = Instant::now();
    let mut next = last + interval;
    let mut orphans = BTreeSet::new();
    let mut pause = Pause::new(Duration::from_millis(100), interval);
    // One that failed does not spoil those of the siblings.
    let mut apart = false;
    loop {
        tokio::select! {
            biased;
            () = sleep_until(next) => {}
            () = hinted(shared, last) => {}
            () = in_company(shared, last + interval / 2) => {}
            () = shared.farewell.wanted.notified() => {}
            () = shared.registry.ended(kept.worker) => return,
        }
        let sent = Instant::now();
        last = sent;
        if sent >= kept.until {
            return fenced(kept);
        }
        let farewell = shared.farewell.take();
        let beat = Beat::new(kept.worker, shared.registry.keys());
        let apart_now = std::mem::replace(&mut apart, true) || farewell.is_some();
        let call = async {
            if apart_now {
                alone(shared, &beat).await
            } else {
                // Half of the time is left for one of its own.
                let bound = interval.min(shared.options.call_timeout).min(kept.until - sent) / 2;
                together(shared, &beat, bound).await
            }
        };
        let error = match timeout_at(kept.until, shared.call("heartbeat", call)).await {
            Ok(Ok(Heartbeat::Alive { lost, cancel, orphaned })) => {
                // Counted from before the request was sent: the store's own count began later.
                kept.until = sent + (kept.lease - shared.options.margin(kept.lease));
                next = sent + interval;
                pause.reset();
                apart = false;
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

/// Waits until a sibling sends a heartbeat, once this worker's own is not far off.
async fn in_company(shared: &Shared, from: Instant) {
    sleep_until(from).await;
    shared.upkeep().beats.gathering().await;
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
