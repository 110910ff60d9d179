//! `Change::Reschedule`: waiting jobs get a new time.

use super::Harness;
use super::support::*;
use crate::{
    Backend, Change, ChangeRequest, Error, JobId, Selector, Start, State, Store, Timestamp,
};

async fn moved(b: &dyn Backend, id: JobId, start: Start) -> bool {
    change_one(b, id, Change::Reschedule { start }).await
}

pub async fn waiting_jobs_get_a_new_time<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let failed = run_new(b, w, job()).await;
    settled(b, failed.key, retry(HOUR)).await;
    let (available, scheduled) = (insert(b, job()).await, insert(b, later()).await);
    for id in [failed.key.job, available, scheduled] {
        let before = get(b, id).await;
        assert!(moved(b, id, Start::In(3 * HOUR)).await);
        let kept = get(b, id).await;
        assert_eq!(kept.state, State::Scheduled);
        assert_eq!((kept.attempt, &kept.errors), (before.attempt, &before.errors));
        let wait = kept.due_at.duration_since(kept.created_at).as_secs();
        assert!((3 * 3_600..4 * 3_600).contains(&wait), "{wait} s");
    }
    maintain(b).await;
    assert!(claim(b, w, 9).await.is_empty());
}

pub async fn a_job_may_be_moved_to_now<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for start in [Start::Now, Start::In(ms(0)), Start::At(Timestamp::UNIX_EPOCH)] {
        let id = insert(b, later()).await;
        assert!(moved(b, id, start).await);
        assert_eq!(state(b, id).await, State::Available);
        complete(b, &claim_one(b, w).await).await;
    }
}

pub async fn a_moved_job_runs_at_its_new_time<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, later()).await;
    assert!(moved(b, id, Start::In(ms(10))).await);
    h.advance(ms(20)).await;
    assert_eq!(maintain(b).await.promoted, 1);
    assert_eq!(claim_one(b, worker(b).await).await.key.job, id);
}

pub async fn running_and_final_jobs_stay_as_they_are<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let done = run_new(b, w, job()).await;
    complete(b, &done).await;
    let running = run_new(b, w, job()).await;
    for id in [done.key.job, running.key.job] {
        let before = get(b, id).await;
        assert!(!moved(b, id, Start::In(HOUR)).await);
        assert!(!moved(b, id, Start::Now).await);
        assert_eq!(get(b, id).await, before);
    }
    complete(b, &running).await;
}

pub async fn a_time_beyond_the_limit_is_an_error<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, job()).await;
    let before = get(b, id).await;
    let target = Selector::Ids(vec![id]);
    for start in [Start::In(b.limits().delay + HOUR), Start::At(Timestamp::MAX)] {
        let error = b
            .change(&ChangeRequest::new(target.clone(), Change::Reschedule { start }))
            .await
            .unwrap_err();
        assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
    }
    assert_eq!(get(b, id).await, before);
}
