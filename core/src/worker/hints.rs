//! Hints that something may be claimable. Nothing relies on them: they only make a look come sooner.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep, timeout};

use super::backoff::Pause;
use super::error_text;
use super::maintain::SETTINGS;
use super::shared::Shared;
use crate::{Error, QueueName, Result, Wake};

/// How long one call waits.
const WAIT: Duration = Duration::from_secs(30);
/// How long a hint that the fetcher does not take, because no slot is free, keeps others from being looked for.
const UNTAKEN: Duration = Duration::from_secs(1);

/// Waits for hints and passes them on, until the worker stops.
pub(crate) async fn run(shared: Arc<Shared>) {
    tokio::select! {
        biased;
        () = pass_on(&shared) => {}
        () = shared.stop.cancelled() => {}
    }
}

async fn pass_on(shared: &Shared) {
    let queues = shared.slots.queues();
    let mut pause = Pause::after_error();
    let mut waiting = wait(shared, &queues).boxed();
    loop {
        let since = Instant::now();
        let answer = waiting.await;
        // The next call begins before the look that this one leads to: what comes in between is seen by one of them.
        waiting = wait(shared, &queues).boxed();
        hearing(shared, &answer);
        match answer {
            Ok(Wake::Hint) => {
                let early = (&mut waiting).now_or_never().is_some();
                tell(shared);
                if shared.slots.held() > 0 {
                    shared.beat_hint.notify_one();
                }
                // Hints come no faster than the fetcher follows them, and it rests after those that were wrong.
                let _ = timeout(UNTAKEN, shared.hint_followed.notified()).await;
                if early {
                    // It told of news from before that look, and would be a wrong hint. If the look has left any, the next wait ends at once, too.
                    waiting = wait(shared, &queues).boxed();
                }
                pause.reset();
            }
            // A time-out that comes at once must not make a loop either.
            Ok(Wake::Timeout) if since.elapsed() >= WAIT / 2 => pause.reset(),
            answer => {
                if let Err(error) = answer {
                    tracing::debug!(error = %error_text(&error), "waiting for hints failed, polling goes on");
                }
                sleep(pause.next()).await;
            }
        }
    }
}

/// Something may be claimable, or settings may have changed.
fn tell(shared: &Shared) {
    shared.hint.notify_one();
    shared.scope.quarantine.after_rest(shared.options.quarantine);
    shared.upkeep().settings.after_rest(SETTINGS);
}

/// Notes whether waiting for hints works. When that changes everything is looked at: what was told in between is lost.
fn hearing(shared: &Shared, answer: &Result<Wake>) {
    if let Err(Error::Closed(_)) = answer {
        shared.fail(Error::Closed(shared.backend().name()));
    }
    let deaf = answer.is_err();
    if shared.deaf.swap(deaf, Ordering::Relaxed) != deaf {
        tell(shared);
    }
}

async fn wait(shared: &Shared, queues: &[QueueName]) -> Result<Wake> {
    let late = |_| Err(Error::Timeout { what: "wait".into(), after: 2 * WAIT });
    timeout(2 * WAIT, shared.backend().wait(queues, WAIT)).await.unwrap_or_else(late)
}
