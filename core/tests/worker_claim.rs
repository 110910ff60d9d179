//! Claims that fail or are cut off, the order of queues, and early heartbeats. Paused time throughout.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod worker_support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_core::*;
use worker_support::double::*;
use worker_support::log::Log;
use worker_support::*;

const SECOND: Duration = Duration::from_secs(1);

fn unreadable() -> Error {
    Error::Decode { what: "the row of a job".into(), source: "no JSON".into() }
}

/// The first claim that gets something is applied, and never answered well: neither at first nor when sent again.
fn first_claim_never_ends(memory: &MemoryBackend, error: fn() -> Error) -> MockCalls {
    let mut calls = MockCalls::new();
    let (m, bad) = (memory.clone(), Mutex::new(None));
    calls.expect_claim().returning(move |request| {
        let claimed = now(m.claim(request))?;
        let mut bad = bad.lock().unwrap();
        if !claimed.leases.is_empty() {
            bad.get_or_insert(request.claim_id);
        }
        if *bad == Some(request.claim_id) { Err(error()) } else { Ok(claimed) }
    });
    calls
}

/// A row that can't be read does not wedge the worker: it claims others, and gives that one back.
#[tokio::test(start_paused = true)]
async fn f14_a_claim_that_fails_for_good_is_given_up() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = first_claim_never_ends(&memory, unreadable).over(&memory);
    let first = insert(&memory, Alpha(1)).await;
    let worker = simulated(&client)
        .register(|job: Alpha, _| async move { Ok(job.0) })
        .queue("main", 1)
        .start()
        .unwrap();
    reaches(&memory, first, State::Running).await;
    let second = insert(&memory, Alpha(2)).await;
    reaches(&memory, second, State::Completed).await;
    let job = reaches(&memory, first, State::Completed).await;
    assert_eq!((job.attempt, job.crashes), (1, 0));
    assert!(worker.ready());
}

/// Claims that always fail are no loop of calls.
#[tokio::test(start_paused = true)]
async fn f14_claims_that_always_fail_for_good_come_ever_more_rarely() {
    let memory = MemoryBackend::with_tokio_clock();
    let mut calls = MockCalls::new();
    let ids = Arc::new(Mutex::new(Vec::new()));
    let log = ids.clone();
    calls.expect_claim().returning(move |request| {
        log.lock().unwrap().push(request.claim_id);
        Err(unreadable())
    });
    calls.expect_wait().returning(|_, _| Ok(Wake::Hint));
    let client = calls.over(&memory);
    let _worker = simulated(&client)
        .register(|job: Alpha, _| async move { Ok(job.0) })
        .queue("main", 1)
        .start()
        .unwrap();
    sleep(600 * SECOND).await;
    let ids = ids.lock().unwrap();
    let fresh = ids.iter().collect::<std::collections::HashSet<_>>().len();
    assert!(fresh >= 60 && ids.len() <= 1_200, "{} claims, {fresh} fresh", ids.len());
    assert!(ids.len() <= 2 * fresh, "{} claims, {fresh} fresh", ids.len());
}

/// F12: the store counts the deadline from when it applied the claim, which may be its first sending.
#[tokio::test(start_paused = true)]
async fn f12_the_deadline_counts_from_the_first_sending_of_a_claim() {
    let memory = MemoryBackend::with_tokio_clock();
    let mut calls = MockCalls::new();
    let (m, lost) = (memory.clone(), AtomicBool::new(false));
    calls.expect_claim().returning(move |request| {
        let claimed = now(m.claim(request))?;
        match claimed.leases.is_empty() || lost.swap(true, Ordering::SeqCst) {
            true => Ok(claimed),
            false => Err(hangs()), // for `call_timeout`, 15 s
        }
    });
    let client = calls.over(&memory);
    let left = Arc::new(Mutex::new(None));
    let seen = left.clone();
    let id = insert_with(&memory, Alpha(1), |job| job.timeout = Some(60 * SECOND)).await;
    let _worker = simulated(&client)
        .register(move |job: Alpha, cx: Context| {
            *seen.lock().unwrap() = cx.time_left();
            async move { Ok(job.0) }
        })
        .queue("main", 1)
        .start()
        .unwrap();
    reaches(&memory, id, State::Completed).await;
    let left = left.lock().unwrap().unwrap();
    assert!(left <= 45 * SECOND, "{left:?}");
}

/// F11: a claim that a shutdown cuts off may have been applied: what it took is given back.
#[tokio::test(start_paused = true)]
async fn f11_jobs_of_a_claim_that_was_cut_off_are_given_back() {
    let memory = MemoryBackend::with_tokio_clock();
    let client = first_claim_never_ends(&memory, hangs).over(&memory);
    let id = insert(&memory, Alpha(1)).await;
    let worker = simulated(&client)
        .register(|job: Alpha, _| async move { Ok(job.0) })
        .queue("main", 1)
        .start()
        .unwrap();
    reaches(&memory, id, State::Running).await;
    worker.shutdown_now();
    worker.join().await.unwrap();
    let job = get(&memory, id).await;
    assert_eq!((job.state, job.attempt, job.crashes), (State::Available, 0, 0));
    assert_eq!(memory.workers().await.unwrap(), []);
}

/// No queue is always the first to be served.
#[tokio::test(start_paused = true)]
async fn queues_come_first_in_turn() {
    let memory = MemoryBackend::with_tokio_clock();
    let mut calls = MockCalls::new();
    let (m, firsts) = (memory.clone(), Arc::new(Mutex::new(Vec::new())));
    let log = firsts.clone();
    calls.expect_claim().returning(move |request| {
        if request.lane == Lane::Normal {
            log.lock().unwrap().push(request.queues[0].queue.clone());
        }
        now(m.claim(request))
    });
    let client = calls.over(&memory);
    let _worker = simulated(&client)
        .register(|job: Alpha, _| async move { Ok(job.0) })
        .queue("main", 1)
        .queue("side", 1)
        .start()
        .unwrap();
    sleep(120 * SECOND).await;
    let firsts = firsts.lock().unwrap();
    let main = firsts.iter().filter(|name| **name == queue("main")).count();
    assert!(firsts.len() > 20);
    assert!(main.abs_diff(firsts.len() / 2) <= 1, "{main} of {}", firsts.len());
}

/// F13: a hint makes the heartbeat that brings a cancel request come early, also when no slot is free.
#[tokio::test(start_paused = true)]
async fn f13_a_hint_brings_a_cancel_request_before_the_next_heartbeat() {
    let (memory, client) = paused();
    let id = insert(&memory, Alpha(1)).await;
    let cancelled = Arc::new(Mutex::new(None));
    let seen = cancelled.clone();
    let _worker = simulated(&client)
        .register(move |_: Alpha, cx: Context| {
            let seen = seen.clone();
            async move {
                let cause = cx.cancelled().await;
                seen.lock().unwrap().get_or_insert((cause, Instant::now()));
                Err("cancelled".into())
            }
        })
        .queue("main", 1)
        .start()
        .unwrap();
    reaches(&memory, id, State::Running).await;
    for round in 0..3 {
        // Hints before the one that counts must not be in its way.
        insert(&memory, Alpha(10 + round)).await;
        sleep(7 * SECOND).await;
    }
    let begin = Instant::now();
    let cancel = Change::Cancel { reason: None };
    memory.change(&ChangeRequest::new(Selector::Ids(vec![id]), cancel)).await.unwrap();
    insert(&memory, Alpha(2)).await; // raises a hint
    reaches(&memory, id, State::Cancelled).await;
    let (cause, at) = cancelled.lock().unwrap().unwrap();
    assert_eq!(cause, CancelCause::Requested);
    assert!(at - begin <= 3 * SECOND, "{:?}", at - begin);
}

/// A worker that never polls, on a backend that tells at once of what no claim has looked at yet.
struct Hinted {
    memory: MemoryBackend,
    news: Arc<AtomicBool>,
    claims: Arc<Mutex<usize>>,
    _worker: RunningWorker,
}

impl Hinted {
    /// After the first claim that finds something, one more job comes in if `more`, before the claim has ended.
    fn start(more: bool) -> Self {
        let (memory, news) = (paused().0, Arc::new(AtomicBool::new(false)));
        let claims = Arc::new(Mutex::new(0));
        let mut calls = MockCalls::new();
        let (m, n, count, mut more) = (memory.clone(), news.clone(), claims.clone(), more);
        calls.expect_claim().returning(move |request| {
            *count.lock().unwrap() += 1;
            n.store(false, Ordering::SeqCst);
            let claimed = now(m.claim(request));
            if more && claimed.as_ref().is_ok_and(|claimed| !claimed.leases.is_empty()) {
                more = false;
                n.store(true, Ordering::SeqCst);
                now(m.insert(&[new(&Alpha(0))])).unwrap();
            }
            claimed
        });
        let n = news.clone();
        let told = move || if n.load(Ordering::SeqCst) { Ok(Wake::Hint) } else { Err(hints()) };
        calls.expect_wait().returning(move |_, _| told());
        let client = calls.over(&memory);
        let never = Duration::from_secs(3_600);
        let _worker = simulated(&client)
            .register(|job: Alpha, _| async move { Ok(job.0) })
            .queue("main", 8)
            .options(|o| (o.poll_min, o.poll_max, o.quarantine) = (never, never, never))
            .start()
            .unwrap();
        Self { memory, news, claims, _worker }
    }

    async fn insert(&self) -> JobId {
        self.news.store(true, Ordering::SeqCst);
        insert(&self.memory, Alpha(0)).await
    }

    fn claims(&self) -> usize {
        *self.claims.lock().unwrap()
    }
}

/// After a claim in vain the worker rests, and the next job would have to wait for that.
#[tokio::test(start_paused = true)]
async fn a_job_on_an_idle_queue_costs_one_claim() {
    let hinted = Hinted::start(false);
    sleep(SECOND).await;
    let before = hinted.claims();
    for _ in 0..10 {
        let id = hinted.insert().await;
        reaches(&hinted.memory, id, State::Completed).await;
        sleep(SECOND).await;
    }
    assert_eq!(hinted.claims() - before, 10);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_comes_during_a_claim_is_not_overlooked() {
    let hinted = Hinted::start(true);
    sleep(SECOND).await;
    hinted.insert().await;
    sleep(SECOND).await;
    let counts = hinted.memory.stats(&StatsQuery::default()).await.unwrap().counts;
    let completed = counts.iter().filter(|count| count.state == State::Completed);
    assert_eq!(completed.map(|count| count.jobs).sum::<u64>(), 2);
}

/// However many hints come, early heartbeats come no more than once a second.
#[tokio::test(start_paused = true)]
async fn early_heartbeats_are_bounded() {
    let memory = MemoryBackend::with_tokio_clock();
    let mut calls = MockCalls::new();
    let (m, beats) = (memory.clone(), Arc::new(Mutex::new(0)));
    let count = beats.clone();
    calls.expect_heartbeat().returning(move |worker, owned| {
        *count.lock().unwrap() += 1;
        now(m.heartbeat(worker, owned))
    });
    calls.expect_wait().returning(|_, _| Ok(Wake::Hint));
    let client = calls.over(&memory);
    let id = insert(&memory, Alpha(1)).await;
    let _worker = simulated(&client)
        .register(|_: Alpha, _| std::future::pending::<Outcome<u64>>())
        .queue("main", 2)
        .start()
        .unwrap();
    reaches(&memory, id, State::Running).await;
    sleep(60 * SECOND).await;
    let beats = *beats.lock().unwrap();
    assert!((30..=62).contains(&beats), "{beats} heartbeats in a minute");
}

/// A `backoff()` that panics is named at the start, and never met at run time.
#[tokio::test]
async fn a_backoff_that_panics_is_named_at_the_start() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Careless;
    impl Job for Careless {
        const KIND: &'static str = "careless";
        type Output = ();
        fn backoff() -> Backoff {
            panic!("no backoff today")
        }
    }
    let (_, client) = paused();
    let start =
        simulated(&client).register(|_: Careless, _| async { Ok(()) }).queue("main", 1).start();
    let error = start.unwrap_err().to_string();
    assert!(error.contains("`careless`") && error.contains("no backoff today"), "{error}");
}

/// F9: jobs of unknown kinds stay untouched, which nobody would see if nobody said so.
#[tokio::test(start_paused = true)]
async fn f09_available_jobs_without_a_handler_are_told_once() {
    let (log, _guard) = Log::capture();
    let (memory, client) = paused();
    insert(&memory, Gamma(1)).await; // in a queue that this worker leaves to others
    insert_with(&memory, Alpha(1), |job| job.start = Start::In(3_600 * SECOND)).await;
    for n in 0..3 {
        insert(&memory, Beta(n)).await;
    }
    let _worker = simulated(&client)
        .register(|job: Alpha, _| async move { Ok(job.0) })
        .queue("main", 1)
        .start()
        .unwrap();
    let told =
        "3 available jobs of kind `beta` in queue `main`, for which this worker has no handler";
    until("it is told", || async { log.count(told) == 1 }).await;
    sleep(600 * SECOND).await;
    assert_eq!(log.count("has no handler"), 1);
}
