//! The database's clock: microseconds since the epoch, never stepping back.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use windlass_core::kit::micros;

/// Reads the time. The high-water mark in the database carries it across processes; where the system's clock
/// is behind the mark, time goes on from the mark at the pace of the monotonic clock.
#[derive(Debug, Clone)]
pub(crate) struct Clock {
    mark: Arc<Mutex<(i64, Instant)>>,
    offset: Arc<AtomicI64>,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            mark: Arc::new(Mutex::new((0, Instant::now()))),
            offset: Arc::new(AtomicI64::new(0)),
        }
    }

    /// The time now, given the high-water mark just read from the database.
    pub(crate) fn now(&self, stored: i64) -> i64 {
        let system = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |d| micros(d).saturating_add(self.offset.load(Ordering::Relaxed)));
        let mut mark = self.mark.lock().unwrap_or_else(PoisonError::into_inner);
        let carried = mark.0.saturating_add(micros(mark.1.elapsed()));
        let now = system.max(carried).max(stored);
        *mark = (now, Instant::now());
        now
    }

    /// Lets the clock run ahead of the system's by so much more.
    pub(crate) fn advance(&self, by: Duration) {
        self.offset.fetch_add(micros(by), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_steps_back_and_goes_on_from_the_stored_mark() {
        let clock = Clock::new();
        let ahead = clock.now(0) + 3_600_000_000;
        let first = clock.now(ahead);
        assert!(first >= ahead);
        std::thread::sleep(Duration::from_millis(2));
        assert!(clock.now(0) > first, "it stands still behind the mark");
    }
}
