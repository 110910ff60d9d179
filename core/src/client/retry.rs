//! Patience with a backend that is away for a moment.

use std::future::Future;
use std::time::Duration;

use tokio::time::Instant;

use crate::{Backend, Backoff, Error, Position, Result};

/// Longest wait for a hint before the store is read anyway.
pub(super) const POLL: Duration = Duration::from_secs(2);

/// How often an insert is sent in all.
const SENDINGS: u32 = 5;

/// The pause after the given number of failures in a row (from 1).
pub(super) fn pause(failures: u32) -> Duration {
    let backoff = Backoff::exponential(Duration::from_millis(50), Duration::from_secs(5));
    backoff.with_jitter(0.5).delay(failures, fastrand::f64())
}

/// Whether sending the same call again soon may help. A full queue is the caller's to wait for.
pub(super) fn passing(error: &Error) -> bool {
    error.is_transient() && !matches!(error, Error::QueueFull { .. })
}

/// Sends a call that is safe to repeat until it is answered, a few times; says how often it failed before.
pub(super) async fn repeat<T, F>(mut call: impl FnMut() -> F) -> Result<(T, u32)>
where
    F: Future<Output = Result<T>>,
{
    let mut failures = 0;
    loop {
        match call().await {
            Err(error) if passing(&error) && failures + 1 < SENDINGS => {
                failures += 1;
                tracing::debug!(%error, failures, "the backend is away, sending again");
                tokio::time::sleep(pause(failures)).await;
            }
            answer => return answer.map(|value| (value, failures)),
        }
    }
}

/// Waits for hints about one job among those about all. In a busy store they come all the time; the longer the
/// wait already was, the fewer of them are followed.
pub(super) struct Pace(Instant);

impl Pace {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }

    pub(super) async fn watch<B: Backend + ?Sized>(
        &self,
        backend: &B,
        tail: Option<Position>,
    ) -> Result<()> {
        let asked = Instant::now();
        backend.watch(tail, POLL).await?;
        if asked.elapsed() < Duration::from_millis(100) {
            let pause = self.0.elapsed() / 8;
            tokio::time::sleep(pause.clamp(Duration::from_millis(1), Duration::from_millis(250)))
                .await;
        }
        Ok(())
    }
}
