//! Claims under way.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;

use windlass_core::ClaimId;

use crate::sync::{Mutex, MutexGuard, Notify, PoisonError};

/// Claims under way. One whose caller has gone away goes on, and what it takes is found when the same claim is sent again: that one waits for
/// it here, or else both would take jobs.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    claims: Mutex<HashSet<ClaimId>>,
    ended: Notify,
}

impl UnderWay {
    fn lock(&self) -> MutexGuard<'_, HashSet<ClaimId>> {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no claim of this id is under way.
    pub(super) async fn clear(&self, id: ClaimId) {
        loop {
            let mut ended = pin!(self.ended.notified());
            ended.as_mut().enable();
            if !self.lock().contains(&id) {
                return;
            }
            ended.await;
        }
    }
}

/// A claim under way, for as long as it lives.
pub(super) struct Entry(Arc<UnderWay>, ClaimId);

impl Entry {
    pub(super) fn new(claims: Arc<UnderWay>, id: ClaimId) -> Self {
        claims.lock().insert(id);
        Self(claims, id)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.0.lock().remove(&self.1);
        self.0.ended.notify_waiters();
    }
}
