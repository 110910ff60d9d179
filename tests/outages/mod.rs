//! A worker that lives through outages, and what must be true of its jobs afterwards.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use windlass::{Backend, Client, Context, Handle, Job, Outcome, State, Worker, WorkerOptions};

const PATIENCE: Duration = Duration::from_secs(90);

#[derive(Job, Serialize, Deserialize)]
#[job(kind = "task", max_attempts = 2)]
pub(crate) struct Task(pub(crate) u32);

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "in vain: {what}");
}

/// A lease that runs out during a test, and quick looks.
pub(crate) fn short(o: &mut WorkerOptions, lease: Duration) {
    (o.lease, o.heartbeat) = (lease, lease / 6);
    (o.maintenance, o.poll_max) = (Duration::from_millis(100), Duration::from_millis(200));
    o.retention = None;
}

/// A worker that counts its runs.
pub(crate) fn worker<C: Into<Client>>(
    client: C,
    runs: &Arc<AtomicUsize>,
    lease: Duration,
    slots: u32,
) -> Worker {
    let runs = runs.clone();
    let run = move |_: Task, _: Context| {
        runs.fetch_add(1, Ordering::Relaxed);
        async { Outcome::Ok(()) }
    };
    Worker::new(client).options(|o| short(o, lease)).register(run).queue("default", slots)
}

/// Every job completed in its first attempt, and ran once.
pub(crate) async fn all_ran_once<B: Backend + ?Sized>(
    jobs: &[Handle<Task, B>],
    runs: &AtomicUsize,
) {
    for job in jobs {
        until("a job ends", async || {
            job.record().await.is_ok_and(|job| job.unwrap().state.is_final())
        })
        .await;
        let job = job.record().await.unwrap().unwrap();
        assert_eq!((job.state, job.attempt, job.crashes), (State::Completed, 1, 0));
    }
    assert_eq!(runs.load(Ordering::Relaxed), jobs.len());
}
