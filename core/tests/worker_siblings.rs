//! Workers of one client whose siblings are held up: by calls that hang, by full queues, by their end. Paused time throughout.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod worker_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_core::*;
use worker_support::double::*;
use worker_support::*;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

fn alpha(client: &Client<Double>) -> Worker {
    simulated(client).register(|job: Alpha, _| async move { Ok(job.0) }).queue("main", 4)
}

/// How long one waits for an answer of the common call is its own affair: a sibling with a long lease, which sent it, may have time.
#[tokio::test(start_paused = true)]
async fn f3_a_common_heartbeat_that_hangs_costs_no_short_lease_among_long_ones() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = hearing().over(&memory);
    let endless = |_: Gamma, _: Context| std::future::pending::<Outcome<u64>>();
    let patient = simulated(&client).register(endless).queue("side", 1).options(|o| {
        (o.lease, o.heartbeat) = (180 * SECOND, 60 * SECOND);
    });
    let patient = patient.start().unwrap();
    let hasty = |o: &mut WorkerOptions| (o.lease, o.heartbeat) = (5 * SECOND, 2 * SECOND);
    let hasty = alpha(&client).options(hasty).start().unwrap();
    until("both have a lease", || async { patient.id().and(hasty.id()).is_some() }).await;
    let ids = (patient.id(), hasty.id());
    client.backend().part();
    for n in 0..200 {
        // While a job runs, hints have a heartbeat sent before its time.
        insert(&memory, Gamma(n)).await;
        sleep(SECOND * 11 / 10).await;
    }
    assert_eq!((patient.id(), hasty.id()), ids);
    assert!(client.backend().asked("heartbeats") > 10, "they are sent together still");
}

/// One whose connection is dead holds the turn of all; the others don't wait for it.
#[tokio::test(start_paused = true)]
async fn a_poll_that_hangs_holds_up_no_sibling() {
    let memory = MemoryBackend::with_tokio_clock();
    let mut calls = MockCalls::new();
    let (m, dead, hung) = (memory.clone(), Arc::new(AtomicBool::new(false)), Arc::default());
    let (down, count): (_, Arc<AtomicU64>) = (dead.clone(), Arc::clone(&hung));
    calls.expect_claim().returning(move |request| {
        if request.lane == Lane::Normal && down.swap(false, Ordering::SeqCst) {
            count.fetch_add(1, Ordering::SeqCst);
            return Err(hangs());
        }
        now(m.claim(request))
    });
    let client = calls.over(&memory);
    let _workers: Vec<_> = (0..5).map(|_| alpha(&client).start().unwrap()).collect();
    for round in 1..=10 {
        sleep(100 * SECOND).await;
        dead.store(true, Ordering::SeqCst);
        until("a poll hangs", || async { hung.load(Ordering::SeqCst) == round }).await;
        let begin = Instant::now();
        let id = insert(&memory, Alpha(round)).await;
        reaches(&memory, id, State::Completed).await;
        assert!(begin.elapsed() <= 3 * SECOND, "{:?}", begin.elapsed());
    }
}

/// The same for maintenance.
#[tokio::test(start_paused = true)]
async fn maintenance_that_hangs_holds_up_no_sibling() {
    let memory = MemoryBackend::with_tokio_clock();
    let mut calls = hearing();
    let (m, dead) = (memory.clone(), Arc::new(AtomicBool::new(false)));
    let down = dead.clone();
    calls.expect_maintain().returning(move |limit| {
        if down.swap(false, Ordering::SeqCst) { Err(hangs()) } else { now(m.maintain(limit)) }
    });
    let client = calls.over(&memory);
    let _workers: Vec<_> = (0..3).map(|_| alpha(&client).start().unwrap()).collect();
    for n in 1..=5 {
        sleep(100 * SECOND).await;
        dead.store(true, Ordering::SeqCst);
        let mut job = new(&Alpha(n));
        job.start = Start::In(3 * SECOND);
        let begin = Instant::now();
        // By another process: nobody here knows when it is due.
        let id = job.id;
        now(memory.insert(&[job])).unwrap();
        reaches(&memory, id, State::Completed).await;
        assert!(begin.elapsed() <= 6 * SECOND, "{:?}", begin.elapsed());
        assert!(!dead.load(Ordering::SeqCst), "a round hung");
    }
}

/// A claim that failed may have been for a hint that comes only once.
#[tokio::test(start_paused = true)]
async fn after_a_failed_claim_a_worker_looks_soon_again() {
    let memory = MemoryBackend::with_tokio_clock();
    let mut calls = hearing();
    let (m, refused) = (memory.clone(), Arc::new(AtomicBool::new(false)));
    let refuses = refused.clone();
    calls.expect_claim().returning(move |request| {
        if refuses.load(Ordering::SeqCst) {
            return Err(Error::Config("no right to claim".into()));
        }
        now(m.claim(request))
    });
    let client = calls.over(&memory);
    // Those look for other jobs as well.
    let rarely = |o: &mut WorkerOptions| o.quarantine = HOUR;
    let _workers: Vec<_> =
        (0..3).map(|_| alpha(&client).options(rarely).start().unwrap()).collect();
    for n in 1..=5 {
        sleep(200 * SECOND).await;
        refused.store(true, Ordering::SeqCst);
        let id = insert(&memory, Alpha(n)).await;
        sleep(60 * SECOND).await;
        refused.store(false, Ordering::SeqCst);
        let begin = Instant::now();
        reaches(&memory, id, State::Completed).await;
        assert!(begin.elapsed() <= 8 * SECOND, "{:?}", begin.elapsed());
    }
}

/// A look into the quarantine lane is for all that look for the same: who can't look into each queue leaves it to one who can.
#[tokio::test(start_paused = true)]
async fn a_worker_that_is_full_in_a_queue_takes_no_look_at_crashed_jobs_from_its_siblings() {
    let memory = MemoryBackend::with_tokio_clock();
    let mut calls = MockCalls::new();
    calls.expect_hears().returning(|| true);
    calls.expect_wait().returning(|_, _| Err(quiet()));
    let client = calls.over(&memory);
    let handler = |job: Alpha, _: Context| async move {
        if job.0 == 0 {
            std::future::pending::<()>().await;
        }
        Ok(job.0)
    };
    let start = || simulated(&client).register(handler).queue("main", 1).queue("side", 1).start();
    let full: Vec<_> = (0..5).map(|_| start().unwrap()).collect();
    for _ in 0..5 {
        insert(&memory, Alpha(0)).await;
    }
    let running = || full.iter().filter(|worker| worker.stats().running == 1).count();
    until("five are full in one queue", || async { running() == 5 }).await;
    let _free = start().unwrap();
    for n in 1..=10 {
        sleep(100 * SECOND).await;
        let id = crashed(&memory, n);
        let begin = Instant::now();
        reaches(&memory, id, State::Completed).await;
        assert!(begin.elapsed() <= 31 * SECOND, "{:?}", begin.elapsed());
    }
}

/// A job that has crashed so many workers that it is quarantined; nobody comes in between.
fn crashed(memory: &MemoryBackend, n: u64) -> JobId {
    let mut job = new(&Alpha(n));
    job.max_attempts = 10;
    let id = job.id;
    now(memory.insert(&[job])).unwrap();
    for _ in 0..machine::QUARANTINE_CRASHES {
        let info = WorkerInfo::new("doomed", 60 * SECOND, vec![queue("main")]);
        now(memory.register(&info)).unwrap();
        let queues = vec![QueueSlots { queue: queue("main"), limit: 1 }];
        let kinds = vec![KindSlots { kind: Kind::new("alpha").unwrap(), limit: None }];
        let claimed = now(memory.claim(&ClaimRequest::new(info.id, queues, kinds))).unwrap();
        assert_eq!(claimed.leases[0].key.job, id);
        now(memory.deregister(info.id)).unwrap();
        now(memory.maintain(100)).unwrap();
    }
    id
}

/// `Duration::MAX` stands for never.
#[tokio::test(start_paused = true)]
async fn times_without_end_are_no_error() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = hearing().over(&memory);
    let endless = |o: &mut WorkerOptions| {
        let ever = Duration::MAX;
        (o.poll_max, o.idle_poll, o.quarantine, o.prune) = (ever, ever, ever, ever);
        (o.call_timeout, o.maintenance, o.drain, o.lease) = (ever, ever, ever, ever);
    };
    let worker = alpha(&client).options(endless).start().unwrap();
    for n in 1..=3 {
        let id = insert(&memory, Alpha(n)).await;
        reaches(&memory, id, State::Completed).await;
        sleep(HOUR).await;
    }
    worker.stop().await.unwrap();
}

/// A worker that ends while its heartbeat is on its way with those of its siblings takes none of them along.
#[tokio::test(start_paused = true)]
async fn workers_that_end_leave_the_heartbeats_of_their_siblings_alone() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = hearing().over(&memory);
    let mut workers: Vec<_> = (0..6).map(|_| alpha(&client).start().unwrap()).collect();
    until("all have a lease", || async { workers.iter().all(|w| w.id().is_some()) }).await;
    let ids: Vec<_> = workers.iter().map(RunningWorker::id).collect();
    while workers.len() > 1 {
        sleep(10 * SECOND).await;
        workers.remove(0).stop().await.unwrap();
    }
    sleep(100 * SECOND).await;
    assert_eq!(workers[0].id(), ids[5]);
}
