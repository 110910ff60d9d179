//! The account of blobs: who refers to them, which are staged, which are to be deleted.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::BlobKey;

#[derive(Debug, Default)]
pub(super) struct Blobs {
    /// How many jobs refer to a key. A key in both args and result of a job counts twice.
    refs: BTreeMap<BlobKey, u64>,
    /// Announced keys that no job has referred to since, and until when they are kept.
    staged: BTreeMap<BlobKey, Timestamp>,
    /// Keys to delete, until the deletion is confirmed, and whether they were named.
    doomed: BTreeMap<BlobKey, bool>,
}

impl Blobs {
    /// A key about to be written again is not to be deleted under the writer's hands.
    pub(super) fn stage(&mut self, key: &BlobKey, until: Timestamp) {
        if self.refs.contains_key(key) {
            return;
        }
        self.doomed.remove(key);
        let kept = self.staged.entry(key.clone()).or_insert(until);
        *kept = until.max(*kept);
    }

    pub(super) fn refer<'a>(&mut self, keys: impl IntoIterator<Item = &'a BlobKey>) {
        for key in keys {
            self.staged.remove(key);
            self.doomed.remove(key);
            *self.refs.entry(key.clone()).or_default() += 1;
        }
    }

    pub(super) fn release<'a>(&mut self, keys: impl IntoIterator<Item = &'a BlobKey>) {
        for key in keys {
            let Some(refs) = self.refs.get_mut(key) else { continue };
            *refs -= 1;
            if *refs == 0 {
                self.refs.remove(key);
                self.doomed.insert(key.clone(), false);
            }
        }
    }

    /// Names at most `limit` keys to delete.
    pub(super) fn condemned(&mut self, now: Timestamp, limit: usize) -> Vec<BlobKey> {
        let expired = self.staged.extract_if(.., |_, until| *until <= now);
        self.doomed.extend(expired.map(|(key, _)| (key, false)));
        let some = self.doomed.iter_mut().take(limit);
        some.map(|(key, named)| {
            *named = true;
            key.clone()
        })
        .collect()
    }

    /// A key that was staged or referred to since it was named stays in the account.
    pub(super) fn deleted(&mut self, keys: &[BlobKey]) {
        for key in keys {
            if self.doomed.get(key) == Some(&true) {
                self.doomed.remove(key);
            }
        }
    }

    #[cfg(test)]
    pub(super) fn fit(&self, refs: &BTreeMap<BlobKey, u64>) -> bool {
        let free = |key| !refs.contains_key(key);
        self.refs == *refs && self.staged.keys().all(free) && self.doomed.keys().all(free)
    }
}
