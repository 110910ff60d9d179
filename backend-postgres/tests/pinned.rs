//! A snapshot that somebody holds open keeps every dead row: vacuum can't remove it, and whoever walks an index from its head meets it again. What calls
//! read, counted in blocks by the server, is the same after many jobs as at the start.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::blocks::{Counted, server, until_due};
use common::{HOUR, completed};
use sqlx::{Connection as _, PgConnection};
use windlass_core::{
    ClaimRequest, Heartbeat, Kind, KindSlots, Lease, LeaseKey, NewJob, Payload, Queue, QueueName,
    QueueSlots, Retention, Start, Store, Transactional, Wake, WorkerId, WorkerInfo,
};
use windlass_postgres::PostgresOptions;

/// Jobs that go through while the snapshot is held.
const JOBS: u32 = 20_000;
/// Jobs inserted, claimed and settled at a time.
const BATCH: u32 = 500;
/// Calls of which the one that reads the least counts: some are sweeps, which are dear and seldom.
const CALLS: u32 = 10;
/// Jobs that come late, one after the other.
const ROUNDS: u32 = 10;
/// A share of the time in which no look from the head is made any more, once it is known what one costs.
const NONE: u32 = u32::MAX;
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
    /// `share` is that of looks from the head, of which none is cheap, however fast the machine.
    async fn new(queues: Vec<QueueName>, kinds: Vec<Kind>, share: u32) -> (Self, impl Sized) {
        let server = server().await;
        let sweeps =
            |options: PostgresOptions| options.cheap_sweep(Duration::ZERO).sweep_share(share);
        let counted = Counted::open_with(&server, sweeps).await;
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
    let (mut working, _held) = Working::new(queues, kinds, NONE).await;
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

/// A job that is committed after later ones were claimed is found without waiting for the next poll, though nobody may look for it at any time.
async fn what_comes_late_is_found(queues: Vec<QueueName>) {
    let (mut working, _held) = Working::new(queues, kinds(1), 10).await;
    working.work(JOBS).await;
    let backend = working.counted.backend.clone();
    // The costs of looks from the head are known.
    working.least().await;
    let last = working.queues.last().unwrap().clone();
    for round in 0..ROUNDS {
        let mut host = PgConnection::connect(&working.counted.url).await.unwrap();
        let mut transaction = host.begin().await.unwrap();
        let late = NewJob::new(kinds(1)[0].clone(), last.clone(), Payload::json(&1).unwrap());
        backend.insert_in(&mut transaction, std::slice::from_ref(&late)).await.unwrap();
        working.insert(&last, 1).await;
        let mut found = false;
        let mut claim = async || {
            let leases = backend.claim(&working.request(20)).await.unwrap().leases;
            found |= leases.iter().any(|lease| lease.key.job == late.id);
            working.settle(&leases).await;
            (found, leases.len())
        };
        while claim().await.1 == 0 {}
        transaction.commit().await.unwrap();
        while !claim().await.0 {
            let wake = backend.wait(&working.queues, HOUR / 60).await.unwrap();
            assert_eq!(wake, Wake::Hint, "round {round}: it waits for a poll");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f32_what_comes_late_to_one_queue_waits_for_no_poll() {
    what_comes_late_is_found(queues(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f32_what_comes_late_to_the_last_of_three_queues_waits_for_no_poll() {
    what_comes_late_is_found(queues(3)).await;
}

/// Rows that went through everything long ago: they waited for their time, became available, ran under a worker and past their deadline, and were
/// finished; keys that were held for a while; numbers that were folded.
const DEAD: [&str; 7] = [
    "INSERT INTO windlass.jobs (id, state, priority, queue, kind, due_at, max_attempts, created_at, encoding, args, trail)
    SELECT gen_random_uuid(), 1, 0, 'queue-0', 'kind-0', windlass.now() - 60000000 + n, 20, 0, 1, '\\x7b7d', '[2,0,-1,1,0,0]'
    FROM generate_series(1, $2) AS n WHERE $1::uuid IS NOT NULL",
    "UPDATE windlass.jobs SET state = 2, rank = nextval('windlass.turn') WHERE state = 1 AND $1::uuid IS NOT NULL AND $2 > 0",
    "UPDATE windlass.jobs SET state = 3, worker = $1, claim_id = gen_random_uuid(), started_at = windlass.now() - 50000000,
        deadline_at = windlass.now() - 40000000 WHERE state = 2 AND $2 > 0",
    "WITH gone AS (DELETE FROM windlass.jobs WHERE deadline_at IS NOT NULL AND $1::uuid IS NOT NULL AND $2 > 0 RETURNING *)
    INSERT INTO windlass.finished (id, state, priority, queue, kind, due_at, epoch, attempt, max_attempts, snoozes, crashes, finished_at,
        created_at, notes, changes, encoding, args, trail)
    SELECT id, 5, 0, queue, kind, due_at, 1, 1, 20, 0, 0, windlass.now() - 172800000000 + row_number() OVER (), 0, 0, 3, 1, args, trail
    FROM gone",
    "INSERT INTO windlass.unique_keys SELECT 'key-' || n, $1, 2, windlass.now() - 1000000 + n FROM generate_series(1, $2) AS n",
    "DELETE FROM windlass.unique_keys WHERE job = $1 AND $2 > 0",
    "INSERT INTO windlass.events (seq, at, body) SELECT nextval('windlass.feed'), windlass.now() - 172800000000 + n, ''
    FROM generate_series(1, $2) AS n WHERE $1::uuid IS NOT NULL",
];
const ROWS: i64 = 100_000;

/// What one of several calls reads, the one that reads the least: the first few are made to learn what they cost.
async fn least<T>(counted: &mut Counted, what: &str, call: impl AsyncFn() -> T) -> i64 {
    let (mut costs, mut dearest) = (Vec::new(), None);
    for _ in 0..CALLS {
        let (_, blocks) = counted.count(call()).await;
        costs.push(blocks.values().sum::<i64>());
        dearest = blocks.into_iter().max_by_key(|(_, blocks)| *blocks);
    }
    println!("{what}: {costs:?}, most by {dearest:?}");
    costs.into_iter().min().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn f32_heartbeats_and_upkeep_read_the_same_under_a_held_snapshot() {
    let (mut working, _held) = Working::new(queues(1), kinds(1), NONE).await;
    let (backend, w) = (working.counted.backend.clone(), working.worker);
    let url = working.counted.url.clone();
    working.insert(&queues(1)[0], 20).await;
    let keys: Vec<LeaseKey> =
        backend.claim(&working.request(20)).await.unwrap().leases.iter().map(|l| l.key).collect();
    let later = || {
        let mut job =
            NewJob::new(kinds(1)[0].clone(), queues(1)[0].clone(), Payload::json(&1).unwrap());
        job.start = Start::In(Duration::from_millis(1));
        job
    };
    let mut old = Retention::default();
    (old.completed, old.events) =
        (Some(Duration::from_secs(86_400)), Some(Duration::from_secs(86_400)));
    let mut costs = Vec::new();
    for rows in [0, ROWS] {
        if rows > 0 {
            for sql in DEAD {
                let query = sqlx::query(sql).bind(*w.as_uuid()).bind(rows);
                query.execute(&mut working.counted.admin).await.unwrap();
            }
            // The newest batch stays, and nothing later goes.
            working.insert(&queues(1)[0], 1).await;
            while backend.prune(&old, 10_000).await.unwrap().more {}
        }
        let counted = &mut working.counted;
        let heartbeat = least(counted, "heartbeat", async || {
            let nothing = (Vec::new(), Vec::new(), Vec::new());
            let (lost, cancel, orphaned) = nothing;
            assert_eq!(
                backend.heartbeat(w, &keys).await.unwrap(),
                Heartbeat::Alive { lost, cancel, orphaned }
            );
        });
        let heartbeat = heartbeat.await;
        let idle = least(counted, "maintain", async || backend.maintain(100).await.unwrap()).await;
        let promote = least(counted, "promote", async || {
            backend.insert(&[later()]).await.unwrap();
            until_due(&url).await;
            assert_eq!(backend.maintain(100).await.unwrap().promoted, 1);
        });
        let promote = promote.await;
        let prune = least(counted, "prune", async || backend.prune(&old, 100).await.unwrap()).await;
        costs.push([heartbeat, idle, promote, prune]);
    }
    println!("blocks read by heartbeat, maintain, promote, prune: {costs:?}");
    // A job that the worker has forgotten, and jobs of a claim whose reply was lost, are told of at once all the same.
    working.insert(&queues(1)[0], 5).await;
    let lost = backend.claim(&working.request(5)).await.unwrap().leases;
    let mut unknown: Vec<_> = lost.iter().map(|lease| lease.key).chain([keys[0]]).collect();
    unknown.sort_unstable();
    for _ in 0..2 {
        let call = backend.heartbeat(w, &keys[1..]);
        let (beat, blocks) = working.counted.count(call).await;
        let Heartbeat::Alive { lost, orphaned, .. } = beat.unwrap() else { panic!("it lasts") };
        assert_eq!((lost, orphaned), (Vec::new(), unknown.clone()));
        println!("blocks read by a heartbeat that finds orphans: {}", blocks.values().sum::<i64>());
    }
    for (before, after) in costs[0].iter().zip(costs[1]) {
        assert!(after <= before + SLACK, "{costs:?}");
    }
}
