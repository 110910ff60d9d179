//! What the tests of the worker share.
#![allow(dead_code, unreachable_pub)] // each test crate uses some of it

pub mod double;
pub mod log;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass_core::{
    Backoff, Client, Inserted, Job, JobId, JobRecord, Kind, MemoryBackend, NewJob, Payload,
    QueueName, State, Store, Worker, WorkerOptions,
};

macro_rules! job {
    ($name:ident, $kind:literal, $queue:literal) => {
        /// A job whose result is its number.
        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub struct $name(pub u64);

        impl Job for $name {
            const KIND: &'static str = $kind;
            const QUEUE: &'static str = $queue;
            const TIMEOUT: Option<Duration> = None;
            type Output = u64;
            fn backoff() -> Backoff {
                Backoff::fixed(BACKOFF).with_jitter(0.0)
            }
        }
    };
}
job!(Alpha, "alpha", "main");
job!(Beta, "beta", "main");
job!(Gamma, "gamma", "side");

/// The delay after a failed attempt of these jobs.
pub const BACKOFF: Duration = Duration::from_secs(10);

/// A memory backend on Tokio's clock, for paused time.
pub fn paused() -> (MemoryBackend, Client<MemoryBackend>) {
    let memory = MemoryBackend::with_tokio_clock();
    (memory.clone(), Client::new(Arc::new(memory)))
}

/// A memory backend on the system's clock.
pub fn real() -> (MemoryBackend, Client<MemoryBackend>) {
    let memory = MemoryBackend::new();
    (memory.clone(), Client::new(Arc::new(memory)))
}

/// A worker for paused time: everything on one runtime.
pub fn simulated(client: impl Into<Client>) -> Worker {
    Worker::new(client).options(|o| o.heartbeat_thread = false)
}

/// Options for real time: everything goes faster.
pub fn fast(o: &mut WorkerOptions) {
    o.lease = Duration::from_millis(2_000);
    o.heartbeat = Duration::from_millis(50);
    o.poll_min = Duration::from_millis(5);
    o.poll_max = Duration::from_millis(20);
    o.maintenance = Duration::from_millis(20);
    o.quarantine = Duration::from_millis(20);
    o.notes = Duration::from_millis(5);
    o.grace = Duration::from_millis(100);
    o.drain = Duration::from_secs(5);
}

pub fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

/// A job with the defaults of its type.
pub fn new<J: Job>(job: &J) -> NewJob {
    let kind = Kind::new(J::KIND).unwrap();
    let mut new = NewJob::new(kind, queue(J::QUEUE), Payload::json(job).unwrap());
    new.max_attempts = J::MAX_ATTEMPTS;
    new.timeout = J::TIMEOUT;
    new
}

/// Inserts a job, changed before.
pub async fn insert_with<J: Job>(
    store: &dyn Store,
    job: J,
    change: impl FnOnce(&mut NewJob),
) -> JobId {
    let mut new = new(&job);
    change(&mut new);
    let inserted = store.insert(std::slice::from_ref(&new)).await.unwrap();
    assert_eq!(inserted, [Inserted::New(new.id)]);
    new.id
}

pub async fn insert<J: Job>(store: &dyn Store, job: J) -> JobId {
    insert_with(store, job, |_| {}).await
}

pub async fn get(store: &dyn Store, id: JobId) -> JobRecord {
    store.get(id).await.unwrap().expect("the job is there")
}

/// Whether Tokio's clock is paused.
fn is_paused() -> bool {
    let before = tokio::time::Instant::now();
    std::thread::sleep(Duration::from_millis(1));
    tokio::time::Instant::now() == before
}

/// Waits until a condition holds. The bound is no expectation, only an end for a broken test.
pub async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    // Each look costs real time, also where the time between two costs none.
    let step = Duration::from_millis(if is_paused() { 50 } else { 2 });
    let wait = async {
        while !condition().await {
            tokio::time::sleep(step).await;
        }
    };
    let bound = tokio::time::timeout(Duration::from_secs(600), wait);
    // In real time, ten minutes is too long to wait for a failure.
    let wall = std::time::Instant::now();
    tokio::pin!(bound);
    loop {
        tokio::select! {
            end = &mut bound => {
                assert!(end.is_ok(), "in vain: {what}");
                return;
            }
            () = tokio::time::sleep(Duration::from_secs(1)) => {
                assert!(wall.elapsed() < Duration::from_secs(120), "in vain: {what}");
            }
        }
    }
}

/// Waits until a job is in a state, and reads it.
pub async fn reaches(store: &dyn Store, id: JobId, state: State) -> JobRecord {
    until(&format!("job {id} becomes {state}"), || async {
        let job = get(store, id).await;
        assert!(
            job.state == state || !job.state.is_final(),
            "{} instead of {state}: {:?}",
            job.state,
            job.errors
        );
        job.state == state
    })
    .await;
    get(store, id).await
}
