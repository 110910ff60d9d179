//! Unique keys: who holds them, and for how long.

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use super::clock::after;
use crate::{JobId, UniqueKey, UniqueUntil};

#[derive(Debug, Clone, Copy)]
struct Lock {
    job: JobId,
    /// The end of a window; none for keys that are held until a state.
    until: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(super) struct Locks {
    held: HashMap<UniqueKey, Lock>,
    windows: BTreeSet<(Timestamp, UniqueKey)>,
}

/// What happened to a job that may hold a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Started,
    /// It became final, or was pruned.
    Finished,
    /// A user deleted it.
    Deleted,
}

impl End {
    /// A job that ends before its first claim must not hold its key for ever.
    pub(super) fn frees(self, until: UniqueUntil) -> bool {
        match until {
            UniqueUntil::Started => true,
            UniqueUntil::Finished => self != Self::Started,
            UniqueUntil::For(_) => self == Self::Deleted,
        }
    }
}

impl Locks {
    /// The job that holds a key now. The holder of a window may have been pruned.
    pub(super) fn holder(&self, key: &UniqueKey, now: Timestamp) -> Option<JobId> {
        let lock = self.held.get(key)?;
        lock.until.is_none_or(|until| until > now).then_some(lock.job)
    }

    pub(super) fn take(&mut self, key: &UniqueKey, job: JobId, until: UniqueUntil, now: Timestamp) {
        self.remove(key);
        let until = match until {
            UniqueUntil::For(window) => Some(after(now, window)),
            UniqueUntil::Started | UniqueUntil::Finished => None,
        };
        if let Some(until) = until {
            self.windows.insert((until, key.clone()));
        }
        self.held.insert(key.clone(), Lock { job, until });
    }

    /// Frees a key, if this job holds it.
    pub(super) fn free(&mut self, key: &UniqueKey, job: JobId) {
        if self.held.get(key).is_some_and(|lock| lock.job == job) {
            self.remove(key);
        }
    }

    /// Drops at most `limit` windows that have passed; whether there are more.
    pub(super) fn drop_passed(&mut self, now: Timestamp, limit: usize) -> bool {
        for _ in 0..limit {
            match self.windows.first() {
                Some((until, key)) if *until <= now => {
                    let key = key.clone();
                    self.remove(&key);
                }
                _ => return false,
            }
        }
        self.windows.first().is_some_and(|(until, _)| *until <= now)
    }

    fn remove(&mut self, key: &UniqueKey) {
        if let Some(Lock { until: Some(until), .. }) = self.held.remove(key) {
            self.windows.remove(&(until, key.clone()));
        }
    }

    /// The holder of a key that no window ends.
    #[cfg(test)]
    pub(super) fn lasting_holder(&self, key: &UniqueKey) -> Option<JobId> {
        self.held.get(key).filter(|lock| lock.until.is_none()).map(|lock| lock.job)
    }
}
