//! The database's clock: microseconds since the epoch, never stepping back.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::Timestamp;

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

/// A duration in whole microseconds, rounded up.
pub(crate) fn micros(duration: Duration) -> i64 {
    let rounded = duration.as_nanos().div_ceil(1_000);
    // Sums of two such values must not overflow: half the range is 146,000 years.
    i64::try_from(rounded).unwrap_or(i64::MAX).min(i64::MAX / 2)
}

/// A stored time. Out-of-range values become the nearest that can be told.
pub(crate) fn timestamp(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

/// A stored duration.
pub(crate) fn duration(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
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

    #[test]
    fn durations_are_rounded_up() {
        assert_eq!(micros(Duration::from_nanos(1)), 1);
        assert_eq!(micros(Duration::ZERO), 0);
        assert!(micros(Duration::MAX).checked_add(micros(Duration::MAX)).is_some());
    }
}
