//! An attempt that is past its deadline, and past the grace for its worker to end it, is taken away. F12.

use super::Harness;
use super::support::*;
use crate::queue::DEADLINE_GRACE;
use crate::{Epoch, FailureKind, NewJob, Settled, State};

/// F12: a handler that hangs in a live process does not hold its job for ever. What has no deadline, or
/// has time left, runs on.
pub async fn f12_hanging_attempts_are_taken_away<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let brief = |max_attempts| NewJob { timeout: Some(ms(50)), max_attempts, ..job() };
    let hanging = run_new(b, w, brief(5)).await;
    let last = run_new(b, w, brief(1)).await;
    let unlimited = run_new(b, w, job()).await;
    let long = run_new(b, w, NewJob { timeout: Some(HOUR), ..job() }).await;
    let unwanted = run_new(b, w, brief(5)).await;
    assert!(cancel(b, unwanted.key.job).await);
    assert!(maintain(b).await.rescued.is_empty(), "not before the deadline");

    h.advance(DEADLINE_GRACE + ms(100)).await;
    let rescued = maintain(b).await.rescued;
    let wanted = [hanging.key.job, last.key.job, unwanted.key.job];
    assert_eq!(sorted(rescued), sorted(wanted.to_vec()));

    let kept = get(b, hanging.key.job).await;
    assert_eq!((kept.state, kept.attempt), (State::Retryable, 1), "the attempt stays counted");
    assert_eq!(kept.crashes, 0, "the worker did not crash");
    assert_eq!(kept.epoch, Epoch(2));
    assert_eq!(kept.errors[0].kind, FailureKind::Timeout);
    assert_eq!(state(b, last.key.job).await, State::Discarded, "it had no other attempt");
    assert_eq!(state(b, unwanted.key.job).await, State::Cancelled);

    assert_eq!(settle(b, hanging.key, completed()).await, Settled::Lost, "the hung one is fenced");
    assert_eq!(sorted(beat(b, w, &[hanging.key, long.key]).await.0), [hanging.key]);
    for lease in [unlimited, long] {
        complete(b, &lease).await;
    }
    // F20: with a pause, so that a handler that hangs is not handed round at once.
    h.advance(ms(1_100)).await;
    maintain(b).await;
    // The time that a job waited is not the time that it runs.
    let again = claim_one(b, w).await;
    assert_eq!((again.key.job, again.attempt), (hanging.key.job, 2));
    assert!(maintain(b).await.rescued.is_empty(), "the deadline counts from the claim");
    complete(b, &again).await;
}
