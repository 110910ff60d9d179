//! A queue with a maximum depth refuses what it has no room for.

use super::Harness;
use super::support::*;
use crate::{
    AttemptOutcome, Backend, Change, Error, Inserted, NewJob, OnConflict, QueueChange, State, Store,
};

async fn limit(b: &dyn Backend, depth: Option<u64>) {
    let change = QueueChange::default().max_depth(depth);
    b.configure_queue(&queue(Q), &change).await.unwrap();
}

async fn is_full(b: &dyn Backend, new: Vec<NewJob>) {
    let before = count(b).await;
    match b.insert(&new).await {
        Err(Error::QueueFull { queue, .. }) => assert_eq!(queue, Q),
        other => panic!("the queue is full, so the insert fails, not {other:?}"),
    }
    assert_eq!(count(b).await, before, "nothing was written");
}

pub async fn a_full_queue_refuses_the_whole_call<H: Harness>(h: H) {
    let b = &*h.backend();
    limit(b, Some(3)).await;
    insert_all(b, jobs(2)).await;
    is_full(b, vec![job_of("other", K), job(), job()]).await;
    insert(b, job()).await;
    is_full(b, jobs(1)).await;
    insert(b, job_of("other", K)).await;
    limit(b, Some(4)).await;
    insert(b, job()).await;
    is_full(b, jobs(1)).await;
    limit(b, None).await;
    insert_all(b, jobs(50)).await;
}

pub async fn one_call_may_not_jump_over_the_maximum<H: Harness>(h: H) {
    let b = &*h.backend();
    limit(b, Some(3)).await;
    is_full(b, jobs(4)).await;
    insert_all(b, jobs(3)).await;
}

pub async fn the_error_tells_the_depth_and_may_pass<H: Harness>(h: H) {
    let b = &*h.backend();
    limit(b, Some(0)).await;
    let error = b.insert(&[job()]).await.unwrap_err();
    assert!(matches!(error, Error::QueueFull { depth: 0, .. }), "{error}");
    assert!(error.is_transient(), "the same call may succeed later");
}

pub async fn jobs_that_wait_count<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let failed = run_new(b, w, job()).await;
    settled(b, failed.key, retry(HOUR)).await;
    insert_all(b, vec![later(), job()]).await;
    limit(b, Some(3)).await;
    is_full(b, vec![later()]).await;
    assert!(cancel(b, failed.key.job).await);
    insert(b, later()).await;
    is_full(b, jobs(1)).await;
}

pub async fn running_and_final_jobs_do_not_count<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    limit(b, Some(2)).await;
    for _ in 0..3 {
        insert_all(b, jobs(2)).await;
        let leases = claim(b, w, 2).await;
        complete(b, &leases[0]).await;
    }
    insert_all(b, jobs(2)).await;
    is_full(b, jobs(1)).await;
}

/// A repeated insert must get its answer: the jobs are in the queue already.
pub async fn duplicates_need_no_room<H: Harness>(h: H) {
    let b = &*h.backend();
    limit(b, Some(2)).await;
    let new = vec![job(), unique_job("a")];
    insert_all(b, new.clone()).await;
    let answers = b.insert(&new).await.unwrap();
    assert!(answers.iter().all(|a| !a.is_new()));
    assert!(!b.insert(&[unique_job("a")]).await.unwrap()[0].is_new());
    is_full(b, jobs(1)).await;
}

/// What counts is the queue after the call: a replacement leaves as many as there were.
pub async fn replacements_need_no_room<H: Harness>(h: H) {
    let b = &*h.backend();
    insert_all(b, vec![replacing("a", Q), job(), job()]).await;
    limit(b, Some(1)).await;
    let replaced = b.insert(&[replacing("a", Q)]).await.unwrap();
    assert!(matches!(replaced[0], Inserted::Replaced { .. }), "above the maximum, {replaced:?}");
    let mixed = b.insert(&[job(), replacing("a", "other")]).await.unwrap();
    assert!(mixed[0].is_new(), "one in and one out, in this order: {mixed:?}");
    is_full(b, vec![replacing("a", Q)]).await;
    let mixed = b.insert(&[replacing("b", Q), replacing("b", "other")]).await.unwrap();
    assert!(mixed[0].is_new(), "it did not stay, {mixed:?}");
    is_full(b, jobs(1)).await;
}

fn replacing(key: &str, queue: &str) -> NewJob {
    let mut new = unique_job(key);
    new.queue = self::queue(queue);
    if let Some(unique) = &mut new.unique {
        unique.on_conflict = OnConflict::Replace;
    }
    new
}

/// The limit is for what comes in. What was accepted goes its way.
pub async fn jobs_inside_go_their_way<H: Harness>(h: H) {
    let b = &*h.backend();
    let (w, lost) = (worker(b).await, worker(b).await);
    insert_all(b, jobs(5)).await;
    let leases = claim(b, w, 4).await;
    claim(b, lost, 1).await;
    insert_all(b, jobs(2)).await;
    limit(b, Some(1)).await;
    let back = [retry(ms(0)), snoozed(HOUR), AttemptOutcome::Released, completed()];
    for (lease, outcome) in leases.iter().zip(back) {
        settled(b, lease.key, outcome).await;
    }
    assert_eq!(lose(b, lost).await.rescued.len(), 1);
    assert!(change_one(b, leases[3].key.job, Change::Retry).await);
    let waiting = [State::Available, State::Scheduled];
    let found = all(b, crate::JobFilter::default().states(waiting)).await;
    assert_eq!(found.len(), 7);
}

pub async fn concurrent_inserts_do_not_pass_the_maximum<H: Harness>(h: H) {
    let b = h.backend();
    let second = h.second().await.unwrap_or_else(|| h.backend());
    limit(&*b, Some(10)).await;
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let b = if n % 2 == 0 { b.clone() } else { second.clone() };
            tokio::spawn(async move {
                for _ in 0..4 {
                    match b.insert(&jobs(1)).await {
                        Ok(_) | Err(Error::QueueFull { .. }) => {}
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(count(&*b).await, 10);
}
