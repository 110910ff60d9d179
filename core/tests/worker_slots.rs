//! How many jobs run at once, and which: limits per queue and kind, settings at run time, the quarantine lane.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod worker_support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use windlass_core::*;
use worker_support::*;

const SECOND: Duration = Duration::from_secs(1);

/// Handlers wait at a gate; the test sees how many stand there, and lets them pass.
#[derive(Clone)]
struct Gate {
    inside: Arc<AtomicU32>,
    most: Arc<AtomicU32>,
    open: Arc<Semaphore>,
}

impl Gate {
    fn new() -> Self {
        Self { inside: Arc::default(), most: Arc::default(), open: Arc::new(Semaphore::new(0)) }
    }

    async fn pass(&self) {
        let inside = self.inside.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(inside, Ordering::SeqCst);
        self.open.acquire().await.unwrap().forget();
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }

    fn inside(&self) -> u32 {
        self.inside.load(Ordering::SeqCst)
    }

    fn most(&self) -> u32 {
        self.most.load(Ordering::SeqCst)
    }

    fn let_in(&self, n: usize) {
        self.open.add_permits(n);
    }

    /// Waits until so many stand there, and then long enough for others to come, too.
    async fn settles_at(&self, n: u32) {
        until(&format!("{n} run"), || async { self.inside() == n }).await;
        sleep(30 * SECOND).await;
        assert_eq!(self.inside(), n);
    }
}

async fn all_completed(memory: &MemoryBackend, ids: &[JobId]) {
    for id in ids {
        reaches(memory, *id, State::Completed).await;
    }
}

async fn many<J: Job>(memory: &MemoryBackend, n: u64, make: fn(u64) -> J) -> Vec<JobId> {
    let mut ids = Vec::new();
    for i in 0..n {
        ids.push(insert(memory, make(i)).await);
    }
    ids
}

#[tokio::test(start_paused = true)]
async fn a_queue_runs_no_more_at_once_than_its_concurrency_and_no_fewer() {
    let (memory, client) = paused();
    let gate = Gate::new();
    let (a, b) = (gate.clone(), Gate::new());
    let side = b.clone();
    let ids = [many(&memory, 9, Alpha).await, many(&memory, 9, Gamma).await].concat();
    let _worker = simulated(&client)
        .register(move |_: Alpha, _| {
            let gate = a.clone();
            async move {
                gate.pass().await;
                Ok(0)
            }
        })
        .register(move |_: Gamma, _| {
            let gate = side.clone();
            async move {
                gate.pass().await;
                Ok(0)
            }
        })
        .queue("main", 3)
        .queue("side", 2)
        .start()
        .unwrap();
    gate.settles_at(3).await;
    b.settles_at(2).await;
    gate.let_in(1);
    gate.settles_at(3).await;
    gate.let_in(100);
    b.let_in(100);
    all_completed(&memory, &ids).await;
    assert_eq!((gate.most(), b.most()), (3, 2));
}

/// Jobs of a kind at its limit don't keep those of other kinds from the slots of their queue.
#[tokio::test(start_paused = true)]
async fn a_kind_runs_no_more_at_once_than_its_concurrency() {
    let (memory, client) = paused();
    let (alphas, betas) = (Gate::new(), Gate::new());
    let (a, b) = (alphas.clone(), betas.clone());
    let ids = [many(&memory, 6, Alpha).await, many(&memory, 6, Beta).await].concat();
    let _worker = simulated(&client)
        .register(move |_: Alpha, _| {
            let gate = a.clone();
            async move {
                gate.pass().await;
                Ok(0)
            }
        })
        .register(move |_: Beta, _| {
            let gate = b.clone();
            async move {
                gate.pass().await;
                Ok(0)
            }
        })
        .kind_concurrency::<Alpha>(2)
        .queue("main", 5)
        .start()
        .unwrap();
    alphas.settles_at(2).await;
    betas.settles_at(3).await;
    // A freed slot of the kind is taken again at once, and not at the next poll.
    let begin = Instant::now();
    for _ in 0..4 {
        alphas.let_in(1);
        until("the next one runs", || async { alphas.open.available_permits() == 0 }).await;
        until("two run again", || async { alphas.inside() == 2 }).await;
    }
    assert!(begin.elapsed() < SECOND, "{:?}", begin.elapsed());
    alphas.let_in(100);
    betas.let_in(100);
    all_completed(&memory, &ids).await;
    assert_eq!(alphas.most(), 2);
}

/// A freed slot of a kind at its limit is taken again at once, even when its queue has others.
#[tokio::test(start_paused = true)]
async fn a_freed_slot_of_a_kind_is_taken_again_without_waiting_for_a_poll() {
    let (memory, client) = paused();
    let gate = Gate::new();
    let pass = gate.clone();
    let ids = many(&memory, 6, Alpha).await;
    let _worker = simulated(&client)
        .options(|o| {
            o.poll_min = 3_600 * SECOND;
            o.poll_max = 3_600 * SECOND;
            o.quarantine = 3_600 * SECOND;
        })
        .register(move |_: Alpha, _| {
            let gate = pass.clone();
            async move {
                gate.pass().await;
                Ok(0)
            }
        })
        .register(|_: Beta, _| async { Ok(0) })
        .kind_concurrency::<Alpha>(2)
        .queue("main", 5)
        .start()
        .unwrap();
    gate.settles_at(2).await;
    let begin = Instant::now();
    gate.let_in(100);
    all_completed(&memory, &ids).await;
    assert!(begin.elapsed() < 10 * SECOND, "{:?}", begin.elapsed());
    assert_eq!(gate.most(), 2);
}

fn gated(client: &Client<MemoryBackend>, gate: &Gate, n: u32) -> Worker {
    let gate = gate.clone();
    simulated(client)
        .register(move |_: Alpha, _| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok(0)
            }
        })
        .queue("main", n)
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_resized_at_run_time() {
    let (memory, client) = paused();
    let gate = Gate::new();
    let ids = many(&memory, 20, Alpha).await;
    let worker = gated(&client, &gate, 2).start().unwrap();
    let size = |n| QueueChange::default().concurrency(n);
    gate.settles_at(2).await;
    // F12: what sits in its slot can be seen.
    let stats = worker.stats();
    assert!(stats.running == 2 && stats.oldest_running >= Some(30 * SECOND), "{stats:?}");
    memory.configure_queue(&queue("main"), &size(Some(5))).await.unwrap();
    gate.settles_at(5).await;
    memory.configure_queue(&queue("main"), &size(Some(1))).await.unwrap();
    sleep(30 * SECOND).await;
    gate.let_in(4);
    gate.settles_at(1).await;
    memory.configure_queue(&queue("main"), &size(None)).await.unwrap();
    gate.settles_at(2).await;
    gate.let_in(100);
    all_completed(&memory, &ids).await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_queue_gives_nothing_until_it_is_resumed() {
    let (memory, client) = paused();
    let gate = Gate::new();
    gate.let_in(100);
    memory.configure_queue(&queue("main"), &QueueChange::default().paused(true)).await.unwrap();
    let id = insert(&memory, Alpha(1)).await;
    let _worker = gated(&client, &gate, 2).start().unwrap();
    sleep(600 * SECOND).await;
    assert_eq!(get(&memory, id).await.state, State::Available);
    memory.configure_queue(&queue("main"), &QueueChange::default().paused(false)).await.unwrap();
    reaches(&memory, id, State::Completed).await;
}

/// F36: with a single slot, a job that leads to others still lets them run.
#[tokio::test(start_paused = true)]
async fn f36_a_chain_of_jobs_runs_with_a_single_slot() {
    let (memory, client) = paused();
    let _worker = simulated(&client)
        .register(|job: Alpha, cx: Context| async move {
            if job.0 > 0 {
                cx.client().backend().insert(&[new(&Alpha(job.0 - 1))]).await?;
            }
            Ok(job.0)
        })
        .queue("main", 1)
        .start()
        .unwrap();
    insert(&memory, Alpha(50)).await;
    until("all have run", || async {
        memory.stats(&StatsQuery::default()).await.unwrap().in_state(State::Completed) == 51
    })
    .await;
}

/// The lane is one per process, and these tests share theirs.
static LANE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Makes all waiting jobs crash twice.
async fn crash_twice(memory: &MemoryBackend) {
    for _ in 0..machine::QUARANTINE_CRASHES {
        let info = WorkerInfo::new("doomed", 60 * SECOND, vec![queue("main")]);
        memory.register(&info).await.unwrap();
        let queues = vec![QueueSlots { queue: queue("main"), limit: 100 }];
        let kinds = vec![KindSlots { kind: Kind::new("alpha").unwrap(), limit: None }];
        memory.claim(&ClaimRequest::new(info.id, queues, kinds)).await.unwrap();
        memory.deregister(info.id).await.unwrap();
        memory.maintain(100).await.unwrap();
    }
}

/// F10: jobs that crashed their workers run one at a time, whatever the slots.
#[tokio::test(start_paused = true)]
async fn f10_quarantined_jobs_run_one_at_a_time() {
    let _lane = LANE.lock().await;
    let (memory, client) = paused();
    let gate = Gate::new();
    let poison = many(&memory, 3, Alpha).await;
    crash_twice(&memory).await;
    assert_eq!(get(&memory, poison[0]).await.crashes, 2);
    let _worker = gated(&client, &gate, 4).start().unwrap();
    gate.settles_at(1).await;
    // Others are not held up by it.
    let healthy = many(&memory, 5, Alpha).await;
    gate.settles_at(4).await;
    gate.let_in(100);
    all_completed(&memory, &[poison, healthy].concat()).await;
}

/// A queue that is never idle still leaves room for the lane.
#[tokio::test(start_paused = true)]
async fn f10_a_busy_queue_does_not_starve_quarantined_jobs() {
    let _lane = LANE.lock().await;
    let (memory, client) = paused();
    let poison = many(&memory, 1, Alpha).await;
    crash_twice(&memory).await;
    let others = many(&memory, 100, Alpha).await;
    let _worker = simulated(&client)
        .register(|_: Alpha, _| async {
            sleep(SECOND).await;
            Ok(0)
        })
        .queue("main", 1)
        .start()
        .unwrap();
    all_completed(&memory, &poison).await;
    assert_eq!(get(&memory, others[50]).await.state, State::Available);
}

/// F10: a job that takes its worker down each time is discarded in the end.
#[tokio::test(start_paused = true)]
async fn f10_a_job_that_always_crashes_its_worker_is_discarded() {
    let _lane = LANE.lock().await;
    let (memory, client) = paused();
    let id = insert(&memory, Alpha(1)).await;
    let backend = memory.clone();
    let _worker = simulated(&client)
        .register(move |_: Alpha, _| {
            let backend = backend.clone();
            async move {
                // As good as a crash: the lease is gone.
                for worker in backend.workers().await.unwrap() {
                    backend.deregister(worker.id).await.unwrap();
                }
                std::future::pending().await
            }
        })
        .queue("main", 4)
        .start()
        .unwrap();
    let job = reaches(&memory, id, State::Discarded).await;
    assert_eq!((job.crashes, job.attempt), (machine::DISCARD_CRASHES, 3));
    assert!(job.errors.iter().all(|e| e.kind == FailureKind::Crash));
}
