//! Whether a fault has met anything: one that has not is not counted.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a fault is held at most until something meets it.
const LIMIT: Duration = Duration::from_secs(10);
/// Between two looks.
const PACE: Duration = Duration::from_millis(100);
/// How far a clock that was moved may be behind what it was moved by.
const BEHIND: Duration = Duration::from_secs(60);

/// Holds a fault for a while, and longer if nothing has met it by then. `count` tells what has met it so far; the answer is the most of that.
pub(super) async fn hold<F, Fut>(least: Duration, count: F) -> u64
where
    F: FnMut() -> Fut,
    Fut: Future<Output = u64>,
{
    hold_up_to(LIMIT, least, count).await
}

async fn hold_up_to<F, Fut>(limit: Duration, least: Duration, mut count: F) -> u64
where
    F: FnMut() -> Fut,
    Fut: Future<Output = u64>,
{
    let begun = Instant::now();
    let mut met = 0;
    loop {
        met = met.max(count().await);
        let held = begun.elapsed();
        if held >= least && (met > 0 || held >= limit) {
            return met;
        }
        tokio::time::sleep(PACE).await;
    }
}

/// Whether a clock that tells these seconds since 1970 is ahead of ours by so much.
pub(super) fn is_ahead(seconds: u64, ahead: Duration) -> bool {
    let ours = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Duration::from_secs(seconds) + BEHIND >= ours + ahead
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[tokio::test]
    async fn a_fault_is_held_until_something_meets_it() {
        let looks = AtomicU64::new(0);
        let met = hold(Duration::ZERO, || async {
            looks.fetch_add(1, Ordering::SeqCst).saturating_sub(1)
        });
        assert_eq!((met.await, looks.load(Ordering::SeqCst)), (1, 3));
    }

    #[tokio::test]
    async fn one_that_nothing_meets_is_held_no_longer_than_to_a_limit() {
        assert_eq!(hold_up_to(Duration::ZERO, Duration::ZERO, || async { 0 }).await, 0);
    }

    #[test]
    fn a_clock_that_was_moved_is_ahead_and_ours_is_not() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let hour = Duration::from_secs(3_600);
        assert!(is_ahead(now + 3_599, hour) && !is_ahead(now, hour));
    }
}
