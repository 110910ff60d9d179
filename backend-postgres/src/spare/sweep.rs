//! A task that gives connections back to the pool which nobody has used for a while.

use std::sync::{Arc, Weak};

use tokio::runtime::Handle;
use tokio::time::sleep;

use super::{Spare, Spares};

/// Begins it, unless there is one.
pub(super) fn begin(spares: &Arc<Spares>, runtime: &Handle) {
    let swept = std::mem::replace(&mut spares.lock().swept, true);
    // A runtime that ends drops the task here and now, which takes the lock.
    if !swept {
        runtime.spawn(sweep(Sweeper(Arc::downgrade(spares))));
    }
}

async fn sweep(mut sweeper: Sweeper) {
    while let Some(spares) = sweeper.0.upgrade() {
        let fresh = spares.times.fresh;
        drop(spares);
        sleep(fresh).await;
        if !sweeper.step() {
            return;
        }
    }
}

/// The task. When it ends with its runtime, the next connection that is kept begins another.
pub(super) struct Sweeper(pub(super) Weak<Spares>);

impl Sweeper {
    /// Gives those back that are stale. False when none is left, and with it the task's end: another one may have begun by now, and is none of its business.
    pub(super) fn step(&mut self) -> bool {
        let left = self.0.upgrade().is_some_and(|spares| spares.give_back());
        if !left {
            self.0 = Weak::new();
        }
        left
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if let Some(spares) = self.0.upgrade() {
            spares.lock().swept = false;
        }
    }
}

impl Spares {
    /// Gives those back that nobody has used for a while. False when none is left.
    fn give_back(&self) -> bool {
        let mut list = self.lock();
        let stale: Vec<Spare> = list.spares.extract_if(.., |spare| !self.is_fresh(spare)).collect();
        list.swept = !list.spares.is_empty();
        let left = list.swept;
        drop(list);
        drop(stale);
        left
    }
}
