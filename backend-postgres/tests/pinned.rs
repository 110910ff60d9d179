//! A snapshot that somebody holds open keeps every dead row: vacuum can't remove it, and whoever walks an index from its head meets it again. What calls
//! read, counted in blocks by the server, is the same after many jobs as at the start.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::blocks::{Counted, server};
use common::{HOUR, completed};
use windlass_core::{
    ClaimRequest, Kind, KindSlots, Lease, NewJob, Payload, Queue, QueueName, QueueSlots, Store,
    WorkerId, WorkerInfo,
};

/// Jobs that go through while the snapshot is held.
const JOBS: u32 = 20_000;
/// Jobs inserted, claimed and settled at a time.
const BATCH: u32 = 500;
/// Calls of which the one that reads the least counts: some are sweeps, which are dear and seldom.
const CALLS: u32 = 10;
/// How much more a call may read at the end.
const SLACK: i64 = 100;

fn queues(n: usize) -> Vec<QueueName> {
    (0..n).map(|n| QueueName::new(format!("queue-{n}")).unwrap()).collect()
}

fn kinds(n: usize) -> Vec<Kind> {
    (0..n).map(|n| Kind::new(format!("kind-{n}")).unwrap()).collect()
}

/// A worker on some queues, with some kinds.
struct Working {
    counted: Counted,
    worker: WorkerId,
    queues: Vec<QueueName>,
    kinds: Vec<Kind>,
}

impl Working {
    async fn new(queues: Vec<QueueName>, kinds: Vec<Kind>) -> (Self, impl Sized) {
        let server = server().await;
        let counted = Counted::open(&server).await;
        let info = WorkerInfo::new("test", HOUR, queues.clone());
        let worker = counted.backend.register(&info).await.unwrap().worker;
        let pin = counted.pin().await;
        (Self { counted, worker, queues, kinds }, (server, pin))
    }

    /// Jobs of all kinds by turns.
    async fn insert(&self, queue: &QueueName, count: u32) {
        let kinds = self.kinds.iter().cycle();
        let jobs = kinds
            .map(|kind| NewJob::new(kind.clone(), queue.clone(), Payload::json(&1).unwrap()))
            .take(count as usize);
        self.counted.backend.insert(&jobs.collect::<Vec<_>>()).await.unwrap();
    }

    fn request(&self, limit: u32) -> ClaimRequest {
        let slots = |queue: &QueueName| QueueSlots { queue: queue.clone(), limit };
        let kinds = self.kinds.iter().map(|kind| KindSlots { kind: kind.clone(), limit: None });
        ClaimRequest::new(self.worker, self.queues.iter().map(slots).collect(), kinds.collect())
    }

    async fn settle(&self, leases: &[Lease]) {
        let settlements: Vec<_> = leases.iter().map(completed).collect();
        self.counted.backend.settle(&settlements).await.unwrap();
    }

    /// Inserts, claims and settles jobs in each queue.
    async fn work(&self, jobs: u32) {
        let mut left = jobs;
        while left > 0 {
            for queue in &self.queues {
                self.insert(queue, BATCH).await;
                left = left.saturating_sub(BATCH);
            }
            let leases = self.counted.backend.claim(&self.request(BATCH)).await.unwrap().leases;
            self.settle(&leases).await;
        }
    }

    /// The least that a claim reads, while there are jobs in the first queue alone.
    async fn least(&mut self) -> i64 {
        let mut costs = Vec::new();
        let first = self.queues[0].clone();
        for _ in 0..CALLS {
            self.insert(&first, 20).await;
            let request = self.request(20);
            let backend = self.counted.backend.clone();
            let (claimed, blocks) = self.counted.count(backend.claim(&request)).await;
            let leases = claimed.unwrap().leases;
            assert_eq!(leases.len(), 20);
            self.settle(&leases).await;
            costs.push(blocks.values().sum());
        }
        println!("{} queues, {} kinds: {costs:?}", self.queues.len(), self.kinds.len());
        costs.into_iter().min().unwrap()
    }
}

/// Claims at the start and at the end of many jobs under a held snapshot.
async fn claims_stay_the_same(queues: Vec<QueueName>, kinds: Vec<Kind>) {
    let (mut working, _held) = Working::new(queues, kinds).await;
    working.work(2 * BATCH).await;
    let before = working.least().await;
    working.work(JOBS).await;
    let after = working.least().await;
    println!("blocks read by a claim: at the start {before}, after {JOBS} jobs {after}");
    assert!(before > 0 && after <= before + SLACK, "{before} blocks, after {JOBS} jobs {after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn f32_a_claim_from_one_queue_reads_the_same_under_a_held_snapshot() {
    claims_stay_the_same(queues(1), kinds(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f32_a_claim_of_three_kinds_reads_the_same_under_a_held_snapshot() {
    claims_stay_the_same(queues(1), kinds(3)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f32_a_claim_from_three_queues_reads_the_same_under_a_held_snapshot() {
    claims_stay_the_same(queues(3), kinds(2)).await;
}
