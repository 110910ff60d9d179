//! `Queue::wait`: a hint that may be lost or spurious, so each case goes on acting until one comes through.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::Harness;
use super::support::*;
use crate::{AttemptOutcome, Backend, NewJob, Queue, QueueChange, Start, Store, Wake, WorkerId};

/// Waits for queue `q` for an hour while `act` is repeated; fails by the time limit of cases when no hint comes.
async fn wakes<F: Future<Output = ()>>(waiting: Arc<dyn Backend>, mut act: impl FnMut() -> F) {
    let waiter = tokio::spawn(async move { waiting.wait(&[queue(Q)], HOUR).await.unwrap() });
    while !waiter.is_finished() {
        act().await;
        tokio::time::sleep(ms(20)).await;
    }
    assert_eq!(waiter.await.unwrap(), Wake::Hint);
}

/// Uses up the hints of what was done so far, so that the next one is the news of what is to come.
async fn quiet(b: &dyn Backend, w: WorkerId) {
    assert!(claim(b, w, 1).await.is_empty());
    while b.wait(&[queue(Q)], ms(20)).await.unwrap() == Wake::Hint {
        assert!(claim(b, w, 1).await.is_empty());
    }
}

pub async fn a_wait_ends_with_its_time<H: Harness>(h: H) {
    let b = &*h.backend();
    b.wait(&[queue(Q)], ms(30)).await.unwrap();
    b.wait(&[], ms(10)).await.unwrap();
    b.wait(&[queue(Q)], Duration::ZERO).await.unwrap();
}

pub async fn an_insert_wakes<H: Harness>(h: H) {
    let b = h.backend();
    wakes(b.clone(), || async {
        let _ = insert(&*b, job()).await;
    })
    .await;
}

pub async fn an_insert_through_another_handle_wakes<H: Harness>(h: H) {
    let second = second(&h).await;
    wakes(h.backend(), || async {
        let _ = insert(&*second, job()).await;
    })
    .await;
}

pub async fn a_promotion_wakes<H: Harness>(h: H) {
    let b = h.backend();
    wakes(b.clone(), || async {
        // Far enough ahead that the insert itself makes nothing claimable.
        insert(&*b, NewJob { start: Start::In(ms(5)), ..job() }).await;
        h.advance(ms(10)).await;
        maintain(&*b).await;
    })
    .await;
}

/// Its worker hears of it before its next heartbeat is due.
pub async fn cancelling_a_running_job_wakes<H: Harness>(h: H) {
    let b = h.backend();
    let w = worker(&*b).await;
    insert_all(&*b, jobs(200)).await;
    let mut running = claim(&*b, w, 200).await.into_iter();
    quiet(&*b, w).await;
    wakes(b.clone(), || {
        let (b, lease) = (b.clone(), running.next().expect("200 cancels wake nobody"));
        async move { assert!(cancel(&*b, lease.key.job).await) }
    })
    .await;
}

pub async fn a_release_wakes<H: Harness>(h: H) {
    let b = h.backend();
    let w = worker(&*b).await;
    insert(&*b, job()).await;
    wakes(b.clone(), || async {
        let lease = claim_one(&*b, w).await;
        settled(&*b, lease.key, AttemptOutcome::Released).await;
    })
    .await;
}

pub async fn a_rescue_wakes<H: Harness>(h: H) {
    let b = h.backend();
    wakes(b.clone(), || async {
        let lost = worker(&*b).await;
        insert(&*b, job()).await;
        claim(&*b, lost, 99).await;
        lose(&*b, lost).await;
    })
    .await;
}

pub async fn a_resumed_queue_wakes<H: Harness>(h: H) {
    let b = h.backend();
    let w = worker(&*b).await;
    b.configure_queue(&queue(Q), &QueueChange::default().paused(true)).await.unwrap();
    insert(&*b, job()).await;
    quiet(&*b, w).await;
    wakes(b.clone(), || async {
        for paused in [true, false] {
            let change = QueueChange::default().paused(paused);
            b.configure_queue(&queue(Q), &change).await.unwrap();
        }
    })
    .await;
}

pub async fn changed_settings_wake<H: Harness>(h: H) {
    let b = h.backend();
    let mut n = 0;
    wakes(b.clone(), || {
        n += 1;
        let change = QueueChange::default().concurrency(Some(n));
        let b = b.clone();
        async move {
            let settings = b.configure_queue(&queue(Q), &change).await.unwrap();
            assert_eq!(settings.concurrency, change.concurrency.flatten());
        }
    })
    .await;
}

pub async fn every_waiter_wakes<H: Harness>(h: H) {
    let b = h.backend();
    let waiters: Vec<_> = (0..5)
        .map(|_| {
            let b = b.clone();
            tokio::spawn(async move { b.wait(&[queue(Q), queue("other")], HOUR).await.unwrap() })
        })
        .collect();
    while !waiters.iter().all(tokio::task::JoinHandle::is_finished) {
        insert(&*b, job()).await;
        tokio::time::sleep(ms(20)).await;
    }
    for waiter in waiters {
        assert_eq!(waiter.await.unwrap(), Wake::Hint);
    }
}

pub async fn a_dropped_wait_leaves_nothing_behind<H: Harness>(h: H) {
    let b = h.backend();
    for _ in 0..50 {
        let queues = [queue(Q)];
        // A spurious hint may end it first.
        tokio::time::timeout(ms(1), b.wait(&queues, HOUR)).await.ok();
    }
    wakes(b.clone(), || async {
        let _ = insert(&*b, job()).await;
    })
    .await;
}

/// The waiters of the feed.
pub async fn an_event_wakes_a_watcher<H: Harness>(h: H) {
    let b = h.backend();
    insert(&*b, job()).await;
    let tail = b.tail().await.unwrap();
    let watcher = tokio::spawn({
        let b = b.clone();
        async move { b.watch(tail, HOUR).await }
    });
    while !watcher.is_finished() {
        insert(&*b, job()).await;
        tokio::time::sleep(ms(20)).await;
    }
    watcher.await.unwrap().unwrap();
    b.watch(None, ms(20)).await.unwrap();
    let tail = b.tail().await.unwrap();
    b.watch(tail, ms(20)).await.unwrap();
}
