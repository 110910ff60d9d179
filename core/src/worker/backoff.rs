//! Waiting between calls that failed or found nothing.

use std::time::Duration;

/// A delay that doubles up to a maximum; each is varied at random, so that workers don't march in step.
#[derive(Debug)]
pub(crate) struct Pause {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Pause {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, next: min }
    }

    /// Between repetitions of a failed call.
    pub(crate) fn after_error() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(5))
    }

    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }

    pub(crate) fn next(&mut self) -> Duration {
        let now = self.next;
        self.next = (now * 2).min(self.max);
        now.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}

/// Between four fifths and the whole of a duration: enough for those that do the same to part.
pub(crate) fn jittered(duration: Duration) -> Duration {
    duration.mul_f64(0.8 + fastrand::f64() / 5.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_maximum_and_start_over() {
        let ms = Duration::from_millis;
        let mut pause = Pause::new(ms(10), ms(35));
        for whole in [10, 20, 35, 35] {
            let next = pause.next();
            assert!(next >= ms(whole) / 2 && next <= ms(whole), "{next:?} of {whole}");
        }
        pause.reset();
        assert!(pause.next() <= ms(10));
    }
}
