//! How an application defines a job: the trait [`Job`], retry [`Backoff`], and what a handler returns.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::BoxError;
use crate::{NewJob, Priority, Result, Unique};

/// A job's args, and how jobs of this kind are treated. Derive it, or implement it by hand:
///
/// ```
/// use serde::{Deserialize, Serialize};
/// use windlass_core::Job;
///
/// #[derive(Serialize, Deserialize)]
/// struct Thumbnail { width: u32 }
///
/// impl Job for Thumbnail {
///     const KIND: &'static str = "thumbnail";
///     const QUEUE: &'static str = "media";
///     type Output = String;
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a job",
    label = "not a job",
    note = "put `#[derive(Job, Serialize, Deserialize)]` on the type, or implement `Job` by hand"
)]
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// The kind: the name under which jobs are stored and handlers found. Keep it when the type is renamed.
    const KIND: &'static str;
    /// The queue, unless the enqueuing call names another.
    const QUEUE: &'static str = "default";
    /// Order within the queue; lower first.
    const PRIORITY: Priority = Priority::NORMAL;
    /// Attempts before the job is discarded.
    const MAX_ATTEMPTS: u32 = NewJob::DEFAULT_MAX_ATTEMPTS;
    /// How long one attempt may take; `None` for no deadline. Default one hour.
    const TIMEOUT: Option<Duration> = Some(Duration::from_secs(3_600));

    /// What the handler returns and [`Handle::result`](crate::Handle::result) gives to who waits. `()` where there is nothing to tell.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// How long to wait after a failed attempt.
    #[must_use]
    fn backoff() -> Backoff {
        Backoff::default()
    }

    /// The unique rule of this job, if any.
    ///
    /// # Errors
    /// Whatever makes the key unusable; the enqueue then fails with it.
    fn unique(&self) -> Result<Option<Unique>> {
        Ok(None)
    }
}

/// How the delay before the next attempt grows: `base`, multiplied by `factor` at each further attempt, at most
/// `max`, varied at random by up to `jitter` of itself in both directions.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub struct Backoff {
    /// After the first failure.
    pub base: Duration,
    /// Growth per attempt, at least 1.
    pub factor: f64,
    /// Never longer than this, jitter aside.
    pub max: Duration,
    /// Share of the delay that is random, 0 to 1.
    pub jitter: f64,
}

impl Default for Backoff {
    /// 1 s, 2 s, 4 s, … up to 1 h, each varied by a quarter.
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(3_600),
            jitter: 0.25,
        }
    }
}

impl Backoff {
    /// Doubling from `base` up to `max`.
    #[must_use]
    pub fn exponential(base: Duration, max: Duration) -> Self {
        Self { base, max, ..Self::default() }
    }

    /// The same delay each time.
    #[must_use]
    pub fn fixed(delay: Duration) -> Self {
        Self { base: delay, factor: 1.0, max: delay, ..Self::default() }
    }

    /// Growing by another factor; one below 1 is taken as 1.
    #[must_use]
    pub fn with_factor(mut self, factor: f64) -> Self {
        self.factor = factor.max(1.0);
        self
    }

    /// With another share of randomness; values outside 0 to 1 are taken as the nearest of the two.
    #[must_use]
    pub fn with_jitter(mut self, jitter: f64) -> Self {
        self.jitter = jitter.clamp(0.0, 1.0);
        self
    }

    /// The delay after a failed attempt (from 1), for a random number in `0.0..1.0`.
    #[must_use]
    pub fn delay(&self, attempt: u32, random: f64) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let max = self.max.as_secs_f64();
        let grown = self.base.as_secs_f64() * self.factor.max(1.0).powi(exponent);
        let varied = grown.min(max) * (1.0 + self.jitter.clamp(0.0, 1.0) * (2.0 * random - 1.0));
        Duration::try_from_secs_f64(varied).unwrap_or(self.max)
    }
}

/// What a handler returns. `?` on any error means "retry with backoff"; the other ends are constructors of [`Stop`]:
///
/// ```
/// # use windlass_core::{Outcome, Stop};
/// # use std::time::Duration;
/// fn handler(ready: bool, text: &str) -> Outcome<i64> {
///     if !ready {
///         return Err(Stop::snooze(Duration::from_secs(30)));
///     }
///     if text.is_empty() {
///         return Err(Stop::discard("there is no text"));
///     }
///     Ok(text.parse::<i64>()?)
/// }
/// # assert!(handler(true, "x").is_err());
/// ```
pub type Outcome<T = ()> = std::result::Result<T, Stop>;

/// Why a handler ends without a result.
pub struct Stop(pub(crate) StopKind);

pub(crate) enum StopKind {
    Retry { error: BoxError, after: Option<Duration> },
    Snooze(Duration),
    Cancel(Cow<'static, str>),
    Discard(BoxError),
}

impl Stop {
    /// The attempt failed; try again after the kind's backoff. What `?` does.
    pub fn retry(error: impl Into<BoxError>) -> Self {
        Self(StopKind::Retry { error: error.into(), after: None })
    }

    /// The attempt failed; try again after this long.
    pub fn retry_after(delay: Duration, error: impl Into<BoxError>) -> Self {
        Self(StopKind::Retry { error: error.into(), after: Some(delay) })
    }

    /// Not now: run again after this long. The attempt is given back; snoozes are capped by [`Limits::snoozes`](crate::Limits::snoozes).
    #[must_use]
    pub fn snooze(delay: Duration) -> Self {
        Self(StopKind::Snooze(delay))
    }

    /// The job is not wanted any more: it ends `cancelled`.
    pub fn cancel(reason: impl Into<Cow<'static, str>>) -> Self {
        Self(StopKind::Cancel(reason.into()))
    }

    /// No attempt can succeed: the job ends `discarded`.
    pub fn discard(error: impl Into<BoxError>) -> Self {
        Self(StopKind::Discard(error.into()))
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            StopKind::Retry { error, after } => {
                f.debug_struct("Retry").field("error", error).field("after", after).finish()
            }
            StopKind::Snooze(delay) => f.debug_tuple("Snooze").field(delay).finish(),
            StopKind::Cancel(reason) => f.debug_tuple("Cancel").field(reason).finish(),
            StopKind::Discard(error) => f.debug_tuple("Discard").field(error).finish(),
        }
    }
}

// `Stop` is no `Error` itself, which leaves room for this: every error, and plain text, becomes a retry.
impl<E: Into<BoxError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::retry(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_maximum_and_varies_by_its_jitter() {
        let s = |n| Duration::from_secs_f64(n);
        let plain = Backoff::exponential(s(1.0), s(10.0)).with_jitter(0.0);
        assert_eq!(
            [1, 2, 3, 4, 5, 4_000_000_000].map(|n| plain.delay(n, 0.9)),
            [s(1.0), s(2.0), s(4.0), s(8.0), s(10.0), s(10.0)]
        );
        let varied = plain.with_jitter(0.5);
        assert_eq!(varied.delay(1, 0.0), s(0.5));
        assert_eq!(varied.delay(1, 0.5), s(1.0));
        assert!(varied.delay(1, 0.999) < s(1.5));
        assert_eq!(Backoff::fixed(s(3.0)).with_jitter(0.0).delay(7, 0.1), s(3.0));
    }
}
