//! Tasks in the background: begun when first needed, in the caller's runtime, and begun anew when that runtime is gone.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

#[derive(Debug, Clone, Copy)]
pub(super) enum Task {
    Jobs,
    Feed,
}

#[derive(Debug, Default)]
pub(super) struct Tasks(Mutex<Slots>);

#[derive(Debug, Default)]
struct Slots {
    running: [Option<JoinHandle<()>>; 2],
    ended: bool,
}

impl Tasks {
    fn lock(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a task unless it runs. Outside of a runtime, and after [`end`](Self::end), nothing happens.
    pub(super) fn start<F>(&self, task: Task, run: impl FnOnce() -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut slots = self.lock();
        let slots = &mut *slots;
        let slot = &mut slots.running[task as usize];
        // A task whose runtime was shut down counts as finished.
        let runs = slot.as_ref().is_some_and(|handle| !handle.is_finished());
        if runs || slots.ended {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            *slot = Some(runtime.spawn(run()));
        }
    }

    /// Ends all tasks, for good.
    pub(super) fn end(&self) {
        let mut slots = self.lock();
        slots.ended = true;
        for handle in slots.running.iter_mut().filter_map(Option::take) {
            handle.abort();
        }
    }
}
