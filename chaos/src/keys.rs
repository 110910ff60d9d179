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
    /// Held no more, as the lease is lost; and some of what was settled.
    over: Vec<(LeaseKey, String)>,
    settled: usize,
}

/// Of so many that were settled one is told to be held no more.
const ONE_OF: usize = 8;

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
            let was = held.remove(&key.job);
            if claimed.get(&key.job) == Some(&key) {
                claimed.remove(&key.job);
            }
            maps.settled += 1;
            if maps.settled.is_multiple_of(ONE_OF) {
                maps.over.extend(was);
                self.0.news.notify_one();
            }
        }
    }

    /// The lease is lost: whatever is held is held no more.
    pub fn lose(&self) {
        let mut maps = self.maps();
        let Maps { held, over, .. } = &mut *maps;
        over.extend(held.drain().map(|(_, held)| held));
        if !over.is_empty() {
            self.0.news.notify_one();
        }
    }

    /// Waits until something is held no more: all that is lost, and some of what was settled.
    pub async fn over(&self) -> Vec<(LeaseKey, String)> {
        loop {
            let over = std::mem::take(&mut self.maps().over);
            if !over.is_empty() {
                return over;
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
        assert_eq!(keys.over().await, [(one, "plain".to_owned())]);
    }

    #[tokio::test]
    async fn some_of_what_is_settled_is_told_once() {
        let keys = Keys::default();
        let all: Vec<_> = std::iter::repeat_with(key).take(2 * ONE_OF).collect();
        for key in &all {
            keys.claimed(*key, "plain");
            for _ in 0..2 {
                keys.settled(*key);
            }
        }
        let told = [all[ONE_OF - 1], all[2 * ONE_OF - 1]].map(|key| (key, "plain".to_owned()));
        assert_eq!(keys.over().await, told);
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
