//! What a process writes down at the seam between the runtime and the backend, and the keys that it learns there.

use windlass::{Lease, LeaseKey};
use windlass_checker::Journal;
use windlass_checker::history::What;

use crate::history::{self, History};
use crate::keys::Keys;

/// A history of a process and the keys that it holds.
#[derive(Debug, Clone)]
pub struct Seam {
    history: History,
    keys: Keys,
}

impl Seam {
    /// Writes into this history, and tells these keys.
    pub const fn new(history: History, keys: Keys) -> Self {
        Self { history, keys }
    }
}

impl Journal for Seam {
    fn now(&self) -> u64 {
        history::now()
    }

    fn record(&self, what: What) {
        self.history.record(what);
    }

    fn registered(&self) {
        self.keys.lose();
    }

    fn claimed(&self, lease: &Lease) {
        self.keys.claimed(lease.key, lease.kind.as_str());
    }

    fn settled(&self, key: LeaseKey) {
        self.keys.settled(key);
    }
}
