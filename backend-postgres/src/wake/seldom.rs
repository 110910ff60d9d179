//! Pauses that grow, and warnings that don't flood.

use std::error::Error;
use std::time::Duration;

use tokio::time::Instant;

/// Least time between two warnings of one task.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// Lets a warning through now and then.
#[derive(Debug, Default)]
pub(super) struct Seldom(Option<Instant>);

impl Seldom {
    /// Warns of an error, with what follows from it.
    pub(super) fn warn(&mut self, what: &'static str, error: &dyn Error) {
        if self.0.is_some_and(|last| last.elapsed() < WARN_EVERY) {
            return;
        }
        self.0 = Some(Instant::now());
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        tracing::warn!(error = text, "{what}");
    }
}

/// Doubles from one pause to the next, up to a maximum, and scatters so that processes don't come back all at once.
#[derive(Debug)]
pub(super) struct Pause {
    least: Duration,
    most: Duration,
    next: Duration,
}

impl Pause {
    pub(super) fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, next: least }
    }

    pub(super) fn reset(&mut self) {
        self.next = self.least;
    }

    pub(super) fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (self.next * 2).min(self.most);
        pause.mul_f64(0.5 + fastrand::f64() / 2.0)
    }
}
