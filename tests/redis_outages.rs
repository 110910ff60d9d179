//! What is not there for a while, as a worker on Redis lives through it: keys that somebody else has written to.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used)]

mod outages;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use outages::{Task, all_ran_once, short, until};
use windlass::{Client, Context, Error, Outcome, Worker};
use windlass_test_servers::RedisServer;

/// The lease of the workers here.
const LEASE: Duration = Duration::from_secs(6);

/// Far more than outcomes may wait.
const SLOTS: u32 = 50;

fn worker(client: &Client, runs: &Arc<AtomicUsize>) -> Worker {
    outages::worker(client, runs, LEASE, SLOTS)
}

async fn open(server: &RedisServer) -> Client {
    windlass::connect(&server.url("jobs")).await.unwrap()
}

/// Outcomes can't be written for longer than the lease lasts, since the key of what has finished holds something else: heartbeats go on, claims stop,
/// nothing runs twice.
#[tokio::test(flavor = "multi_thread")]
async fn f03_f14_f15_outcomes_that_can_not_be_written_cost_no_lease_and_do_not_pile_up() {
    let server = RedisServer::builder().start().await.unwrap();
    // Another process, which would take up what it finds lost.
    let other = open(&server).await;
    let idle = |_: Task, _: Context| async { Outcome::Ok(()) };
    let other = Worker::new(&other).options(|o| short(o, LEASE)).register(idle).queue("other", 1);
    let other = other.start().unwrap();
    let client = open(&server).await;
    server.command(&["SET", "{jobs}:done:5", "something else"]).await.unwrap();
    let runs: Arc<AtomicUsize> = Arc::default();
    let running = worker(&client, &runs).options(|o| o.settle_buffer = 2).start().unwrap();
    until("the worker is ready", async || running.ready()).await;
    let id = running.id();
    let since = Instant::now();
    let mut jobs = Vec::new();
    // One at a time, so that none is claimed together with others, until one is left alone.
    while jobs.len() < SLOTS as usize {
        jobs.push(client.enqueue(Task(0)).await.unwrap());
        let given = Instant::now();
        while runs.load(Ordering::Relaxed) < jobs.len() && given.elapsed() < LEASE / 2 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        if runs.load(Ordering::Relaxed) < jobs.len() {
            break;
        }
    }
    tokio::time::sleep((LEASE + Duration::from_millis(500)).saturating_sub(since.elapsed())).await;
    assert!(jobs.len() >= 3, "claims stopped before outcomes waited: {}", jobs.len());
    // What is being settled, what waits for it, and what runs.
    let before = runs.load(Ordering::Relaxed);
    println!("{before} jobs ran while none could be settled");
    assert!(before <= 12, "{before} jobs ran, in {SLOTS} slots, while none could be settled");
    server.command(&["DEL", "{jobs}:done:5"]).await.unwrap();
    all_ran_once(&jobs, &runs).await;
    assert_eq!(running.id(), id, "the lease was lost");
    running.stop().await.unwrap();
    other.stop().await.unwrap();
}

/// Somebody moves the line of a queue away and writes a text in its place: the worker says that it is not ready and lives on, nothing new is taken in,
/// and when the key is as it was everything goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_of_another_type_costs_time_and_no_job() {
    let server = RedisServer::builder().start().await.unwrap();
    let client = open(&server).await;
    let (line, away) = ("{jobs}:r:default/task", "{jobs}:moved");
    let (mut jobs, runs) = (Vec::new(), Arc::default());
    let running = worker(&client, &runs).start().unwrap();
    until("the worker is ready", async || running.ready()).await;
    let id = running.id();
    jobs.push(client.enqueue(Task(0)).await.unwrap());
    all_ran_once(&jobs, &runs).await;

    client.pause_queue("default").await.unwrap();
    for n in 0..20 {
        jobs.push(client.enqueue(Task(n)).await.unwrap());
    }
    server.command(&["RENAME", line, away]).await.unwrap();
    server.command(&["SET", line, "something else"]).await.unwrap();
    // These fall due while their line is no line.
    for n in 0..20 {
        let late = client.enqueue(Task(n)).delay(Duration::from_millis(300));
        jobs.push(late.await.unwrap());
    }
    client.resume_queue("default").await.unwrap();
    until("the worker says that it is not ready", async || !running.ready()).await;
    let error = client.enqueue(Task(0)).await.unwrap_err();
    let Error::Backend { source, .. } = &error else { panic!("{error:?}") };
    assert!(source.to_string().contains("holds the ready holds something else"), "{source}");
    tokio::time::sleep(LEASE + Duration::from_millis(500)).await;
    assert!(!running.ready());
    assert_eq!(runs.load(Ordering::Relaxed), 1);

    server.command(&["DEL", line]).await.unwrap();
    server.command(&["RENAME", away, line]).await.unwrap();
    until("the worker is ready again", async || running.ready()).await;
    jobs.push(client.enqueue(Task(0)).await.unwrap());
    all_ran_once(&jobs, &runs).await;
    assert_eq!(running.id(), id, "the lease was lost");
    running.stop().await.unwrap();
}
