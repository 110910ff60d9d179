//! The end of a worker: draining, releasing, and bounded time whatever the backend does.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod worker_support;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use windlass_core::*;
use worker_support::double::*;
use worker_support::*;

const SECOND: Duration = Duration::from_secs(1);

fn sleeping(client: impl Into<Client>, time: Duration) -> Worker {
    simulated(client)
        .register(move |job: Alpha, _| async move {
            sleep(time).await;
            Ok(job.0)
        })
        .queue("main", 1)
}

#[tokio::test(start_paused = true)]
async fn running_jobs_end_within_the_drain_and_nothing_more_is_claimed() {
    let (memory, client) = paused();
    let running = insert(&memory, Alpha(1)).await;
    let waiting = insert(&memory, Alpha(2)).await;
    let begin = Instant::now();
    let memory2 = memory.clone();
    let run = sleeping(&client, 20 * SECOND).run_until(async move {
        reaches(&memory2, running, State::Running).await;
    });
    // It is `Send`: hosts spawn it.
    tokio::spawn(run).await.unwrap().unwrap();
    assert!(begin.elapsed() >= 20 * SECOND && begin.elapsed() < 25 * SECOND);
    assert_eq!(get(&memory, running).await.state, State::Completed);
    assert_eq!(get(&memory, waiting).await.state, State::Available);
    assert_eq!(memory.workers().await.unwrap(), []);
}

/// F11: what doesn't end in time is released, and the attempt is given back.
#[tokio::test(start_paused = true)]
async fn f11_what_does_not_end_in_time_is_released_and_keeps_its_attempt() {
    let (memory, client) = paused();
    let log: Arc<Mutex<Vec<String>>> = Arc::default();
    let seen = log.clone();
    struct OnDrop(Arc<Mutex<Vec<String>>>);
    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("aborted".into());
        }
    }
    let worker = simulated(&client)
        .register(move |job: Alpha, cx: Context| {
            let seen = seen.clone();
            async move {
                let cause = cx.cancelled().await;
                match job.0 {
                    1 => Ok(1),
                    2 => Err("interrupted".into()),
                    _ => {
                        seen.lock().unwrap().push(cause.to_string());
                        let _guard = OnDrop(seen);
                        std::future::pending().await
                    }
                }
            }
        })
        .queue("main", 3)
        .start()
        .unwrap();
    let mut ids = Vec::new();
    for n in 1..=3 {
        ids.push(insert(&memory, Alpha(n)).await);
        reaches(&memory, ids[ids.len() - 1], State::Running).await;
    }
    let begin = Instant::now();
    worker.shutdown();
    worker.join().await.unwrap();
    assert!(begin.elapsed() >= 30 * SECOND && begin.elapsed() <= 35 * SECOND);
    // Success counts to the last; an error that the shutdown led to does not.
    assert_eq!(get(&memory, ids[0]).await.state, State::Completed);
    for id in &ids[1..] {
        let job = get(&memory, *id).await;
        assert_eq!((job.state, job.attempt, job.errors.len()), (State::Available, 0, 0));
    }
    assert_eq!(*log.lock().unwrap(), ["the worker shuts down", "aborted"]);
}

#[tokio::test(start_paused = true)]
async fn the_drain_can_be_cut_short() {
    let (memory, client) = paused();
    let id = insert(&memory, Alpha(1)).await;
    let worker = sleeping(&client, 3_600 * SECOND).start().unwrap();
    reaches(&memory, id, State::Running).await;
    let begin = Instant::now();
    worker.shutdown();
    sleep(SECOND).await;
    worker.shutdown_now();
    worker.join().await.unwrap();
    assert!(begin.elapsed() < 10 * SECOND);
    assert_eq!(get(&memory, id).await.state, State::Available);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_running_worker_shuts_it_down() {
    let (memory, client) = paused();
    let id = insert(&memory, Alpha(1)).await;
    let worker = sleeping(&client, 5 * SECOND).start().unwrap();
    reaches(&memory, id, State::Running).await;
    drop(worker);
    until("the worker is gone", || async { memory.workers().await.unwrap().is_empty() }).await;
    assert_eq!(get(&memory, id).await.state, State::Completed);
}

/// Jobs of a claim whose reply comes after the stop are given back, not run.
#[tokio::test(start_paused = true)]
async fn a_claim_that_is_answered_after_the_stop_is_given_back() {
    let memory = MemoryBackend::with_tokio_clock();
    let mut calls = MockCalls::new();
    let (m, lost) = (memory.clone(), AtomicU64::new(0));
    calls.expect_claim().returning(move |request| {
        let claimed = now(m.claim(request))?;
        match claimed.leases.is_empty() || lost.fetch_add(1, Ordering::SeqCst) > 0 {
            true => Ok(claimed),
            false => Err(hangs()),
        }
    });
    let client = calls.over(&memory);
    let id = insert(&memory, Alpha(1)).await;
    let worker = sleeping(&client, Duration::ZERO).start().unwrap();
    reaches(&memory, id, State::Running).await;
    worker.shutdown();
    worker.join().await.unwrap();
    let job = get(&memory, id).await;
    assert_eq!((job.state, job.attempt, job.crashes), (State::Available, 0, 0));
}

/// A backend that never answers again can't keep the worker from ending.
#[tokio::test(start_paused = true)]
async fn a_shutdown_is_bounded_even_when_the_backend_is_gone() {
    let memory = MemoryBackend::with_tokio_clock();
    let mut calls = MockCalls::new();
    calls.expect_settle().returning(|_| Err(hangs()));
    calls.expect_deregister().returning(|_| Err(hangs()));
    calls.expect_maintain().returning(|_| Err(hangs()));
    let client = calls.over(&memory);
    let id = insert(&memory, Alpha(1)).await;
    let worker = sleeping(&client, Duration::ZERO).start().unwrap();
    reaches(&memory, id, State::Running).await;
    let begin = Instant::now();
    worker.shutdown();
    worker.join().await.unwrap();
    // drain + twice the grace + flush for the settlements and for the farewell
    assert!(begin.elapsed() <= 60 * SECOND, "{:?}", begin.elapsed());
}
