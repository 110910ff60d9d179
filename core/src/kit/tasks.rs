//! Tasks in the background: begun when first needed, in the caller's runtime, and begun anew when that runtime is gone.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// A fixed number of tasks, each running at most once at a time.
#[derive(Debug)]
pub struct Tasks<const N: usize>(Mutex<Slots<N>>);

#[derive(Debug)]
struct Slots<const N: usize> {
    running: [Option<JoinHandle<()>>; N],
    ended: bool,
}

impl<const N: usize> Default for Tasks<N> {
    fn default() -> Self {
        Self(Mutex::new(Slots { running: std::array::from_fn(|_| None), ended: false }))
    }
}

impl<const N: usize> Tasks<N> {
    fn lock(&self) -> MutexGuard<'_, Slots<N>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the task of a number below `N` unless it runs. Outside of a runtime, and after [`end`](Self::end), nothing happens.
    pub fn start<F>(&self, task: usize, run: impl FnOnce() -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut slots = self.lock();
        let ended = slots.ended;
        let Some(slot) = slots.running.get_mut(task) else { return };
        // A task whose runtime was shut down counts as finished.
        let runs = slot.as_ref().is_some_and(|handle| !handle.is_finished());
        if runs || ended {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            *slot = Some(runtime.spawn(run()));
        }
    }

    /// Ends all tasks, for good.
    pub fn end(&self) {
        self.end_others(N);
    }

    /// Ends all tasks but one, which ends by itself, and lets none begin any more.
    pub fn end_others(&self, last: usize) {
        let mut slots = self.lock();
        slots.ended = true;
        for (task, slot) in slots.running.iter_mut().enumerate() {
            if task != last
                && let Some(handle) = slot.take()
            {
                handle.abort();
            }
        }
    }
}
