//! A worker process: runs jobs until it is told to end, or killed.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use windlass::{AttemptOutcome, Client, Failure, FailureKind, Settlement, Worker, WorkerOptions};

use crate::Result;
use crate::history::History;
use crate::jobs::{self, App};
use crate::keys::Keys;
use crate::place;
use crate::task::{self, CALL, GRACE, HEARTBEAT, LEASE, SWEEP, Task};

/// Between two tries to open the backend.
const PAUSE: Duration = Duration::from_millis(200);

fn options(o: &mut WorkerOptions) {
    (o.lease, o.heartbeat, o.grace) = (LEASE, HEARTBEAT, GRACE);
    (o.maintenance, o.quarantine) = (SWEEP, 3 * SWEEP);
    (o.poll_min, o.poll_max) = (Duration::from_millis(20), Duration::from_millis(250));
    (o.drain, o.flush) = (Duration::from_secs(2), Duration::from_secs(3));
    (o.call_timeout, o.notes) = (CALL, Duration::from_millis(100));
    // All is evidence.
    o.retention = None;
}

/// Settles on purpose what was held under a lease that is lost. A worker doesn't: it ends its handlers in time. But nobody can rely on
/// that, and so the store must refuse it.
async fn insist(client: Client, keys: Keys) {
    loop {
        for key in keys.lost().await {
            let failure = Failure { kind: FailureKind::Error, message: "settled too late".into() };
            let delay = Duration::from_millis(100);
            let late = Settlement::new(key, AttemptOutcome::Retry { delay, failure });
            // The recorder writes down what comes of it.
            let _ = client.backend().settle(&[late]).await;
        }
    }
}

/// Runs a worker until SIGTERM, or until the conductor is gone.
pub async fn run(task: Task) -> Result<()> {
    task::end_with_parent()?;
    let history = History::begin(&task.histories, &task.name)?;
    let keys = Keys::default();
    let mut end = signal(SignalKind::terminate())?;
    let open = async {
        loop {
            match place::open(&task.url, &history, &keys).await {
                Ok(opened) => break opened,
                Err(error) => eprintln!("can't open the backend: {error:?}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    };
    let (client, host) = tokio::select! {
        opened = open => opened,
        _ = end.recv() => return Ok(()),
        () = task::orphaned() => return Ok(()),
    };
    tokio::spawn(insist(client.clone(), keys.clone()));
    let app = App { history, keys, host: Arc::new(host) };
    let worker = jobs::worker(Worker::new(&client), app).options(options);
    let ended = async {
        tokio::select! {
            _ = end.recv() => {}
            () = task::orphaned() => {}
        }
    };
    Ok(worker.run_until(ended).await?)
}
