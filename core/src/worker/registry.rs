//! What this worker owns: its incarnation, its attempts, and claims on their way.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::attempt::{Attempt, CancelCause};
use super::lock;
use crate::{ClaimId, LeaseKey, WorkerId};

/// What the heartbeat compares with the store.
#[derive(Debug)]
pub(crate) struct Registry {
    state: Mutex<State>,
    /// The incarnation that holds a lease.
    worker: watch::Sender<Option<WorkerId>>,
}

#[derive(Debug, Default)]
struct State {
    /// In order, so that what is done to all of them is repeatable.
    owned: BTreeMap<LeaseKey, Arc<Attempt>>,
    claims: HashSet<ClaimId>,
}

/// A claim on its way. What it takes is no orphan.
#[derive(Debug)]
pub(crate) struct Claiming<'a>(&'a Registry, ClaimId);

impl Drop for Claiming<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).claims.remove(&self.1);
    }
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::default(), worker: watch::Sender::new(None) }
    }

    pub(crate) fn worker(&self) -> Option<WorkerId> {
        *self.worker.borrow()
    }

    /// Follows the incarnation.
    pub(crate) fn follow(&self) -> watch::Receiver<Option<WorkerId>> {
        self.worker.subscribe()
    }

    /// Waits until `worker` is not the incarnation any more.
    pub(crate) async fn ended(&self, worker: WorkerId) {
        // The sender lives in `self`, so the wait can't fail.
        let _ = self.follow().wait_for(|now| *now != Some(worker)).await;
    }

    /// A new incarnation has its lease.
    pub(crate) fn begin(&self, worker: WorkerId) {
        self.worker.send_replace(Some(worker));
    }

    /// The lease of an incarnation is gone: all its handlers are aborted, and their settlements dropped.
    pub(crate) fn expire(&self, worker: WorkerId) {
        let owned: Vec<_> = {
            // In one step with `admit`, which looks at the incarnation under the same lock.
            let mut state = lock(&self.state);
            let ended = self.worker.send_if_modified(|now| {
                let ended = *now == Some(worker);
                if ended {
                    *now = None;
                }
                ended
            });
            if !ended {
                return;
            }
            std::mem::take(&mut state.owned).into_values().collect()
        };
        for attempt in owned {
            attempt.lose();
        }
    }

    /// Announces a claim until the guard is dropped.
    pub(crate) fn claiming(&self, claim: ClaimId) -> Claiming<'_> {
        lock(&self.state).claims.insert(claim);
        Claiming(self, claim)
    }

    /// Takes over an attempt that `worker` claimed; false when it is no longer the incarnation.
    pub(crate) fn admit(&self, worker: WorkerId, attempt: &Arc<Attempt>) -> bool {
        let mut state = lock(&self.state);
        let current = self.worker() == Some(worker);
        if current {
            state.owned.insert(attempt.key(), attempt.clone());
        }
        current
    }

    pub(crate) fn remove(&self, key: &LeaseKey) {
        lock(&self.state).owned.remove(key);
    }

    pub(crate) fn owns(&self, key: &LeaseKey) -> bool {
        lock(&self.state).owned.contains_key(key)
    }

    pub(crate) fn keys(&self) -> Vec<LeaseKey> {
        lock(&self.state).owned.keys().copied().collect()
    }

    pub(crate) fn attempts(&self) -> Vec<Arc<Attempt>> {
        lock(&self.state).owned.values().cloned().collect()
    }

    fn find(&self, key: &LeaseKey) -> Option<Arc<Attempt>> {
        lock(&self.state).owned.get(key).cloned()
    }

    /// The store doesn't know these as running any more.
    pub(crate) fn lost(&self, keys: &[LeaseKey]) {
        for key in keys {
            if self.find(key).is_some_and(|attempt| attempt.lose_if_running()) {
                self.remove(key);
            }
        }
    }

    /// Users asked to cancel these.
    pub(crate) fn cancel(&self, keys: &[LeaseKey]) {
        for attempt in keys.iter().filter_map(|key| self.find(key)) {
            attempt.cancel(CancelCause::Requested);
        }
    }

    /// Of keys that run under this worker as the store says: those that it really knows nothing of.
    pub(crate) fn unknown(&self, keys: &[LeaseKey]) -> BTreeSet<LeaseKey> {
        let state = lock(&self.state);
        let known =
            |key: &LeaseKey| state.owned.contains_key(key) || state.claims.contains(&key.claim_id);
        keys.iter().filter(|key| !known(key)).copied().collect()
    }

    pub(crate) fn oldest(&self) -> Option<Duration> {
        let now = Instant::now();
        let state = lock(&self.state);
        state.owned.values().map(|a| now.saturating_duration_since(a.started)).max()
    }
}
