//! `Change::Retry`: waiting jobs at once, final ones again.

use super::Harness;
use super::support::*;
use crate::{Backend, Change, JobId, NewJob, Payload, Queue, State};

async fn retried(b: &dyn Backend, id: JobId) -> bool {
    change_one(b, id, Change::Retry).await
}

pub async fn waiting_jobs_are_due_at_once<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let failed = run_new(b, w, job()).await;
    settled(b, failed.key, retry(HOUR)).await;
    let scheduled = insert(b, later()).await;
    for (id, attempt) in [(failed.key.job, 1), (scheduled, 0)] {
        assert!(retried(b, id).await);
        let kept = get(b, id).await;
        assert_eq!((kept.state, kept.attempt), (State::Available, attempt));
        let early = kept.due_at.duration_since(kept.created_at).as_secs();
        assert!(early < 1_800, "due at once, not in {early} s");
    }
    assert_eq!(ids(&claim(b, w, 9).await), [failed.key.job, scheduled]);
}

pub async fn a_final_job_runs_again<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for end in [completed(), discarded(), cancelled()] {
        let lease = run_new(b, w, job()).await;
        settled(b, lease.key, end).await;
        assert!(retried(b, lease.key.job).await);
        let kept = get(b, lease.key.job).await;
        assert_eq!((kept.state, kept.attempt), (State::Available, 1));
        assert_eq!((kept.worker, kept.claim_id, kept.finished_at), (None, None, None));
        let again = claim_one(b, w).await;
        assert_eq!((again.key.job, again.attempt), (lease.key.job, 2));
        assert!(again.key.epoch > lease.key.epoch, "the epoch goes on, it does not start anew");
        complete(b, &again).await;
    }
}

pub async fn the_result_goes_and_the_errors_stay<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    settled(b, lease.key, retry(ms(0))).await;
    let result = Some(Payload::json(&1).unwrap());
    let outcome = crate::AttemptOutcome::Completed { result, blobs: Vec::new() };
    settled(b, claim_one(b, w).await.key, outcome).await;
    assert!(retried(b, lease.key.job).await);
    let kept = get(b, lease.key.job).await;
    assert_eq!((kept.result, kept.errors.len()), (None, 1));
}

/// F51: whoever retries a job wants one more attempt, whatever its maximum was.
pub async fn f51_a_retried_job_has_at_least_one_more_attempt<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, NewJob { max_attempts: 1, ..job() }).await;
    settled(b, lease.key, discarded()).await;
    assert!(retried(b, lease.key.job).await);
    assert_eq!(get(b, lease.key.job).await.max_attempts, 2);
    let again = claim_one(b, w).await;
    assert_eq!((again.attempt, again.max_attempts), (2, 2));

    let lease = run_new(b, w, NewJob { max_attempts: 9, ..job() }).await;
    settled(b, lease.key, discarded()).await;
    assert!(retried(b, lease.key.job).await);
    assert_eq!(get(b, lease.key.job).await.max_attempts, 9, "enough are left");
}

pub async fn available_and_running_jobs_stay_as_they_are<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let available = insert(b, job()).await;
    for id in [lease.key.job, available] {
        let before = get(b, id).await;
        assert!(!retried(b, id).await);
        assert_eq!(get(b, id).await, before);
    }
    assert!(b.settle(&[crate::Settlement::new(lease.key, completed())]).await.is_ok());
}

pub async fn a_job_cancelled_before_its_first_attempt_may_run_after_all<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, later()).await;
    assert!(cancel(b, id).await);
    assert!(retried(b, id).await);
    let lease = claim_one(b, worker(b).await).await;
    assert_eq!((lease.key.job, lease.attempt), (id, 1));
}

pub async fn a_completed_job_is_spared_on_request<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let spared = run_new(b, w, job()).await;
    let result = Some(Payload::json(&1).unwrap());
    let outcome = crate::AttemptOutcome::Completed { result, blobs: Vec::new() };
    settled(b, spared.key, outcome).await;
    let before = get(b, spared.key.job).await;
    assert!(!change_one(b, spared.key.job, Change::RetryUnlessCompleted).await);
    assert_eq!(get(b, spared.key.job).await, before);

    // Others are retried, unless their key has gone to another job.
    let failed = run_new(b, w, unique_job("key")).await;
    settled(b, failed.key, discarded()).await;
    let holder = insert(b, unique_job("key")).await;
    assert!(!change_one(b, failed.key.job, Change::RetryUnlessCompleted).await);
    assert!(cancel(b, holder).await);
    assert!(change_one(b, failed.key.job, Change::RetryUnlessCompleted).await);
    assert_eq!(claim_one(b, w).await.key.job, failed.key.job);
}
