//! What a process or person writes down, until it dies.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use windlass_checker::history::What;
use windlass_checker::{Journal, Recorder};
use windlass_core::{JobId, Lease, LeaseKey};

use super::Faulty;
use super::world::World;

/// The store, as one process or person sees it and writes it down.
pub(super) type Recorded = Recorder<Faulty, Diary>;

/// Opens the store.
pub(super) fn open(world: &Arc<World>, name: String) -> Arc<Recorded> {
    let handle = Arc::new(Faulty::new(world.clone(), name));
    let diary = Diary { world: world.clone(), handle: handle.clone(), given: Mutex::default() };
    Arc::new(Recorder::new(handle, diary))
}

/// A history in the making, and the keys that were claimed.
#[derive(Debug)]
pub(super) struct Diary {
    world: Arc<World>,
    handle: Arc<Faulty>,
    /// The key that a claim gave for each attempt.
    given: Mutex<BTreeMap<(JobId, u32), LeaseKey>>,
}

impl Diary {
    /// The way to the store.
    pub(super) const fn handle(&self) -> &Arc<Faulty> {
        &self.handle
    }

    /// The key that a claim gave last for an attempt.
    pub(super) fn key(&self, job: JobId, attempt: u32) -> Option<LeaseKey> {
        let given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.get(&(job, attempt)).copied()
    }
}

impl Journal for Diary {
    fn now(&self) -> u64 {
        self.world.now()
    }

    fn record(&self, what: What) {
        // The dead write nothing, though their tasks wind down.
        if !self.handle.is_dead() {
            self.world.record(self.handle.name(), what);
        }
    }

    fn claimed(&self, lease: &Lease) {
        let mut given = self.given.lock().unwrap_or_else(PoisonError::into_inner);
        given.insert((lease.key.job, lease.attempt), lease.key);
    }
}
