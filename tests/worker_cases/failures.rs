//! What hurts workers elsewhere: each case names the lines of `docs/failures.md` that it covers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;
use windlass::{
    CancelCause, Client, Context, FailureKind, Handle, Job, JobRecord, Outcome, RunningWorker,
    State, Worker, WorkerOptions,
};

use super::{Echo, PATIENCE, echo, open};

#[derive(Job, Serialize, Deserialize)]
#[job(kind = "task", max_attempts = 2, backoff(base = "200ms", max = "200ms", jitter = 0))]
struct Task(u32);

/// The lease of those that live.
const LEASE: Duration = Duration::from_secs(10);

/// Waits until something holds.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "in vain: {what}");
}

async fn reaches<J: Job>(job: &Handle<J>, state: State) -> JobRecord {
    until(&format!("a job becomes {state}"), async || {
        job.record().await.unwrap().unwrap().state == state
    })
    .await;
    job.record().await.unwrap().unwrap()
}

/// What dies is soon known to be dead.
fn doomed(o: &mut WorkerOptions) {
    quick(o);
    (o.lease, o.heartbeat) = (Duration::from_secs(2), Duration::from_millis(400));
}

/// Everything goes faster, but a busy machine costs nobody a lease.
fn quick(o: &mut WorkerOptions) {
    (o.lease, o.heartbeat) = (LEASE, Duration::from_millis(400));
    (o.maintenance, o.quarantine) = (Duration::from_millis(100), Duration::from_millis(100));
    (o.poll_max, o.grace) = (Duration::from_millis(200), Duration::from_millis(100));
    o.retention = None;
    // Whatever died before had the same.
    o.name = Some("worker".to_owned());
}

/// Another process that takes up the jobs of lost workers and runs none.
async fn rescuer(url: &str) -> (Client, RunningWorker) {
    let client = open(url).await;
    let worker = Worker::new(&client).options(quick).register(echo).queue("other", 1);
    (client, worker.start().unwrap())
}

/// A process that takes a job and dies.
async fn dies_in_mid_run(url: &str) {
    let url = url.to_owned();
    let process = move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (started, mut starts) = tokio::sync::mpsc::unbounded_channel();
            let worker = Worker::new(&open(&url).await)
                .options(doomed)
                .register(move |_: Task, _: Context| {
                    let _ = started.send(());
                    std::future::pending::<Outcome>()
                })
                .queue("default", 1)
                .start()
                .unwrap();
            starts.recv().await.unwrap();
            std::mem::forget(worker);
        });
        // What a process that dies takes along: nothing more is awaited.
        runtime.shutdown_background();
    };
    tokio::task::spawn_blocking(process).await.unwrap();
}

/// A handler blocks the only thread of its runtime for longer than the lease.
pub(crate) async fn f04_a_blocked_runtime_keeps_its_lease(url: &str) {
    let (client, other) = rescuer(url).await;
    let job = client.enqueue(Task(1)).await.unwrap();
    let (there, ended) = (url.to_owned(), Arc::new(AtomicBool::new(false)));
    let end = ended.clone();
    let process = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let client = open(&there).await;
            let worker = Worker::new(&client)
                .options(quick)
                .register(|_: Task, _: Context| async {
                    std::thread::sleep(LEASE + LEASE / 5);
                    Ok(())
                })
                .queue("default", 1)
                .start()
                .unwrap();
            until("the test ends", async || end.load(Ordering::Relaxed)).await;
            worker.stop().await.unwrap();
        });
    });
    let job = reaches(&job, State::Completed).await;
    assert_eq!((job.attempt, job.crashes, job.errors.len()), (1, 0, 0));
    ended.store(true, Ordering::Relaxed);
    process.await.unwrap();
    other.stop().await.unwrap();
}

/// F5: a panic fails the attempt; F20, F51: the next one comes after its backoff, and the last one is the last.
pub(crate) async fn f05_f20_f51_a_panic_fails_the_attempt_and_the_last_one_ends_the_job(url: &str) {
    async fn panics(_: Task, _: Context) -> Outcome {
        panic!("on purpose")
    }
    let client = open(url).await;
    let worker = Worker::new(&client).options(quick).register(panics).queue("default", 1);
    let worker = worker.start().unwrap();
    let job = reaches(&client.enqueue(Task(1)).await.unwrap(), State::Discarded).await;
    assert_eq!((job.attempt, job.crashes, job.errors.len()), (2, 0, 2));
    assert!(job.errors.iter().all(|error| error.kind == FailureKind::Panic), "{:?}", job.errors);
    // By the database's clock.
    let pause = job.errors[1].at.as_microsecond() - job.errors[0].at.as_microsecond();
    assert!(pause >= 200_000, "the second attempt came after {pause} µs");
    assert!(worker.ready());
    worker.stop().await.unwrap();
}

/// F6: workers that die share their name with those that follow; F10, F16: each death is an attempt, the third ends the job, and none is lost.
pub(crate) async fn f06_f10_f16_jobs_of_workers_that_die_run_again_until_their_crashes_are_used_up(
    url: &str,
) {
    let client = open(url).await;
    let poison = client.enqueue(Task(0)).max_attempts(9).await.unwrap();
    for crash in 1..=3 {
        dies_in_mid_run(url).await;
        let record = poison.record().await.unwrap().unwrap();
        assert_eq!((record.attempt, record.crashes), (crash, crash - 1));
    }
    let worker = Worker::new(&client)
        .options(quick)
        .register(|_: Task, _: Context| async { Ok(()) })
        .queue("default", 1)
        .start()
        .unwrap();
    let record = reaches(&poison, State::Discarded).await;
    assert_eq!((record.attempt, record.crashes), (3, 3));
    reaches(&client.enqueue(Task(1)).await.unwrap(), State::Completed).await;
    worker.stop().await.unwrap();
}

pub(crate) async fn f09_jobs_of_unknown_kinds_in_front_stay_untouched(url: &str) {
    let client = open(url).await;
    let unknown = client.enqueue(Task(1)).priority(0).await.unwrap();
    let known = client.enqueue(Echo { text: "here".into() }).await.unwrap();
    let worker = Worker::new(&client).register(echo).queue("default", 1).start().unwrap();
    assert_eq!(known.result().timeout(PATIENCE).await.unwrap(), "here");
    let record = unknown.record().await.unwrap().unwrap();
    assert_eq!((record.state, record.attempt), (State::Available, 0));
    worker.stop().await.unwrap();
}

pub(crate) async fn f11_a_shutdown_gives_the_attempt_back(url: &str) {
    let client = open(url).await;
    let job = client.enqueue(Task(1)).await.unwrap();
    for deploy in 0..3 {
        let finishes = deploy == 2;
        let worker = Worker::new(&client)
            .options(quick)
            .register(move |_: Task, _: Context| async move {
                if !finishes {
                    std::future::pending::<()>().await;
                }
                Ok(())
            })
            .queue("default", 1)
            .start()
            .unwrap();
        if finishes {
            assert_eq!(reaches(&job, State::Completed).await.attempt, 1);
            worker.stop().await.unwrap();
            break;
        }
        reaches(&job, State::Running).await;
        worker.shutdown_now();
        worker.join().await.unwrap();
        let record = job.record().await.unwrap().unwrap();
        assert_eq!((record.state, record.attempt), (State::Available, 0));
    }
}

pub(crate) async fn f12_a_handler_that_ignores_its_deadline_gives_its_slot_back(url: &str) {
    let client = open(url).await;
    let worker = Worker::new(&client)
        .options(quick)
        .register(|task: Task, _: Context| async move {
            if task.0 == 1 {
                std::future::pending::<()>().await;
            }
            Ok(())
        })
        .queue("default", 1)
        .start()
        .unwrap();
    let deaf = client.enqueue(Task(1)).max_attempts(1).timeout(Duration::from_millis(300));
    let deaf = deaf.await.unwrap();
    let next = client.enqueue(Task(2)).await.unwrap();
    assert_eq!(reaches(&deaf, State::Discarded).await.errors[0].kind, FailureKind::Timeout);
    reaches(&next, State::Completed).await;
    worker.stop().await.unwrap();
}

/// Asked by another process, whether or not hints get through.
pub(crate) async fn f13_a_request_to_cancel_reaches_the_handler(url: &str) {
    let (here, there) = (open(url).await, open(url).await);
    let worker = Worker::new(&there)
        .options(quick)
        .register(|_: Task, cx: Context| async move {
            assert_eq!(cx.cancelled().await, CancelCause::Requested);
            Err("as asked".into())
        })
        .queue("default", 1)
        .start()
        .unwrap();
    let job = here.enqueue(Task(1)).await.unwrap();
    reaches(&job, State::Running).await;
    assert!(here.cancel(job.id()).await.unwrap());
    assert_eq!(reaches(&job, State::Cancelled).await.attempt, 1);
    worker.stop().await.unwrap();
}

/// Looks rarely and works at once: hints bring the jobs of other processes.
pub(crate) async fn f34_an_idle_worker_is_woken_by_the_jobs_of_another_process(url: &str) {
    let (here, there) = (open(url).await, open(url).await);
    let hour = Duration::from_secs(3_600);
    let worker = Worker::new(&there)
        .options(|o| (o.poll_min, o.poll_max, o.quarantine) = (hour, hour, hour))
        .register(echo)
        .queue("default", 4)
        .start()
        .unwrap();
    for n in 0..20 {
        let job = here.enqueue(Echo { text: n.to_string() }).await.unwrap();
        assert_eq!(job.result().timeout(PATIENCE).await.unwrap(), n.to_string());
    }
    worker.stop().await.unwrap();
}

/// A job that leads to another holds no slot while that one runs.
pub(crate) async fn f36_a_chain_of_jobs_runs_in_a_single_slot(url: &str) {
    let client = open(url).await;
    let worker = Worker::new(&client)
        .options(quick)
        .register(|task: Task, cx: Context| async move {
            if let Some(next) = task.0.checked_sub(1) {
                cx.follow_up(Task(next)).await?;
            }
            Ok(())
        })
        .queue("default", 1)
        .start()
        .unwrap();
    client.enqueue(Task(9)).await.unwrap();
    until("all ten are complete", async || {
        client.stats().await.unwrap().in_state(State::Completed) == 10
    })
    .await;
    worker.stop().await.unwrap();
}

/// A worker that died while it ran one, panics and failures: no slot of the kind is taken twice, and none stays taken.
pub(crate) async fn f37_a_kind_limited_to_one_runs_one_at_a_time_and_keeps_no_slot(url: &str) {
    let client = open(url).await;
    let jobs = client.enqueue_many((0..11).map(Task)).await.unwrap();
    dies_in_mid_run(url).await;
    let (inside, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (inside.clone(), most.clone());
    let worker = Worker::new(&client)
        .options(quick)
        .register(move |task: Task, cx: Context| {
            let (now, peak) = (now.clone(), peak.clone());
            async move {
                peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                tokio::time::sleep(Duration::from_millis(5)).await;
                now.fetch_sub(1, Ordering::SeqCst);
                match (task.0 % 4, cx.attempt()) {
                    (0, 1) => Err("once".into()),
                    (1, 1) => panic!("once"),
                    _ => Ok(()),
                }
            }
        })
        .kind_concurrency::<Task>(1)
        .queue("default", 8)
        .start()
        .unwrap();
    for job in &jobs {
        reaches(job, State::Completed).await;
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
    worker.stop().await.unwrap();
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
        let closed = self.0.0.lock().unwrap();
        drop(self.0.1.wait_timeout_while(closed, PATIENCE, |open| !*open).unwrap());
    }
}

pub(crate) async fn f39_blocking_handlers_are_in_nobodys_way(url: &str) {
    let client = open(url).await;
    let (door, inside) = (Door::default(), Arc::new(Semaphore::new(0)));
    let (closed, enters) = (door.clone(), inside.clone());
    let worker = Worker::new(&client)
        .options(quick)
        .options(|o| o.blocking_threads = 2)
        .register_blocking(move |_: Task, _: Context| {
            enters.add_permits(1);
            closed.wait();
            Ok(())
        })
        .register(echo)
        .queue("default", 8)
        .start()
        .unwrap();
    let blocking = client.enqueue_many((0..6).map(Task)).await.unwrap();
    let both = tokio::time::timeout(PATIENCE, inside.acquire_many(2)).await.unwrap();
    both.unwrap().forget();
    let quick = client.enqueue(Echo { text: "quick".into() }).await.unwrap();
    assert_eq!(quick.result().timeout(PATIENCE).await.unwrap(), "quick");
    // No more of them are taken from other workers than there are threads.
    assert_eq!(client.stats().await.unwrap().in_state(State::Running), 2);
    door.open();
    for job in &blocking {
        assert_eq!(reaches(job, State::Completed).await.attempt, 1);
    }
    worker.stop().await.unwrap();
}

/// What an older program enqueued under the kind of `Task`.
#[derive(Job, Serialize, Deserialize)]
#[job(kind = "task", max_attempts = 2, backoff(base = "10ms", max = "10ms"))]
struct OldTask {
    text: String,
}

/// F49: the attempt fails, the worker lives on; F52: what the args were stays out of the error.
pub(crate) async fn f49_f52_args_that_do_not_parse_fail_the_attempt(url: &str) {
    let client = open(url).await;
    let worker = Worker::new(&client)
        .options(quick)
        .register(|_: Task, _: Context| async { Ok(()) })
        .queue("default", 1)
        .start()
        .unwrap();
    let old = client.enqueue(OldTask { text: "s3cret".into() }).await.unwrap();
    let record = reaches(&old, State::Discarded).await;
    assert_eq!(record.errors.len(), 2);
    assert!(record.errors.iter().all(|error| error.kind == FailureKind::BadArgs));
    assert!(!format!("{:?}", record.errors).contains("s3cret"), "{:?}", record.errors);
    reaches(&client.enqueue(Task(1)).await.unwrap(), State::Completed).await;
    assert!(worker.ready());
    worker.stop().await.unwrap();
}
