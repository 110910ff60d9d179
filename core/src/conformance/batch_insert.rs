//! `Store::insert` of many jobs: all or none, answers in order.

use super::Harness;
use super::support::*;
use crate::{Error, Inserted, Limits, NewJob, Store};

pub async fn answers_stand_in_the_order_of_the_jobs<H: Harness>(h: H) {
    let b = &*h.backend();
    let known = job();
    insert(b, known.clone()).await;
    let mut new = jobs(5);
    new.reverse();
    new.insert(2, known.clone());
    let answers = b.insert(&new).await.unwrap();
    for (job, answer) in new.iter().zip(&answers) {
        assert_eq!(answer.id(), job.id, "each answer stands where its job stood");
        assert_eq!(answer.is_new(), job.id != known.id);
    }
    assert_eq!(answers.len(), 6);
    assert_eq!(count(b).await, 6);
}

/// F21: one duplicate must not fail a batch.
pub async fn f21_a_duplicate_does_not_fail_the_others<H: Harness>(h: H) {
    let b = &*h.backend();
    let holder = insert(b, unique_job("a")).await;
    let (first, last) = (job(), job());
    let answers = b.insert(&[first.clone(), unique_job("a"), last.clone()]).await.unwrap();
    assert_eq!(
        answers,
        [Inserted::New(first.id), Inserted::Duplicate { existing: holder }, Inserted::New(last.id)]
    );
    assert_eq!(count(b).await, 3);
}

pub async fn the_same_id_twice_in_one_call_is_one_job<H: Harness>(h: H) {
    let b = &*h.backend();
    let new = job();
    let answers = b.insert(&[new.clone(), job(), new.clone()]).await.unwrap();
    assert_eq!(answers[0], Inserted::New(new.id));
    assert_eq!(answers[2], Inserted::Duplicate { existing: new.id });
    assert_eq!(count(b).await, 2);
}

pub async fn one_invalid_job_stops_the_whole_call<H: Harness>(h: H) {
    let b = &*h.backend();
    let bad = NewJob { max_attempts: 0, ..job() };
    let error = b.insert(&[job(), bad, job()]).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    assert_eq!(count(b).await, 0, "all or none: nothing was written");
}

pub async fn a_call_above_the_limit_writes_nothing<H: Harness>(_: H) {
    let h = H::open(Limits { batch: 3, ..Limits::default() }).await;
    let b = &*h.backend();
    let error = b.insert(&jobs(4)).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded { actual: 4, limit: 3, .. }), "{error}");
    assert_eq!(count(b).await, 0);
    insert_all(b, jobs(3)).await;
}

pub async fn a_batch_is_claimable_as_a_whole<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let inserted = insert_all(b, jobs(250)).await;
    assert_eq!(ids(&claim(b, w, 1_000).await), inserted, "in the order of the call");
}

pub async fn a_batch_may_mix_queues_kinds_and_starts<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let new = vec![job_of("other", K), later(), job(), job_of(Q, "other")];
    let wanted = new[2].id;
    insert_all(b, new).await;
    assert_eq!(ids(&claim(b, w, 10).await), [wanted]);
    assert_eq!(count(b).await, 4);
}
