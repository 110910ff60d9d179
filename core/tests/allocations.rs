//! How many allocations the hot path makes per job. Times depend on the machine; these counts do not.
//!
//! The bounds stand a little above what was counted when they were set. A change that raises a count on purpose raises its bound.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod worker_support;

use std::future::Future;
use std::time::Duration;

use allocation_counter::measure;
use tokio::runtime::Runtime;
use windlass_core::*;
use worker_support::*;

const JOBS: u64 = 1_000;

/// Everything on one thread, which is the one that is measured.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

/// Allocations per job of work that is done for so many.
fn per_job(runtime: &Runtime, jobs: u64, work: impl Future<Output = ()>) -> f64 {
    let mut work = Some(work);
    let counted = measure(|| runtime.block_on(work.take().unwrap()));
    counted.count_total as f64 / jobs as f64
}

#[track_caller]
fn at_most(bound: f64, counted: f64) {
    assert!(counted <= bound, "{counted:.2} allocations per job, more than {bound}");
    assert!(counted > bound / 2.0, "{counted:.2} allocations per job: lower the bound of {bound}");
}

#[test]
fn enqueue() {
    let runtime = runtime();
    let (_, client) = paused();
    let singly = || async {
        for n in 0..JOBS {
            client.enqueue(Alpha(n)).await.unwrap();
        }
    };
    per_job(&runtime, JOBS, singly());
    at_most(14.5, per_job(&runtime, JOBS, singly()));
    let together = async {
        client.enqueue_many((0..JOBS).map(Alpha)).await.unwrap();
    };
    at_most(7.0, per_job(&runtime, JOBS, together));
}

#[test]
fn claim_and_settle() {
    let runtime = runtime();
    let (memory, client) = paused();
    let (queue, kind) = (queue(Alpha::QUEUE), Kind::new(Alpha::KIND).unwrap());
    let worker = runtime.block_on(async {
        client.enqueue_many((0..3 * JOBS).map(Alpha)).await.unwrap();
        let info = WorkerInfo::new("test", Duration::from_secs(60), vec![queue.clone()]);
        memory.register(&info).await.unwrap().worker
    });
    let claim = || async {
        let slots = QueueSlots { queue: queue.clone(), limit: u32::try_from(JOBS).unwrap() };
        let kinds = vec![KindSlots { kind: kind.clone(), limit: None }];
        memory.claim(&ClaimRequest::new(worker, vec![slots], kinds)).await.unwrap().leases
    };
    let settlements = |leases: &[Lease]| -> Vec<Settlement> {
        let outcome = || AttemptOutcome::Completed { result: None, blobs: Vec::new() };
        leases.iter().map(|lease| Settlement::new(lease.key, outcome())).collect()
    };
    // What grows once has grown.
    let first = runtime.block_on(claim());
    runtime.block_on(memory.settle(&settlements(&first))).unwrap();

    let mut leases = Vec::new();
    at_most(1.3, per_job(&runtime, JOBS, async { leases = claim().await }));
    let settlements = settlements(&leases);
    let settled = async {
        memory.settle(&settlements).await.unwrap();
    };
    at_most(1.3, per_job(&runtime, JOBS, settled));
}

/// From the claim to the settled outcome, with the handler between.
#[test]
fn a_job_through_the_worker() {
    async fn work(job: Alpha, _: Context) -> Outcome<u64> {
        Ok(job.0)
    }
    let runtime = runtime();
    let (memory, client) = paused();
    let run = |jobs: u64| {
        let (memory, client) = (memory.clone(), client.clone());
        async move {
            let worker = simulated(&client).register(work).queue("main", 100).start().unwrap();
            until("all are completed", || async {
                let stats = memory.stats(&StatsQuery::default()).await.unwrap();
                stats.in_state(State::Available) + stats.in_state(State::Running) == 0
                    && worker.stats().completed == jobs
            })
            .await;
            worker.stop().await.unwrap();
        }
    };
    let mut counted = Vec::new();
    for jobs in [JOBS, JOBS, 3 * JOBS] {
        runtime.block_on(async { client.enqueue_many((0..jobs).map(Alpha)).await.unwrap() });
        counted.push(per_job(&runtime, 1, run(jobs)));
    }
    // The start and the stop of a worker cost the same, however many jobs it runs.
    at_most(11.5, (counted[2] - counted[1]) / (2 * JOBS) as f64);
}
