//! Pruning what is past its retention, with its blobs.

use crate::{Backend, Client, Pruned, Result, Retention};

/// Jobs removed per call of the store: short enough to be in nobody's way.
const BATCH: u32 = 500;
/// Blobs deleted per call of the storage.
const BLOBS: usize = 500;

/// What a whole pruning did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrunedAll {
    /// Jobs removed.
    pub jobs: u64,
    /// Entries of the event feed removed.
    pub events: u64,
    /// Blobs deleted.
    pub blobs: u64,
}

impl<B: Backend + ?Sized> Client<B> {
    /// Removes all finished jobs that are past their retention, in bounded batches, with the blobs that only they
    /// referred to, and old entries of the event feed. Workers do the same by themselves.
    ///
    /// # Errors
    /// When the backend or the storage can't be reached. What was pruned stays so; a later call goes on.
    pub async fn prune(&self, retention: &Retention) -> Result<PrunedAll> {
        let mut all = PrunedAll::default();
        loop {
            let pruned = self.prune_batch(retention, BATCH).await?;
            all.jobs += pruned.jobs;
            all.events += pruned.events;
            all.blobs += pruned.blobs.len() as u64;
            if !pruned.more {
                return Ok(all);
            }
        }
    }

    /// One bounded batch of [`prune`](Self::prune).
    ///
    /// # Errors
    /// When the backend or the storage can't be reached.
    pub async fn prune_batch(&self, retention: &Retention, limit: u32) -> Result<Pruned> {
        let pruned = self.backend.prune(retention, limit).await?;
        // Confirmed as it goes, so that a failure in between repeats few deletions.
        for blobs in pruned.blobs.chunks(BLOBS) {
            self.storage.delete(blobs).await?;
            self.backend.blobs_deleted(blobs).await?;
        }
        Ok(pruned)
    }
}
