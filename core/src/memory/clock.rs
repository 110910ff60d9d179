//! The clock of the backend: microseconds, like those of the databases, and never stepping back.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// Where a clock that follows Tokio's starts: 2025-01-01, so that runs under paused time can be repeated.
const TOKIO_START: i64 = 1_735_689_600_000_000;

#[derive(Debug)]
enum Base {
    System,
    Tokio(Instant),
}

#[derive(Debug)]
pub(super) struct Clock {
    base: Base,
    advanced: Duration,
    latest: Timestamp,
}

impl Clock {
    pub(super) fn system() -> Self {
        Self::on(Base::System)
    }

    pub(super) fn tokio() -> Self {
        Self::on(Base::Tokio(Instant::now()))
    }

    fn on(base: Base) -> Self {
        Self { base, advanced: Duration::ZERO, latest: Timestamp::UNIX_EPOCH }
    }

    pub(super) fn advance(&mut self, by: Duration) {
        self.advanced = self.advanced.saturating_add(by);
    }

    pub(super) fn now(&mut self) -> Timestamp {
        let base = match self.base {
            Base::System => micros(Timestamp::now().as_microsecond()),
            Base::Tokio(origin) => after(micros(TOKIO_START), origin.elapsed()),
        };
        self.latest = self.latest.max(after(base, self.advanced));
        self.latest
    }
}

fn micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(Timestamp::MAX)
}

/// The time `delay` after `time`, the delay rounded up to a microsecond; at most the end of time.
pub(super) fn after(time: Timestamp, delay: Duration) -> Timestamp {
    let delay = i64::try_from(delay.as_nanos().div_ceil(1_000)).unwrap_or(i64::MAX);
    micros(time.as_microsecond().saturating_add(delay))
}

/// How long ago `time` was; nothing when it lies ahead.
pub(super) fn since(time: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(time)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_rounded_up_and_end_with_time() {
        let start = micros(TOKIO_START);
        assert_eq!(after(start, Duration::from_nanos(1)), micros(TOKIO_START + 1));
        assert_eq!(after(start, Duration::from_micros(7)), micros(TOKIO_START + 7));
        assert_eq!(after(start, Duration::MAX), Timestamp::MAX);
        assert_eq!(since(Timestamp::MAX, start), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn the_tokio_clock_follows_paused_time() {
        let mut clock = Clock::tokio();
        assert_eq!(clock.now(), micros(TOKIO_START));
        tokio::time::advance(Duration::from_secs(90)).await;
        clock.advance(Duration::from_secs(10));
        assert_eq!(clock.now(), micros(TOKIO_START + 100_000_000));
    }
}
