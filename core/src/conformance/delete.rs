//! `Change::Delete`: jobs that don't run are removed with their history.

use super::Harness;
use super::support::*;
use crate::{Change, EventBody, EventFilter, Settled, State, Store};

pub async fn jobs_that_do_not_run_are_removed<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let mut doomed = vec![insert(b, later()).await];
    for outcome in [completed(), discarded(), cancelled(), retry(HOUR), snoozed(HOUR)] {
        let lease = run_new(b, w, job()).await;
        settled(b, lease.key, outcome).await;
        doomed.push(lease.key.job);
    }
    doomed.push(insert(b, job()).await);
    let stays = insert(b, job_of("other", K)).await;
    for id in doomed {
        assert!(change_one(b, id, Change::Delete).await);
        assert_eq!(b.get(id).await.unwrap(), None);
        assert!(history(b, id).await.is_empty(), "its history goes with it");
        assert!(!change_one(b, id, Change::Delete).await, "once");
    }
    let left: Vec<_> = all(b, Default::default()).await.iter().map(|j| j.id).collect();
    assert_eq!(left, [stays]);
    assert!(claim(b, w, 9).await.is_empty());
    maintain(b).await;
}

pub async fn a_running_job_stays<H: Harness>(h: H) {
    let b = &*h.backend();
    let lease = run_new(b, worker(b).await, job()).await;
    let before = get(b, lease.key.job).await;
    assert!(!change_one(b, lease.key.job, Change::Delete).await);
    assert_eq!(get(b, lease.key.job).await, before);
    complete(b, &lease).await;
}

pub async fn its_last_owner_finds_it_gone<H: Harness>(h: H) {
    let b = &*h.backend();
    let lease = run_new(b, worker(b).await, job()).await;
    complete(b, &lease).await;
    assert!(change_one(b, lease.key.job, Change::Delete).await);
    assert_eq!(settle(b, lease.key, completed()).await, Settled::Lost);
    assert_eq!(b.get(lease.key.job).await.unwrap(), None);
}

pub async fn the_feed_tells<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, job()).await;
    let tail = b.tail().await.unwrap();
    assert!(change_one(b, id, Change::Delete).await);
    let page = b.events(&EventFilter::default(), tail, 99).await.unwrap();
    assert_eq!(page.events.len(), 1);
    assert_eq!((page.events[0].job, &page.events[0].body), (id, &EventBody::Deleted));
}

pub async fn the_counts_forget_it<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    complete(b, &lease).await;
    let waiting = insert(b, job()).await;
    for id in [lease.key.job, waiting] {
        assert!(change_one(b, id, Change::Delete).await);
    }
    assert_eq!(b.stats(&Default::default()).await.unwrap().counts, []);
    assert_eq!(count(b).await, 0);
    let id = insert(b, job()).await;
    assert_eq!(state(b, id).await, State::Available);
}
