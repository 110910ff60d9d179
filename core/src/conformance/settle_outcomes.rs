//! What each outcome makes of a job.

use super::Harness;
use super::support::*;
use crate::{
    AttemptOutcome, FailureKind, JobRecord, Lease, Limits, Note, Payload, Progress, Queue, Record,
    Settled, State,
};

async fn after<H: Harness>(h: &H, outcome: AttemptOutcome) -> (Lease, JobRecord) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    settled(b, lease.key, outcome).await;
    let kept = get(b, lease.key.job).await;
    (lease, kept)
}

fn assert_finished_by(kept: &JobRecord, lease: &Lease) {
    assert!(kept.state.is_final());
    assert!(kept.finished_at.is_some(), "a final job says when it ended");
    assert!(kept.worker.is_some(), "a final job says who finished it");
    assert_eq!(kept.claim_id, Some(lease.key.claim_id), "a final job carries its finisher's fence");
    assert_eq!(kept.epoch, lease.key.epoch);
}

fn assert_waits(kept: &JobRecord) {
    assert_eq!((kept.worker, kept.claim_id), (None, None), "nobody holds a waiting job");
    assert_eq!(kept.finished_at, None);
    assert_eq!(kept.result, None);
}

pub async fn completed_keeps_the_result<H: Harness>(h: H) {
    let result = Payload::json(&["done", "well"]).unwrap();
    let outcome = AttemptOutcome::Completed { result: Some(result.clone()), blobs: Vec::new() };
    let (lease, kept) = after(&h, outcome).await;
    assert_eq!(kept.state, State::Completed);
    assert_eq!(kept.result, Some(result));
    assert!(kept.errors.is_empty());
    assert_eq!(kept.attempt, 1);
    assert_finished_by(&kept, &lease);
}

pub async fn completed_without_a_result_has_none<H: Harness>(h: H) {
    let (lease, kept) = after(&h, completed()).await;
    assert_eq!((kept.state, kept.result.clone()), (State::Completed, None));
    assert_finished_by(&kept, &lease);
}

pub async fn discarded_keeps_the_failure<H: Harness>(h: H) {
    let (lease, kept) = after(&h, discarded()).await;
    assert_eq!(kept.state, State::Discarded);
    assert_eq!(kept.errors.len(), 1);
    assert_eq!((kept.errors[0].attempt, kept.errors[0].kind), (1, FailureKind::Error));
    assert_eq!(kept.errors[0].message, "hopeless");
    assert_finished_by(&kept, &lease);
}

pub async fn cancelled_by_the_handler_keeps_the_reason<H: Harness>(h: H) {
    let (lease, kept) = after(&h, cancelled()).await;
    assert_eq!(kept.state, State::Cancelled);
    assert_eq!(kept.errors.len(), 1);
    assert_eq!(kept.errors[0].kind, FailureKind::Cancelled);
    assert_eq!(kept.errors[0].message, "not wanted");
    assert_finished_by(&kept, &lease);
}

/// F20: a retry waits for its delay and then runs.
pub async fn f20_retry_waits_for_its_delay<H: Harness>(h: H) {
    let b = &*h.backend();
    let (_, kept) = after(&h, retry(HOUR)).await;
    assert_eq!(kept.state, State::Retryable);
    assert_waits(&kept);
    let wait = kept.due_at.duration_since(kept.started_at.unwrap());
    assert!(wait.as_secs() >= 3_600, "due an hour after the settling, not {wait:?}");
    assert_eq!(maintain(b).await.promoted, 0, "not before its time");
    assert!(claim(b, worker(b).await, 9).await.is_empty());

    let (_, kept) = after(&h, retry(ms(20))).await;
    h.advance(ms(30)).await;
    assert_eq!(maintain(b).await.promoted, 1, "not after its time");
    let lease = claim_one(b, worker(b).await).await;
    assert_eq!((lease.key.job, lease.attempt), (kept.id, 2));
}

pub async fn retry_without_delay_is_available_at_once<H: Harness>(h: H) {
    let (_, kept) = after(&h, retry(ms(0))).await;
    assert_eq!(kept.state, State::Available);
    assert_waits(&kept);
    assert_eq!(kept.attempt, 1, "a failed attempt counts");
    assert_eq!(kept.errors.len(), 1);
    assert_eq!(kept.errors[0].message, "boom");
}

pub async fn each_failure_is_kept_with_its_attempt<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let id = insert(b, job()).await;
    let kinds =
        [FailureKind::Error, FailureKind::Panic, FailureKind::Timeout, FailureKind::BadArgs];
    for (n, kind) in kinds.into_iter().enumerate() {
        let lease = claim_one(b, w).await;
        let failure = crate::Failure { kind, message: format!("failure {n}") };
        settled(b, lease.key, AttemptOutcome::Retry { delay: ms(0), failure }).await;
    }
    let errors = get(b, id).await.errors;
    let found: Vec<_> = errors.iter().map(|e| (e.attempt, e.kind, e.message.as_str())).collect();
    assert_eq!(
        found,
        [
            (1, FailureKind::Error, "failure 0"),
            (2, FailureKind::Panic, "failure 1"),
            (3, FailureKind::Timeout, "failure 2"),
            (4, FailureKind::BadArgs, "failure 3"),
        ],
        "oldest first"
    );
    assert!(errors.windows(2).all(|pair| pair[0].at <= pair[1].at));
}

pub async fn only_the_last_failures_are_kept<H: Harness>(_: H) {
    let h = H::open(Limits { errors: 3, ..Limits::default() }).await;
    let b = &*h.backend();
    let w = worker(b).await;
    let id = insert(b, job()).await;
    for _ in 0..5 {
        let lease = claim_one(b, w).await;
        settled(b, lease.key, retry(ms(0))).await;
    }
    let lease = claim_one(b, w).await;
    settled(b, lease.key, discarded()).await;
    let attempts: Vec<_> = get(b, id).await.errors.iter().map(|e| e.attempt).collect();
    assert_eq!(attempts, [4, 5, 6]);
}

pub async fn long_messages_are_cut_at_a_character<H: Harness>(_: H) {
    let limits = Limits { error_bytes: 20, ..Limits::default() };
    let h = H::open(limits.clone()).await;
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let message = "€".repeat(30);
    let failure = failure(&message);
    settled(b, lease.key, AttemptOutcome::Discarded { failure }).await;
    let kept = get(b, lease.key.job).await.errors.remove(0).message;
    assert_eq!(kept, limits.cut_error(&message));
}

pub async fn odd_messages_are_kept<H: Harness>(h: H) {
    let message = "line\nline\t\"quoted\" '; -- \\ 🦀 {}";
    let outcome = AttemptOutcome::Discarded { failure: failure(message) };
    let (_, kept) = after(&h, outcome).await;
    assert_eq!(kept.errors[0].message, message);
}

pub async fn failures_survive_the_success<H: Harness>(h: H) {
    let b = &*h.backend();
    let (lease, _) = after(&h, retry(ms(0))).await;
    let second = claim_one(b, worker(b).await).await;
    complete(b, &second).await;
    let kept = get(b, lease.key.job).await;
    assert_eq!((kept.attempt, kept.errors.len()), (2, 1));
}

pub async fn progress_survives_a_retry<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let progress = Progress { done: 3, total: Some(9), message: Some("three".to_owned()) };
    let notes = vec![Note::Progress(progress.clone())];
    b.record(&[Record::new(lease.key, notes)]).await.unwrap();
    settled(b, lease.key, retry(ms(0))).await;
    assert_eq!(
        claim_one(b, w).await.progress,
        Some(progress),
        "the next attempt can go on from it"
    );
}

pub async fn the_delay_counts_from_the_settling<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for outcome in [retry(HOUR), snoozed(HOUR)] {
        let lease = run_new(b, w, job()).await;
        h.advance(ms(30)).await;
        settled(b, lease.key, outcome).await;
        let kept = get(b, lease.key.job).await;
        let wait = kept.due_at.duration_since(kept.started_at.unwrap());
        assert!(wait.as_millis() >= 3_600_030, "an hour from the settling, not from the claim");
    }
}

/// A result above its limit is the worker's mistake: it is told, and the job still runs.
pub async fn a_result_above_the_limit_is_refused<H: Harness>(_: H) {
    let h = H::open(Limits { inline_result: 10, ..Limits::default() }).await;
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let result = Some(Payload::json("longer than ten bytes").unwrap());
    let outcome = AttemptOutcome::Completed { result, blobs: Vec::new() };
    let answer = settle(b, lease.key, outcome).await;
    assert!(matches!(answer, Settled::Refused { .. }), "{answer:?}");
    assert_eq!(state(b, lease.key.job).await, State::Running);
    complete(b, &lease).await;
}

/// A delay above the limit is the worker's mistake, too: it is told, and the job still runs.
pub async fn a_delay_above_the_limit_is_refused<H: Harness>(_: H) {
    let h = H::open(Limits { delay: HOUR, ..Limits::default() }).await;
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    for outcome in [retry(2 * HOUR), snoozed(2 * HOUR)] {
        let answer = settle(b, lease.key, outcome).await;
        assert!(matches!(answer, Settled::Refused { .. }), "{answer:?}");
        assert_eq!(state(b, lease.key.job).await, State::Running);
    }
    assert_eq!(settled(b, lease.key, retry(HOUR)).await, State::Retryable);
}
