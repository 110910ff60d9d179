//! One claim, repeated until its reply is known.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::backoff::Pause;
use super::shared::Shared;
use super::{error_text, lock};
use crate::{ClaimRequest, Error, Lease};

/// What a claim gave, and the time from which its attempts count.
pub(crate) struct Taken {
    pub(crate) leases: Vec<Lease>,
    pub(crate) since: Instant,
}

/// Sends a claim, and sends it again after an error: its jobs may be claimed already, and only the same claim id
/// finds them. `None` when the lease or the worker ends before an answer comes, or when the claim fails for good twice:
/// then whatever it took is found by a heartbeat and given back.
pub(crate) async fn claim(shared: &Arc<Shared>, mut request: ClaimRequest) -> Option<Taken> {
    let worker = request.worker;
    let _claiming = shared.registry.claiming(request.claim_id);
    let mut pause = Pause::after_error();
    let mut failed_for_good = false;
    // From the first sending, which may be the one that was applied.
    let since = Instant::now();
    loop {
        let answer = tokio::select! {
            biased;
            answer = shared.call("claim", shared.backend().claim(&request)) => answer,
            () = gone(shared, worker) => return None,
        };
        let error = match answer {
            Ok(claimed) => {
                shared.health.claim.store(true, Ordering::Relaxed);
                let mut stats = lock(&shared.stats);
                stats.claim_calls += 1;
                stats.claimed += claimed.leases.len() as u64;
                return Some(Taken { leases: claimed.leases, since });
            }
            Err(error) => error,
        };
        if matches!(error, Error::WorkerExpired { .. }) {
            shared.registry.expire(worker);
            return None;
        }
        shared.health.claim.store(false, Ordering::Relaxed);
        if shared.stop.is_cancelled() && matches!(error, Error::Closed(_)) {
            return None;
        }
        if !error.is_transient() && std::mem::replace(&mut failed_for_good, true) {
            tracing::error!(%worker, error = %error_text(&error), "a claim failed again and is given up: another follows");
            return None;
        }
        tracing::warn!(%worker, error = %error_text(&error), "a claim failed and is repeated");
        request.resend = true;
        tokio::select! {
            biased;
            () = tokio::time::sleep(pause.next()) => {}
            () = gone(shared, worker) => return None,
        }
    }
}

async fn gone(shared: &Shared, worker: crate::WorkerId) {
    tokio::select! {
        biased;
        () = shared.registry.ended(worker) => {}
        () = shared.drained.cancelled() => {}
    }
}
