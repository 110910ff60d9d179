//! The keys under which a process holds jobs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use windlass::{JobId, LeaseKey};

/// The keys under which a process holds jobs: handlers are told the job, and the checker wants the fence. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Keys(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    maps: Mutex<Maps>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Maps {
    /// Of the last claims, until a handler begins.
    claimed: HashMap<JobId, LeaseKey>,
    /// Until a settlement is answered; with their kinds.
    held: HashMap<JobId, (LeaseKey, String)>,
    /// Held under a lease that is lost.
    lost: Vec<(LeaseKey, String)>,
}

impl Keys {
    fn maps(&self) -> MutexGuard<'_, Maps> {
        self.0.maps.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job of a kind was claimed.
    pub fn claimed(&self, key: LeaseKey, kind: &str) {
        let mut maps = self.maps();
        maps.claimed.insert(key.job, key);
        maps.held.insert(key.job, (key, kind.to_owned()));
    }

    /// The key of the last claim of a job, for the handler that begins with it.
    pub fn begin(&self, job: JobId) -> Option<LeaseKey> {
        self.maps().claimed.remove(&job)
    }

    /// A settlement was answered.
    pub fn settled(&self, key: LeaseKey) {
        let mut maps = self.maps();
        let Maps { claimed, held, .. } = &mut *maps;
        // A handler may still be about to begin with what was lost: it has its claim.
        if held.get(&key.job).is_some_and(|(held, _)| *held == key) {
            held.remove(&key.job);
            if claimed.get(&key.job) == Some(&key) {
                claimed.remove(&key.job);
            }
        }
    }

    /// The lease is lost: whatever is held is held no more.
    pub fn lose(&self) {
        let mut maps = self.maps();
        let Maps { held, lost, .. } = &mut *maps;
        lost.extend(held.drain().map(|(_, held)| held));
        if !lost.is_empty() {
            self.0.news.notify_one();
        }
    }

    /// Waits until something is lost.
    pub async fn lost(&self) -> Vec<(LeaseKey, String)> {
        loop {
            let lost = std::mem::take(&mut self.maps().lost);
            if !lost.is_empty() {
                return lost;
            }
            self.0.news.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use windlass::{ClaimId, Epoch};

    fn key() -> LeaseKey {
        LeaseKey { job: JobId::new(), epoch: Epoch(1), claim_id: ClaimId::new() }
    }

    #[tokio::test]
    async fn what_is_not_settled_is_lost_with_the_lease() {
        let (keys, one, two) = (Keys::default(), key(), key());
        keys.claimed(one, "plain");
        keys.claimed(two, "plain");
        assert_eq!(keys.begin(one.job), Some(one));
        assert_eq!(keys.begin(one.job), None);
        keys.settled(two);
        keys.lose();
        assert_eq!(keys.lost().await, [(one, "plain".to_owned())]);
    }

    #[test]
    fn what_is_lost_and_refused_before_it_began_had_a_claim() {
        let (keys, one) = (Keys::default(), key());
        keys.claimed(one, "plain");
        keys.lose();
        keys.settled(one);
        assert_eq!(keys.begin(one.job), Some(one));
    }

    #[test]
    fn a_later_claim_stays_when_an_earlier_one_is_settled() {
        let (keys, one) = (Keys::default(), key());
        let again = LeaseKey { epoch: Epoch(3), claim_id: ClaimId::new(), ..one };
        keys.claimed(again, "plain");
        keys.settled(one);
        assert_eq!(keys.begin(one.job), Some(again));
    }
}
