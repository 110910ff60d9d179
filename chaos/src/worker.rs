//! A worker process: runs jobs until it is told to end, or killed.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use windlass::{
    AttemptOutcome, Client, Failure, FailureKind, LogLevel, Note, Record, Settlement, Worker,
    WorkerOptions,
};

use crate::Result;
use crate::history::History;
use crate::jobs::{self, App};
use crate::keys::Keys;
use crate::place::{self, Host};
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

/// Writes about what was held under a lease that is lost, and settles it, on purpose. A worker doesn't: it ends its handlers in time. But nobody can rely on
/// that, and so the store must refuse it, whatever the outcome, alone or among others, and in a transaction of the host's. The same goes for some of what was
/// settled: it counts once.
async fn insist(client: Client, host: Arc<Host>, history: History, keys: Keys) {
    let mut turn = 0_usize;
    loop {
        let mut late = Vec::new();
        let over = keys.over().await;
        let message = "written too late".to_owned();
        let notes = vec![Note::Log { level: LogLevel::Info, message }];
        let records: Vec<_> =
            over.iter().map(|(key, _)| Record::new(*key, notes.clone())).collect();
        let _ = client.backend().record(&records).await;
        for (key, kind) in over {
            turn += 1;
            if kind == "effect" && turn.is_multiple_of(2) && host.transactional() {
                // The recorder writes down what comes of it, here and below.
                let _ = host.insist(key, &history).await;
            } else {
                late.push(Settlement::new(key, outcome(turn, &kind)));
            }
        }
        if turn.is_multiple_of(2) {
            let _ = client.backend().settle(&late).await;
        } else {
            for one in late {
                for _ in 0..2 {
                    let _ = client.backend().settle(std::slice::from_ref(&one)).await;
                }
            }
        }
    }
}

/// An outcome of each sort in turn.
fn outcome(turn: usize, kind: &str) -> AttemptOutcome {
    let failure = Failure { kind: FailureKind::Error, message: "settled too late".into() };
    let delay = Duration::from_millis(100);
    match turn % 6 {
        // Nobody may have taken the job up, and then it counts: without what belongs to such a completion it would be wrong.
        0 if kind != "effect" && kind != "parent" => {
            AttemptOutcome::Completed { result: None, blobs: Vec::new() }
        }
        1 => AttemptOutcome::Discarded { failure },
        2 => AttemptOutcome::Cancelled { failure },
        3 => AttemptOutcome::Snoozed { delay },
        4 => AttemptOutcome::Released,
        _ => AttemptOutcome::Retry { delay, failure },
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
    let host = Arc::new(host);
    tokio::spawn(insist(client.clone(), host.clone(), history.clone(), keys.clone()));
    let app = App { history, keys, host };
    let worker = jobs::worker(Worker::new(&client), app).options(options);
    let ended = async {
        tokio::select! {
            _ = end.recv() => {}
            () = task::orphaned() => {}
        }
    };
    Ok(worker.run_until(ended).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_its_turn_and_none_completes_without_what_belongs_to_it() {
        let found: Vec<_> =
            (0..6).map(|turn| std::mem::discriminant(&outcome(turn, "plain"))).collect();
        assert!((1..6).all(|n| !found[..n].contains(&found[n])), "{found:?}");
        let completes = |kind| {
            (0..6).any(|turn| matches!(outcome(turn, kind), AttemptOutcome::Completed { .. }))
        };
        assert_eq!(
            [completes("plain"), completes("effect"), completes("parent")],
            [true, false, false]
        );
    }
}
