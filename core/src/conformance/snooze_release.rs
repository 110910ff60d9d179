//! Snooze and release give the attempt back.

use super::Harness;
use super::support::*;
use crate::{AttemptOutcome, Epoch, State};

pub async fn a_snooze_gives_the_attempt_back<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    assert_eq!(settled(b, lease.key, snoozed(HOUR)).await, State::Scheduled);
    let kept = get(b, lease.key.job).await;
    assert_eq!((kept.attempt, kept.snoozes, kept.crashes), (0, 1, 0));
    assert_eq!((kept.worker, kept.claim_id, kept.finished_at), (None, None, None));
    assert!(kept.errors.is_empty(), "a snooze is no failure");
    let wait = kept.due_at.duration_since(kept.started_at.unwrap());
    assert!(wait.as_secs() >= 3_600, "due in an hour, not in {wait:?}");
}

pub async fn a_snoozed_job_runs_after_its_time<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    settled(b, lease.key, snoozed(ms(20))).await;
    h.advance(ms(30)).await;
    assert_eq!(maintain(b).await.promoted, 1);
    let again = claim_one(b, w).await;
    assert_eq!((again.attempt, again.snoozes), (1, 1));
    assert_eq!(again.key.epoch, Epoch(2), "the epoch grows though the attempt was given back");
}

pub async fn a_snooze_of_no_length_is_available_at_once<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    assert_eq!(settled(b, lease.key, snoozed(ms(0))).await, State::Available);
    assert_eq!(claim_one(b, w).await.snoozes, 1);
}

/// F11: a deploy must not burn attempts.
pub async fn f11_a_release_gives_the_attempt_back<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, crate::NewJob { max_attempts: 1, ..job() }).await;
    for n in 1..=5 {
        let w = worker(b).await;
        let lease = claim_one(b, w).await;
        assert_eq!((lease.attempt, lease.key.epoch), (1, Epoch(n)));
        let released = AttemptOutcome::Released;
        assert_eq!(settled(b, lease.key, released).await, State::Available);
        let kept = get(b, id).await;
        assert_eq!((kept.attempt, kept.snoozes, kept.crashes), (0, 0, 0));
        assert!(kept.errors.is_empty());
        assert_eq!((kept.worker, kept.claim_id), (None, None));
    }
}

pub async fn earlier_failures_still_count<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let id = insert(b, job()).await;
    for outcome in [retry(ms(0)), snoozed(ms(0)), AttemptOutcome::Released, retry(ms(0))] {
        let lease = claim_one(b, w).await;
        settled(b, lease.key, outcome).await;
    }
    let kept = get(b, id).await;
    assert_eq!((kept.attempt, kept.errors.len(), kept.snoozes), (2, 2, 1));
}
