//! Jobs that are claimed before there is a slot for them.
#![allow(clippy::unwrap_used, clippy::expect_used)] // helpers of tests, too

mod worker_support;

use std::time::Duration;

use tokio::time::sleep;
use windlass_core::*;
use worker_support::*;

/// Jobs from this number on are long.
const LONG: u64 = 1_000;

async fn work(job: Alpha, _: Context) -> Outcome<u64> {
    let time = if job.0 < LONG { Duration::from_millis(1) } else { Duration::from_secs(60) };
    sleep(time).await;
    Ok(job.0)
}

/// A worker with one slot that has run many short jobs and is at a long one, with short ones behind it.
async fn at_a_long_one(
    ahead: Duration,
) -> (MemoryBackend, Client<MemoryBackend>, RunningWorker, Vec<JobId>) {
    let (memory, client) = paused();
    let numbers = (0..200).chain([LONG]).chain(500..530);
    let jobs: Vec<NewJob> = numbers.map(|n| new(&Alpha(n))).collect();
    memory.insert(&jobs).await.unwrap();
    let worker = simulated(&client).options(|o| o.ahead = ahead).register(work).queue("main", 1);
    let running = worker.start().unwrap();
    until("the short ones are done", || async { running.stats().completed == 200 }).await;
    reaches(&memory, jobs[200].id, State::Running).await;
    (memory, client, running, jobs[200..].iter().map(|job| job.id).collect())
}

/// Those that were claimed and wait.
async fn claimed(memory: &MemoryBackend, ids: &[JobId]) -> Vec<JobId> {
    let mut claimed = Vec::new();
    for id in ids {
        if get(memory, *id).await.state == State::Running {
            claimed.push(*id);
        }
    }
    claimed
}

async fn all_become(memory: &MemoryBackend, ids: &[JobId], state: State) {
    let all = || async {
        for id in ids {
            if get(memory, *id).await.state != state {
                return false;
            }
        }
        true
    };
    until(&format!("all become {state}"), all).await;
}

#[tokio::test(start_paused = true)]
async fn short_jobs_are_claimed_in_portions() {
    let (_, _, running, _) = at_a_long_one(Duration::from_millis(20)).await;
    let stats = running.stats();
    assert!(stats.claim_calls * 4 < stats.claimed, "{stats:?}");
}

#[tokio::test(start_paused = true)]
async fn without_it_none_is_claimed_that_can_not_run_at_once() {
    let (memory, _, running, ids) = at_a_long_one(Duration::ZERO).await;
    let stats = running.stats();
    assert_eq!(stats.claimed, stats.completed + 1, "{stats:?}");
    assert_eq!(claimed(&memory, &ids[1..]).await, []);
}

#[tokio::test(start_paused = true)]
async fn what_was_claimed_ahead_and_finds_no_slot_is_given_back() {
    let (memory, client, running, ids) = at_a_long_one(Duration::from_millis(20)).await;
    let waiting = claimed(&memory, &ids[1..]).await;
    assert!(!waiting.is_empty());
    all_become(&memory, &waiting, State::Available).await;
    assert_eq!(claimed(&memory, &ids).await, ids[..1]);
    assert!(running.stats().released > 0);
    // It cost them nothing, and another worker may have them.
    let other = simulated(&client).register(work).queue("main", 1).start().unwrap();
    for id in &ids[1..] {
        assert_eq!(reaches(&memory, *id, State::Completed).await.attempt, 1);
    }
    assert_eq!(claimed(&memory, &ids).await, ids[..1]);
    other.stop().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_stops_begins_none_of_them() {
    let (memory, _, running, ids) = at_a_long_one(Duration::from_millis(20)).await;
    let waiting = claimed(&memory, &ids[1..]).await;
    assert!(!waiting.is_empty());
    running.shutdown();
    all_become(&memory, &waiting, State::Available).await;
    assert_eq!(claimed(&memory, &ids).await, ids[..1]);
    assert_eq!(running.stats().completed, 200);
    running.join().await.unwrap();
}
