//! Thousands at once.

use super::Harness;
use super::support::*;
use crate::{NewJob, Priority, Queue, Selector, Settlement, Start, State, Store};

/// One insert at the limit of a batch, drained by a thousand at a time.
pub async fn ten_thousand_jobs_go_through<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let inserted = insert_all(b, jobs(10_000)).await;
    let mut claimed = Vec::new();
    loop {
        let leases = claim(b, w, 1_000).await;
        if leases.is_empty() {
            break;
        }
        claimed.extend(ids(&leases));
        let batch: Vec<_> = leases.iter().map(|l| Settlement::new(l.key, completed())).collect();
        for answer in b.settle(&batch).await.unwrap() {
            assert_eq!(answer, crate::Settled::Applied { state: State::Completed });
        }
    }
    assert!(claimed == inserted, "all of them, in order");
    let stats = b.stats(&Default::default()).await.unwrap();
    assert_eq!(stats.in_state(State::Completed), 10_000);
}

/// F38: thousands that fall due together must not wedge the one who promotes them.
pub async fn f38_thousands_may_fall_due_at_once<H: Harness>(h: H) {
    let b = &*h.backend();
    let soon = (0..9_000).map(|_| NewJob { start: Start::In(ms(5)), ..job() });
    insert_all(b, soon.collect()).await;
    h.advance(ms(10)).await;
    let step = b.maintain(1_000).await.unwrap();
    assert!(step.promoted <= 1_000 && step.more);
    assert_eq!(step.promoted + maintain_by(b, 10_000).await.promoted, 9_000);
    let stats = b.stats(&Default::default()).await.unwrap();
    assert_eq!(stats.in_state(State::Available), 9_000);
    assert_eq!(claim(b, worker(b).await, 10_000).await.len(), 9_000);
}

/// F8: a crowd of jobs that can only be discarded is not in the way of those that can run again.
pub async fn f08_thousands_may_be_lost_at_once<H: Harness>(h: H) {
    let b = &*h.backend();
    let lost = worker(b).await;
    let mut new: Vec<_> = (0..2_000).map(|_| NewJob { max_attempts: 1, ..job() }).collect();
    new.extend(jobs(500));
    insert_all(b, new).await;
    assert_eq!(claim(b, lost, 10_000).await.len(), 2_500);
    b.deregister(lost).await.unwrap();
    assert_eq!(maintain_by(b, 300).await.rescued.len(), 2_500);
    let stats = b.stats(&Default::default()).await.unwrap();
    assert_eq!(stats.in_state(State::Discarded), 2_000);
    assert_eq!(claim(b, worker(b).await, 10_000).await.len(), 500);
}

/// F9, F31: ten thousand jobs that nobody here can run are not in the way.
pub async fn f31_thousands_of_unknown_kinds_hide_nothing<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let unknown =
        (0..5_000).map(|n| NewJob { priority: Priority::HIGH, ..job_of(Q, ["x", "y"][n % 2]) });
    insert_all(b, unknown.collect()).await;
    let known = insert_all(b, jobs(20)).await;
    for id in known {
        assert_eq!(claim_one(b, w).await.key.job, id);
    }
    assert!(claim(b, w, 9).await.is_empty());
}

pub async fn thousands_are_changed_in_pages<H: Harness>(h: H) {
    let b = &*h.backend();
    for _ in 0..2 {
        insert_all(b, jobs(6_000)).await;
    }
    let target = Selector::Filter(crate::JobFilter::default());
    assert_eq!(change(b, target, CANCEL).await, 12_000);
    let stats = b.stats(&Default::default()).await.unwrap();
    assert_eq!(stats.in_state(State::Cancelled), 12_000);
}

pub async fn thousands_of_unique_jobs_meet_their_duplicates<H: Harness>(h: H) {
    let b = &*h.backend();
    let new: Vec<_> = (0..3_000).map(|n| unique_job(&format!("key {n}"))).collect();
    let inserted = insert_all(b, new).await;
    let again: Vec<_> = (0..3_500).map(|n| unique_job(&format!("key {n}"))).collect();
    let answers = b.insert(&again).await.unwrap();
    for (n, answer) in answers.iter().enumerate() {
        match inserted.get(n) {
            Some(&existing) => assert_eq!(*answer, crate::Inserted::Duplicate { existing }),
            None => assert!(answer.is_new()),
        }
    }
    assert_eq!(count(b).await, 3_500);
}
