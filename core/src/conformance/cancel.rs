//! `Change::Cancel`: at once for waiting jobs, a durable request for running ones.

use super::Harness;
use super::support::*;
use crate::{AttemptOutcome, Backend, Change, EventBody, Lease, NewJob, Queue, State};

pub async fn waiting_jobs_end_at_once<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let retryable = run_new(b, w, job()).await;
    settled(b, retryable.key, retry(HOUR)).await;
    let available = insert(b, job()).await;
    let scheduled = insert(b, later()).await;
    for id in [retryable.key.job, available, scheduled] {
        let before = get(b, id).await;
        assert!(cancel(b, id).await);
        let kept = get(b, id).await;
        assert_eq!(kept.state, State::Cancelled);
        assert!(kept.finished_at.is_some_and(|at| at >= kept.created_at));
        assert_eq!((kept.worker, kept.claim_id), (None, None), "no worker finished it");
        assert_eq!((kept.attempt, kept.cancel_requested), (before.attempt, false));
        assert_eq!(kept.errors, before.errors);
    }
    h.advance(ms(5)).await;
    maintain(b).await;
    assert!(claim(b, w, 9).await.is_empty());
}

async fn cancelled_while_running(b: &dyn Backend, new: NewJob) -> Lease {
    let w = worker(b).await;
    let lease = run_new(b, w, new).await;
    assert!(cancel(b, lease.key.job).await, "the request counts as a change");
    let kept = get(b, lease.key.job).await;
    assert_eq!((kept.state, kept.cancel_requested), (State::Running, true));
    assert_eq!(kept.claim_id, Some(lease.key.claim_id), "its owner keeps it");
    lease
}

/// F13: the request is durable; a worker that only polls learns of it, again and again.
pub async fn f13_heartbeats_bring_the_request<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(3)).await;
    let keys: Vec<_> = claim(b, w, 3).await.iter().map(|l| l.key).collect();
    assert_eq!(beat(b, w, &keys).await.1, []);
    assert!(cancel(b, keys[1].job).await);
    for _ in 0..3 {
        let (lost, cancel, orphaned) = beat(b, w, &keys).await;
        assert_eq!(cancel, [keys[1]], "each heartbeat, until the job ends");
        assert!(lost.is_empty() && orphaned.is_empty());
    }
    settled(b, keys[1], cancelled()).await;
    assert_eq!(beat(b, w, &keys).await, (vec![keys[1]], vec![], vec![]));
}

pub async fn a_success_stays_a_success<H: Harness>(h: H) {
    let b = &*h.backend();
    let lease = cancelled_while_running(b, job()).await;
    assert_eq!(settled(b, lease.key, completed()).await, State::Completed);
    let kept = get(b, lease.key.job).await;
    assert_eq!((kept.state, kept.cancel_requested), (State::Completed, false));
}

pub async fn every_other_outcome_becomes_cancelled<H: Harness>(h: H) {
    let b = &*h.backend();
    for outcome in [retry(HOUR), retry(ms(0)), discarded(), cancelled()] {
        let lease = cancelled_while_running(b, job()).await;
        assert_eq!(settled(b, lease.key, outcome.clone()).await, State::Cancelled, "{outcome:?}");
        let kept = get(b, lease.key.job).await;
        assert_eq!((kept.state, kept.attempt), (State::Cancelled, 1));
        assert_eq!(kept.errors.len(), 1, "the failure is kept");
        assert_eq!(kept.errors[0].message, outcome.failure().unwrap().message);
        assert!(kept.finished_at.is_some());
        assert_eq!(kept.claim_id, Some(lease.key.claim_id));
        assert!(!kept.cancel_requested, "the request is done with");
    }
}

pub async fn snooze_and_release_become_cancelled<H: Harness>(h: H) {
    let b = &*h.backend();
    for outcome in [snoozed(HOUR), snoozed(ms(0)), AttemptOutcome::Released] {
        let lease = cancelled_while_running(b, job()).await;
        assert_eq!(settled(b, lease.key, outcome).await, State::Cancelled);
        let kept = get(b, lease.key.job).await;
        assert_eq!((kept.attempt, kept.snoozes), (0, 0), "the attempt is given back");
        assert!(kept.errors.is_empty());
    }
}

pub async fn a_lost_worker_ends_the_job_cancelled<H: Harness>(h: H) {
    let b = &*h.backend();
    let lease = cancelled_while_running(b, job()).await;
    let owner = get(b, lease.key.job).await.worker.unwrap();
    lose(b, owner).await;
    let kept = get(b, lease.key.job).await;
    assert_eq!((kept.state, kept.cancel_requested), (State::Cancelled, false));
    assert!(kept.finished_at.is_some());
}

pub async fn a_second_request_changes_nothing<H: Harness>(h: H) {
    let b = &*h.backend();
    let lease = cancelled_while_running(b, job()).await;
    let (before, past) = (get(b, lease.key.job).await, history(b, lease.key.job).await);
    assert!(!cancel(b, lease.key.job).await, "it is not counted again");
    assert_eq!(get(b, lease.key.job).await, before);
    assert_eq!(history(b, lease.key.job).await, past);
}

pub async fn final_jobs_stay_as_they_are<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for end in [completed(), discarded(), cancelled()] {
        let lease = run_new(b, w, job()).await;
        settled(b, lease.key, end).await;
        let before = get(b, lease.key.job).await;
        assert!(!cancel(b, lease.key.job).await);
        assert_eq!(get(b, lease.key.job).await, before);
    }
}

pub async fn the_history_tells_of_the_request_and_its_reason<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let reason = Some("ordered by mistake; 'sorry' 🦀".to_owned());
    let request = Change::Cancel { reason: reason.clone() };
    assert!(change_one(b, lease.key.job, request).await);
    let last = history(b, lease.key.job).await.pop().unwrap();
    assert_eq!(last.body, EventBody::CancelRequested { reason });
}

/// The request is for this run of the job; a user who retries it later wants it to run.
pub async fn a_retried_job_is_not_cancelled_again<H: Harness>(h: H) {
    let b = &*h.backend();
    let lease = cancelled_while_running(b, job()).await;
    settled(b, lease.key, retry(HOUR)).await;
    assert!(change_one(b, lease.key.job, Change::Retry).await);
    assert!(!get(b, lease.key.job).await.cancel_requested);
    let w = worker(b).await;
    let again = claim_one(b, w).await;
    assert_eq!(beat(b, w, &[again.key]).await.1, []);
    assert_eq!(settled(b, again.key, retry(HOUR)).await, State::Retryable);
}

/// A stale request must not leak into the answer for a job that runs under a newer key.
pub async fn only_the_owner_is_asked<H: Harness>(h: H) {
    let b = &*h.backend();
    let (one, two) = (worker(b).await, worker(b).await);
    let first = run_new(b, one, job()).await;
    let second = run_new(b, two, job()).await;
    assert!(cancel(b, first.key.job).await);
    assert_eq!(beat(b, two, &[second.key]).await, (vec![], vec![], vec![]));
    let crate::Heartbeat::Alive { cancel, .. } = b.heartbeat(one, &[first.key]).await.unwrap()
    else {
        panic!("the worker lives")
    };
    assert_eq!(cancel, [first.key]);
}

pub async fn the_history_of_a_waiting_job_tells_the_reason<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, later()).await;
    let reason = Some("no longer needed".to_owned());
    assert!(change_one(b, id, Change::Cancel { reason }).await);
    let last = history(b, id).await.pop().unwrap();
    assert!(matches!(last.body, EventBody::State { to: State::Cancelled, .. }));
    assert!(format!("{:?}", last.body).contains("no longer needed"), "{:?}", last.body);
    assert_eq!(get(b, id).await.errors, [], "no attempt failed");
}
