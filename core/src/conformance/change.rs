//! `Store::change` on many jobs: selectors, counting, pages.

use super::Harness;
use super::support::*;
use crate::{
    Change, ChangeRequest, Error, JobFilter, JobId, Limits, Selector, Start, State, Store,
};

pub async fn a_filter_changes_what_passes_and_nothing_else<H: Harness>(h: H) {
    let b = &*h.backend();
    let hit = insert_all(b, (0..5).map(|_| job_of("a", "x")).collect()).await;
    let miss = insert_all(b, vec![job_of("a", "y"), job_of("b", "x"), job()]).await;
    let filter = JobFilter::default().queue(queue("a")).kind(kind("x"));
    assert_eq!(change(b, Selector::Filter(filter), CANCEL).await, 5);
    for (id, wanted) in hit
        .iter()
        .map(|id| (id, State::Cancelled))
        .chain(miss.iter().map(|id| (id, State::Available)))
    {
        assert_eq!(state(b, *id).await, wanted);
    }
}

pub async fn unknown_ids_are_passed_over<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, job()).await;
    let target = Selector::Ids(vec![JobId::new(), id, JobId::new()]);
    assert_eq!(change(b, target, CANCEL).await, 1);
    let none = Selector::Ids(Vec::new());
    assert_eq!(change(b, none, CANCEL).await, 0, "no ids are no jobs");
}

pub async fn jobs_it_does_not_apply_to_are_not_counted<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(4)).await;
    let leases = claim(b, w, 3).await;
    complete(b, &leases[0]).await;
    settled(b, leases[1].key, retry(HOUR)).await;
    // completed, retryable, running, available
    let target = || Selector::Filter(JobFilter::default());
    let start = Start::In(HOUR);
    assert_eq!(change(b, target(), Change::Reschedule { start }).await, 2);
    assert_eq!(change(b, target(), Change::Retry).await, 3, "the two scheduled and the final one");
    assert_eq!(change(b, target(), CANCEL).await, 4);
    assert_eq!(change(b, target(), CANCEL).await, 0);
    assert_eq!(change(b, target(), Change::Delete).await, 3, "all but the running one");
}

pub async fn a_filter_is_worked_through_in_pages<H: Harness>(_: H) {
    for what in [CANCEL, Change::Delete, Change::Reschedule { start: Start::In(HOUR) }] {
        let h = H::open(Limits { batch: 3, ..Limits::default() }).await;
        let b = &*h.backend();
        for _ in 0..8 {
            insert(b, job()).await;
        }
        let target = Selector::Filter(JobFilter::default());
        let mut request = ChangeRequest::new(target, what.clone());
        let first = b.change(&request).await.unwrap();
        assert!(first.count <= 3, "a call looks at no more jobs than a batch");
        assert!(first.next.is_some(), "there are more");
        request.after = first.next;
        let mut count = first.count;
        while request.after.is_some() {
            let step = b.change(&request).await.unwrap();
            assert!(step.count <= 3);
            count += step.count;
            request.after = step.next;
        }
        assert_eq!(count, 8, "{what:?}: each job once");
    }
}

/// Pages move by what was looked at: jobs in the way that are not changed don't end the walk.
pub async fn jobs_that_stay_do_not_stop_the_walk<H: Harness>(_: H) {
    let h = H::open(Limits { batch: 2, ..Limits::default() }).await;
    let b = &*h.backend();
    let w = worker(b).await;
    for _ in 0..5 {
        run_new(b, w, job()).await;
    }
    let last = insert(b, job()).await;
    let target = Selector::Filter(JobFilter::default());
    assert_eq!(change(b, target, Change::Delete).await, 1, "only the last one does not run");
    assert_eq!(b.get(last).await.unwrap(), None);
    assert_eq!(count(b).await, 5);
}

pub async fn oldest_jobs_come_first<H: Harness>(_: H) {
    let h = H::open(Limits { batch: 2, ..Limits::default() }).await;
    let b = &*h.backend();
    let mut inserted = Vec::new();
    for _ in 0..4 {
        inserted.push(insert(b, job()).await);
    }
    let target = Selector::Filter(JobFilter::default());
    b.change(&ChangeRequest::new(target, CANCEL)).await.unwrap();
    inserted.sort_unstable();
    for (n, id) in inserted.iter().enumerate() {
        let wanted = if n < 2 { State::Cancelled } else { State::Available };
        assert_eq!(state(b, *id).await, wanted);
    }
}

pub async fn too_many_ids_are_an_error<H: Harness>(_: H) {
    let h = H::open(Limits { batch: 2, ..Limits::default() }).await;
    let b = &*h.backend();
    let id = insert(b, job()).await;
    let target = Selector::Ids(vec![id, JobId::new(), JobId::new()]);
    let error = b.change(&ChangeRequest::new(target, CANCEL)).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
    assert_eq!(state(b, id).await, State::Available);
}

pub async fn the_same_id_twice_counts_once<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, job()).await;
    assert_eq!(change(b, Selector::Ids(vec![id, id]), CANCEL).await, 1);
}

pub async fn a_state_filter_sees_each_job_once<H: Harness>(_: H) {
    let h = H::open(Limits { batch: 2, ..Limits::default() }).await;
    let b = &*h.backend();
    for _ in 0..5 {
        insert(b, later()).await;
    }
    // The change moves jobs out of the filter while it walks.
    let target = Selector::Filter(JobFilter::default().states([State::Scheduled]));
    assert_eq!(change(b, target, Change::Retry).await, 5);
    assert_eq!(all(b, JobFilter::default().states([State::Available])).await.len(), 5);
}
