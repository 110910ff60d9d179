//! Many settlements in one call: each is atomic by itself, answers in order.

use super::Harness;
use super::support::*;
use crate::{AttemptOutcome, NewJob, Payload, Queue, Settled, Settlement, State};

pub async fn mixed_outcomes_are_applied_and_answered_in_order<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(12)).await;
    let leases = claim(b, w, 12).await;
    let outcomes = every_outcome();
    let wanted = [
        State::Completed,
        State::Retryable,
        State::Discarded,
        State::Cancelled,
        State::Scheduled,
        State::Available,
    ];
    // Twice each and interleaved, in another order than the jobs were claimed in.
    let batch: Vec<_> =
        (0..12).map(|n| Settlement::new(leases[11 - n].key, outcomes[n % 6].clone())).collect();
    let answers = b.settle(&batch).await.unwrap();
    assert_eq!(answers.len(), 12);
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(*answer, Settled::Applied { state: wanted[n % 6] });
        assert_eq!(state(b, batch[n].key.job).await, wanted[n % 6]);
    }
}

pub async fn each_result_goes_to_its_own_job<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(20)).await;
    let mut leases = claim(b, w, 20).await;
    leases.reverse();
    let result = |n: usize| (!n.is_multiple_of(3)).then(|| Payload::json(&n).unwrap());
    let batch: Vec<_> = leases
        .iter()
        .enumerate()
        .map(|(n, lease)| {
            let outcome = AttemptOutcome::Completed { result: result(n), blobs: Vec::new() };
            Settlement::new(lease.key, outcome)
        })
        .collect();
    b.settle(&batch).await.unwrap();
    for (n, lease) in leases.iter().enumerate() {
        assert_eq!(get(b, lease.key.job).await.result, result(n));
    }
}

pub async fn each_failure_goes_to_its_own_job<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(20)).await;
    let leases = claim(b, w, 20).await;
    let batch: Vec<_> = leases
        .iter()
        .enumerate()
        .map(|(n, lease)| {
            let failure = failure(&format!("failure {n}"));
            let outcome = match n % 3 {
                0 => AttemptOutcome::Retry { delay: HOUR, failure },
                1 => AttemptOutcome::Discarded { failure },
                _ => AttemptOutcome::Cancelled { failure },
            };
            Settlement::new(lease.key, outcome)
        })
        .collect();
    b.settle(&batch).await.unwrap();
    for (n, lease) in leases.iter().enumerate() {
        assert_eq!(get(b, lease.key.job).await.errors[0].message, format!("failure {n}"));
    }
}

pub async fn each_delay_goes_to_its_own_job<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(6)).await;
    let leases = claim(b, w, 6).await;
    let batch: Vec<_> = leases
        .iter()
        .zip(1..)
        .map(|(lease, n)| {
            let delay = n * HOUR;
            let outcome = if n % 2 == 0 { retry(delay) } else { snoozed(delay) };
            Settlement::new(lease.key, outcome)
        })
        .collect();
    b.settle(&batch).await.unwrap();
    for (lease, n) in leases.iter().zip(1_i64..) {
        let kept = get(b, lease.key.job).await;
        let wait = kept.due_at.duration_since(kept.started_at.unwrap()).as_secs();
        assert!((n * 3_600..n * 3_600 + 1_800).contains(&wait), "{wait} s is not {n} h");
    }
}

pub async fn the_same_job_twice_in_a_batch_is_settled_once<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let batch = [completed(), discarded()].map(|o| Settlement::new(lease.key, o));
    let answers = b.settle(&batch).await.unwrap();
    let state = State::Completed;
    assert_eq!(answers, [Settled::Applied { state }, Settled::Already { state }]);

    let lease = run_new(b, w, job()).await;
    let batch = [retry(HOUR), completed()].map(|o| Settlement::new(lease.key, o));
    let answers = b.settle(&batch).await.unwrap();
    assert_eq!(answers, [Settled::Applied { state: State::Retryable }, Settled::Lost]);
}

pub async fn an_empty_batch_is_nothing<H: Harness>(h: H) {
    let b = &*h.backend();
    assert_eq!(b.settle(&[]).await.unwrap(), []);
    assert_eq!(b.record(&[]).await.unwrap(), []);
}

pub async fn a_thousand_jobs_are_settled_in_one_call<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(1_000)).await;
    let leases = claim(b, w, 1_000).await;
    let batch: Vec<_> = leases.iter().map(|l| Settlement::new(l.key, completed())).collect();
    let answers = b.settle(&batch).await.unwrap();
    let state = State::Completed;
    assert!(answers.iter().all(|a| *a == Settled::Applied { state }));
    assert_eq!(answers.len(), 1_000);
}

pub async fn jobs_of_many_claims_and_workers_are_settled_in_one_call<H: Harness>(h: H) {
    let b = &*h.backend();
    let mut batch = Vec::new();
    for _ in 0..5 {
        let w = worker(b).await;
        for _ in 0..3 {
            let lease = run_new(b, w, NewJob { max_attempts: 1, ..job() }).await;
            batch.push((w, Settlement::new(lease.key, completed())));
        }
    }
    let settlements: Vec<_> = batch.iter().map(|(_, s)| s.clone()).collect();
    b.settle(&settlements).await.unwrap();
    for (w, settlement) in &batch {
        let kept = get(b, settlement.key.job).await;
        assert_eq!((kept.state, kept.worker), (State::Completed, Some(*w)));
        assert_eq!(kept.claim_id, Some(settlement.key.claim_id));
    }
}
