//! Heartbeats, blocked threads and blocking handlers, in real time and on real threads.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod worker_support;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use tokio::time::sleep;
use windlass_core::*;
use worker_support::double::*;
use worker_support::*;

/// Another process, as far as this one's runtime is concerned: it rescues what is lost.
struct Rescuer {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Rescuer {
    fn start(memory: &MemoryBackend) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (memory, end) = (memory.clone(), stop.clone());
        let thread = std::thread::spawn(move || {
            let mut rescued = 0;
            while !end.load(Ordering::Relaxed) {
                rescued += now(memory.maintain(100)).unwrap().rescued.len() as u64;
                std::thread::sleep(Duration::from_millis(20));
            }
            rescued
        });
        Self { stop, thread: Some(thread) }
    }

    fn rescued(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap()
    }
}

/// F4: a handler that blocks the only thread of the runtime for several leases does not cost the worker its lease.
#[tokio::test]
async fn f4_a_blocked_runtime_keeps_its_lease() {
    let (memory, client) = real();
    let rescuer = Rescuer::start(&memory);
    let id = insert(&memory, Alpha(1)).await;
    let worker = Worker::new(&client)
        .options(fast)
        // Long enough that a machine that stands still for a moment does not end it.
        .options(|o| o.lease = Duration::from_secs(5))
        .register(|job: Alpha, _| async move {
            std::thread::sleep(Duration::from_secs(11));
            Ok(job.0)
        })
        .queue("main", 1)
        .start()
        .unwrap();
    let job = reaches(&memory, id, State::Completed).await;
    assert_eq!((job.attempt, job.crashes, rescuer.rescued()), (1, 0, 0));
    assert_eq!(worker.stats().lost, 0);
}

/// F5: a runtime that is dropped under its worker takes the heartbeat along; the lease runs out, and others rescue the job.
#[test]
fn f5_a_dropped_runtime_ends_the_heartbeat() {
    let (memory, client) = real();
    let doomed = tokio::runtime::Runtime::new().unwrap();
    let id = doomed.block_on(async {
        let id = insert(&memory, Alpha(1)).await;
        let worker = Worker::new(&client)
            .options(fast)
            // A machine that stands still for a moment must not end it before the runtime does.
            .options(|o| o.lease = Duration::from_secs(5))
            .register(|_: Alpha, _| std::future::pending::<Outcome<u64>>())
            .queue("main", 1)
            .start()
            .unwrap();
        reaches(&memory, id, State::Running).await;
        std::mem::forget(worker);
        id
    });
    doomed.shutdown_background();
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let _worker = Worker::new(&client)
            .options(fast)
            .options(|o| o.lease = Duration::from_secs(3_600))
            .register(|job: Alpha, _| async move { Ok(job.0) })
            .queue("main", 1)
            .start()
            .unwrap();
        let job = reaches(&memory, id, State::Completed).await;
        assert_eq!((job.attempt, job.crashes), (2, 1));
    });
}

/// F3: a full settle buffer does not hold up heartbeats.
#[tokio::test(start_paused = true)]
async fn f3_heartbeats_go_on_while_the_settle_buffer_is_full() {
    let memory = MemoryBackend::with_tokio_clock();
    let mut calls = MockCalls::new();
    let down = Arc::new(AtomicBool::new(true));
    let (m, off) = (memory.clone(), down.clone());
    calls.expect_settle().returning(move |all| {
        if off.load(Ordering::SeqCst) { Err(hangs()) } else { now(m.settle(all)) }
    });
    let client = calls.over(&memory);
    let runs = Arc::new(AtomicU32::new(0));
    let count = runs.clone();
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(insert(&memory, Alpha(n)).await);
    }
    let worker = simulated(&client)
        .options(|o| o.settle_buffer = 1)
        .register(move |job: Alpha, _| {
            count.fetch_add(1, Ordering::SeqCst);
            async move { Ok(job.0) }
        })
        .queue("main", 10)
        .start()
        .unwrap();
    sleep(Duration::from_secs(300)).await; // ten leases
    assert_eq!((runs.load(Ordering::SeqCst), worker.stats().completed), (10, 0));
    down.store(false, Ordering::SeqCst);
    for id in ids {
        let job = reaches(&memory, id, State::Completed).await;
        assert_eq!((job.attempt, job.crashes), (1, 0));
    }
    assert_eq!(runs.load(Ordering::SeqCst), 10);
}

/// A door between threads, with a bound for broken tests only.
#[derive(Clone, Default)]
struct Door(Arc<(Mutex<bool>, Condvar)>);

impl Door {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn wait(&self) {
        let guard = self.0.0.lock().unwrap();
        let bound = Duration::from_secs(60);
        let (open, _) = self.0.1.wait_timeout_while(guard, bound, |open| !*open).unwrap();
        assert!(*open, "the door never opened");
    }
}

/// F39: blocking handlers run on their own threads, no more than these at once, and hold up nobody else.
#[tokio::test]
async fn f39_blocking_handlers_have_their_own_bounded_pool() {
    let (memory, client) = real();
    let (door, inside, most) =
        (Door::default(), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let (wait, count, peak) = (door.clone(), inside.clone(), most.clone());
    let mut blocking = Vec::new();
    for n in 0..7 {
        blocking.push(insert(&memory, Alpha(n)).await);
    }
    let _worker = Worker::new(&client)
        .options(fast)
        .options(|o| o.blocking_threads = 3)
        .register_blocking(move |job: Alpha, _: Context| {
            peak.fetch_max(count.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            wait.wait();
            count.fetch_sub(1, Ordering::SeqCst);
            Ok(job.0)
        })
        .register(|job: Beta, _| async move { Ok(job.0) })
        .queue("main", 8)
        .start()
        .unwrap();
    until("three block", || async { inside.load(Ordering::SeqCst) == 3 }).await;
    // The pool is full; the runtime and the other slots of the queue are not.
    let quick = insert(&memory, Beta(1)).await;
    reaches(&memory, quick, State::Completed).await;
    let stats = memory.stats(&StatsQuery::default()).await.unwrap();
    assert_eq!((stats.in_state(State::Running), stats.in_state(State::Available)), (3, 4));
    door.open();
    for id in blocking {
        reaches(&memory, id, State::Completed).await;
    }
    assert_eq!(most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_blocking_handler_sees_its_deadline_and_its_panic_fails_the_attempt() {
    let (memory, client) = real();
    let _worker = Worker::new(&client)
        .options(fast)
        .register_blocking(|job: Alpha, cx: Context| {
            assert_ne!(job.0, 1, "a blocking panic");
            while !cx.cancellation().is_cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
            Err("gave up".into())
        })
        .queue("main", 2)
        .start()
        .unwrap();
    let panics = insert_with(&memory, Alpha(1), |job| job.max_attempts = 1).await;
    let late = insert_with(&memory, Alpha(2), |job| {
        job.max_attempts = 1;
        job.timeout = Some(Duration::from_millis(50));
    })
    .await;
    let job = reaches(&memory, panics, State::Discarded).await;
    assert_eq!(job.errors[0].kind, FailureKind::Panic);
    assert!(job.errors[0].message.contains("a blocking panic"), "{}", job.errors[0].message);
    let job = reaches(&memory, late, State::Discarded).await;
    assert_eq!(job.errors[0].kind, FailureKind::Timeout);
}

/// F12: a blocking handler that ignores everything loses its job, though not its thread; the shutdown doesn't wait for it.
#[tokio::test]
async fn f12_a_blocking_handler_that_never_ends_does_not_hold_up_its_job_or_the_shutdown() {
    let (memory, client) = real();
    let door = Door::default();
    let wait = door.clone();
    let worker = Worker::new(&client)
        .options(fast)
        .register_blocking(move |job: Alpha, _: Context| {
            wait.wait();
            Ok(job.0)
        })
        .queue("main", 2)
        .start()
        .unwrap();
    let id = insert_with(&memory, Alpha(1), |job| {
        job.max_attempts = 1;
        job.timeout = Some(Duration::from_millis(50));
    })
    .await;
    reaches(&memory, id, State::Discarded).await;
    assert_eq!(worker.stats().running, 0);
    worker.shutdown();
    worker.join().await.unwrap();
    door.open();
}

/// A new job starts at once in an idle worker: hints work, and none is lost between two looks.
#[tokio::test]
async fn an_idle_worker_is_woken_by_each_of_many_inserts() {
    let (memory, client) = real();
    let ran = Arc::new(tokio::sync::Semaphore::new(0));
    let signal = ran.clone();
    let _worker = Worker::new(&client)
        .options(|o| {
            // A job that no hint brings is found far too late for this test.
            o.poll_min = Duration::from_secs(3_600);
            o.poll_max = Duration::from_secs(3_600);
            o.quarantine = Duration::from_secs(3_600);
        })
        .register(move |job: Alpha, _| {
            signal.add_permits(1);
            async move { Ok(job.0) }
        })
        .queue("main", 4)
        .start()
        .unwrap();
    let all = async {
        for n in 0..100 {
            insert(&memory, Alpha(n)).await;
            ran.acquire().await.unwrap().forget();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("every job was seen");
}

/// No more blocking jobs are claimed than threads are there for them, however many kinds there are: the others stay
/// available to workers that can run them.
#[tokio::test]
async fn f15_blocking_jobs_are_claimed_only_for_threads_that_are_there() {
    let (memory, client) = real();
    let door = Door::default();
    let (a, b) = (door.clone(), door.clone());
    for n in 0..6 {
        insert(&memory, Alpha(n)).await;
        insert(&memory, Beta(n)).await;
    }
    let running =
        async || memory.stats(&StatsQuery::default()).await.unwrap().in_state(State::Running);
    let worker = Worker::new(&client)
        .options(fast)
        .options(|o| o.blocking_threads = 3)
        .register_blocking(move |job: Alpha, _: Context| {
            a.wait();
            Ok(job.0)
        })
        .register_blocking(move |job: Beta, _: Context| {
            b.wait();
            Ok(job.0)
        })
        .register(|job: Gamma, _| async move { Ok(job.0) }) // is claimed for all the while
        .queue("main", 12)
        .queue("side", 1)
        .start()
        .unwrap();
    until("every thread has a job", || async { running().await >= 3 }).await;
    // Several more claims, as other kinds of calls go on meanwhile.
    let polls = worker.stats().claim_calls + 5;
    until("more claims", || async { worker.stats().claim_calls >= polls || running().await > 3 })
        .await;
    assert_eq!(running().await, 3);
    door.open();
    until("all have run", || async { worker.stats().completed == 12 }).await;
}

/// A job that got a thread and no slot, and is given back for that, leaves the thread before others are told of the room.
#[tokio::test]
async fn a_thread_is_free_once_its_job_is_given_back() {
    const ROUNDS: usize = 100;
    const LONG: u64 = 1_000;
    let (memory, _) = real();
    let doors: Arc<Vec<Door>> = Arc::new((0..ROUNDS).map(|_| Door::default()).collect());
    let ran = Arc::new(AtomicBool::new(false));
    let (wait, run) = (doors.clone(), ran.clone());
    let mut calls = MockCalls::new();
    calls.expect_wait().returning(|_, _| Err(hints()));
    // The backend never answers that it took one back.
    let gives_back = |all: &[Settlement]| all.iter().any(|s| s.outcome == AttemptOutcome::Released);
    calls.expect_settle().withf(gives_back).returning(|_| Err(hangs()));
    let _worker = Worker::new(&calls.over(&memory))
        .options(fast)
        .options(|o| {
            // Nothing but news leads to a look.
            let hour = Duration::from_secs(3_600);
            (o.poll_min, o.poll_max, o.quarantine) = (hour, hour, hour);
            o.blocking_threads = 2;
        })
        .register_blocking(move |job: Alpha, _: Context| {
            if let Some(round) = job.0.checked_sub(LONG) {
                wait[usize::try_from(round)?].wait();
            }
            Ok(job.0)
        })
        .register_blocking(move |job: Gamma, _: Context| {
            run.store(true, Ordering::Relaxed);
            Ok(job.0)
        })
        .queue("main", 1)
        .queue("side", 1)
        .start()
        .unwrap();
    // Short ones, a long one, and one behind it, which is claimed ahead unless the machine stands still just then.
    for (round, door) in (LONG..).zip(doors.iter()) {
        let jobs: Vec<NewJob> = (0..20).chain([round, 0]).map(|n| new(&Alpha(n))).collect();
        memory.insert(&jobs).await.unwrap();
        reaches(&memory, jobs[20].id, State::Running).await;
        let mut ahead = false;
        for _ in 0..20 {
            ahead |= get(&memory, jobs[21].id).await.state == State::Running;
            sleep(Duration::from_millis(1)).await;
        }
        if ahead {
            insert(&memory, Gamma(1)).await;
            until("another job has the thread", || async { ran.load(Ordering::Relaxed) }).await;
            return door.open();
        }
        door.open();
        reaches(&memory, jobs[21].id, State::Completed).await;
    }
    panic!("none was claimed ahead");
}

/// The async half of the context works in blocking handlers: follow-up jobs, blobs, the client, and timers.
#[tokio::test]
async fn blocking_handlers_can_wait_for_futures() {
    let (memory, client) = real();
    let id = insert(&memory, Alpha(1)).await;
    let _worker = Worker::new(&client)
        .options(fast)
        .register_blocking(|_: Alpha, cx: Context| {
            let blob = cx.block_on(cx.put_blob("a text"))?;
            cx.block_on(cx.follow_up(Beta(2)))?;
            cx.block_on(cx.client().enqueue(Gamma(3)))?;
            cx.block_on(sleep(Duration::from_millis(1)));
            // What needs a runtime finds the worker's.
            let spawned = tokio::spawn(async {
                sleep(Duration::from_millis(1)).await;
                40
            });
            Ok(cx.block_on(spawned)? + blob.len)
        })
        .register(|job: Beta, _| async move { Ok(job.0) })
        .register(|job: Gamma, _| async move { Ok(job.0) })
        .queue("main", 2)
        .queue("side", 2)
        .start()
        .unwrap();
    let job = reaches(&memory, id, State::Completed).await;
    assert_eq!(job.result.unwrap().parse::<u64>().unwrap(), 46);
    until("the others have run", || async {
        memory.stats(&StatsQuery::default()).await.unwrap().in_state(State::Completed) == 3
    })
    .await;
}
