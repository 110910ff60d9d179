//! `Queue::wait`: a hint that may be lost or spurious, so each case acts again until one comes through.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::Harness;
use super::support::*;
use crate::{
    AttemptOutcome, Backend, ClaimRequest, JobId, Lease, NewJob, Queue, QueueChange, QueueName,
    Start, Store, Wake, WorkerId,
};

/// How long a hint may take until it counts as lost.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a case acts: so many hints are not lost in a row.
const TRIES: usize = 6;
/// A second queue that is waited for.
const OTHER: &str = "other";

/// Who waits, and has heard all that was done before.
struct Waiter<B> {
    backend: Arc<B>,
    worker: WorkerId,
    /// Another process, whose word comes on the way by which hints come.
    other: Option<Arc<B>>,
}

impl<B: Backend> Waiter<B> {
    async fn new<H: Harness<Backend = B>>(h: &H) -> Self {
        let backend = h.backend();
        let worker = worker(&*backend).await;
        Self { backend, worker, other: h.second().await }
    }

    /// Claims whatever is in some queues, so that a claim has seen them empty.
    async fn claim(&self, queues: &[&str]) -> usize {
        let queues: Vec<_> = queues.iter().map(|&queue| (queue, 99)).collect();
        let request = ClaimRequest::new(self.worker, slots(&queues), kinds(&[(K, None)]));
        claim_with(&*self.backend, &request).await.len()
    }

    /// Jobs that it runs, one for each try.
    async fn runs(&self) -> std::vec::IntoIter<Lease> {
        insert_all(&*self.backend, jobs(TRIES)).await;
        claim(&*self.backend, self.worker, 99).await.into_iter()
    }

    /// Hears another process of a queue that nobody else speaks of. A backend that hears of none goes on without.
    async fn hear(&self) {
        let Some(other) = &self.other else { return };
        let name = format!("probe-{}", JobId::new());
        for _ in 0..TRIES {
            self.claim(&[&name]).await;
            let queues = [queue(&name)];
            let waiting = self.backend.wait(&queues, PATIENCE);
            let (wake, _) = tokio::join!(biased; waiting, insert(&**other, job_of(&name, K)));
            if wake.unwrap() == Wake::Hint {
                return;
            }
        }
    }

    /// Uses up the hints of what was done so far, so that the next one is the news of what is to come. Nothing may be claimable.
    async fn quiet(&self) {
        // A connection that begins to listen is a hint itself; after that, what is heard comes in the order in which it was said.
        for _ in 0..2 {
            self.hear().await;
        }
        loop {
            assert_eq!(self.claim(&[Q, OTHER]).await, 0, "nothing is claimable");
            if self.backend.wait(&queues(), ms(20)).await.unwrap() == Wake::Timeout {
                return;
            }
        }
    }

    /// Waits for both queues, several times at once, while `act` is done; fails when no hint comes.
    async fn wakes_all<F: Future>(&self, waits: usize, mut act: impl FnMut() -> F) {
        self.quiet().await;
        let queues = queues();
        for _ in 0..TRIES {
            let waiting = join_all((0..waits).map(|_| self.backend.wait(&queues, PATIENCE)));
            // They wait before it is done.
            let (woken, _) = tokio::join!(biased; waiting, act());
            if woken.into_iter().all(|wake| wake.unwrap() == Wake::Hint) {
                return;
            }
        }
        panic!("no hint came, though it was done {TRIES} times");
    }

    async fn wakes<F: Future>(&self, act: impl FnMut() -> F) {
        self.wakes_all(1, act).await;
    }
}

fn queues() -> [QueueName; 2] {
    [queue(Q), queue(OTHER)]
}

pub async fn a_wait_ends_with_its_time<H: Harness>(h: H) {
    let b = &*h.backend();
    b.wait(&[queue(Q)], ms(30)).await.unwrap();
    b.wait(&[], ms(10)).await.unwrap();
    b.wait(&[queue(Q)], Duration::ZERO).await.unwrap();
}

pub async fn an_insert_wakes<H: Harness>(h: H) {
    let b = h.backend();
    let waiter = Waiter::new(&h).await;
    waiter.wakes(|| insert(&*b, job())).await;
}

pub async fn an_insert_through_another_handle_wakes<H: Harness>(h: H) {
    let second = second(&h).await;
    let waiter = Waiter::new(&h).await;
    waiter.wakes(|| insert(&*second, job())).await;
}

pub async fn a_promotion_wakes<H: Harness>(h: H) {
    let b = h.backend();
    let waiter = Waiter::new(&h).await;
    let step = ms(20);
    let later = (1..).take(TRIES).map(|n| NewJob { start: Start::In(step * n), ..job() });
    insert_all(&*b, later.collect()).await;
    waiter
        .wakes(async || {
            h.advance(step).await;
            maintain(&*b).await;
        })
        .await;
}

/// Its worker hears of it before its next heartbeat is due.
pub async fn cancelling_a_running_job_wakes<H: Harness>(h: H) {
    let b = h.backend();
    let waiter = Waiter::new(&h).await;
    let mut running = waiter.runs().await;
    waiter
        .wakes(|| {
            let (b, lease) = (b.clone(), running.next().unwrap());
            async move { assert!(cancel(&*b, lease.key.job).await) }
        })
        .await;
}

pub async fn a_release_wakes<H: Harness>(h: H) {
    let b = h.backend();
    let waiter = Waiter::new(&h).await;
    let mut running = waiter.runs().await;
    waiter
        .wakes(|| {
            let (b, lease) = (b.clone(), running.next().unwrap());
            async move { settled(&*b, lease.key, AttemptOutcome::Released).await }
        })
        .await;
}

pub async fn a_rescue_wakes<H: Harness>(h: H) {
    let b = h.backend();
    let waiter = Waiter::new(&h).await;
    let mut lost = Vec::new();
    for _ in 0..TRIES {
        let w = worker(&*b).await;
        run_new(&*b, w, job()).await;
        lost.push(w);
    }
    waiter
        .wakes(|| {
            let (b, w) = (b.clone(), lost.pop().unwrap());
            async move { assert_eq!(lose(&*b, w).await.rescued.len(), 1) }
        })
        .await;
}

pub async fn a_resumed_queue_wakes<H: Harness>(h: H) {
    let b = h.backend();
    let waiter = Waiter::new(&h).await;
    let pause = async |paused| {
        let change = QueueChange::default().paused(paused);
        b.configure_queue(&queue(Q), &change).await.unwrap();
    };
    pause(true).await;
    insert(&*b, job()).await;
    let mut paused = true;
    waiter
        .wakes(|| {
            paused = !paused;
            pause(paused)
        })
        .await;
}

pub async fn changed_settings_wake<H: Harness>(h: H) {
    let b = h.backend();
    let waiter = Waiter::new(&h).await;
    let mut n = 0;
    waiter
        .wakes(|| {
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
    let waiter = Waiter::new(&h).await;
    waiter.wakes_all(5, || insert(&*b, job())).await;
}

/// A backend to which hints come says so, and gives each of them then. One to which they don't never says so, and is polled.
pub async fn who_hears_misses_nothing_from_elsewhere<H: Harness>(h: H) {
    let second = second(&h).await;
    let waiter = Waiter::new(&h).await;
    waiter.quiet().await;
    assert_eq!(waiter.backend.hears(), H::hears(), "whether hints can be relied on");
    if !H::hears() {
        return;
    }
    for _ in 0..TRIES {
        let queues = queues();
        let waiting = waiter.backend.wait(&queues, PATIENCE);
        let (wake, _) = tokio::join!(biased; waiting, insert(&*second, job()));
        assert_eq!(wake.unwrap(), Wake::Hint);
        assert_eq!(waiter.claim(&[Q, OTHER]).await, 1);
    }
}

pub async fn a_dropped_wait_leaves_nothing_behind<H: Harness>(h: H) {
    let b = h.backend();
    let waiter = Waiter::new(&h).await;
    for _ in 0..50 {
        // A spurious hint may end it first.
        tokio::time::timeout(ms(1), b.wait(&queues(), HOUR)).await.ok();
    }
    waiter.wakes(|| insert(&*b, job())).await;
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
