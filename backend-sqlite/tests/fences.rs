//! Each part of the fence counts by itself: a key that is wrong in one of them changes nothing. What the library never
//! writes (a job that waits under a claim id) is written past it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{claim, completed, host, job, open, place, worker};
use windlass_core::{
    ClaimId, Epoch, Heartbeat, JobId, LeaseKey, LogLevel, Note, Queue, Record, Recorded, Settled,
    State, Store,
};
use windlass_sqlite::SqliteBackend;

async fn set_state(path: &std::path::Path, job: JobId, state: State) {
    let query = sqlx::query("UPDATE windlass_jobs SET state = ? WHERE id = ?");
    let query = query.bind(state.code()).bind(job.as_bytes().to_vec());
    assert_eq!(query.execute(&mut host(path).await).await.unwrap().rows_affected(), 1);
}

fn wrong(key: LeaseKey) -> [LeaseKey; 4] {
    [
        LeaseKey { epoch: Epoch(key.epoch.0 + 1), ..key },
        LeaseKey { epoch: Epoch(key.epoch.0 - 1), ..key },
        LeaseKey { claim_id: ClaimId::new(), ..key },
        LeaseKey { job: JobId::new(), ..key },
    ]
}

async fn settle(backend: &SqliteBackend, lease: &windlass_core::Lease, key: LeaseKey) -> Settled {
    let mut settlement = completed(lease);
    settlement.key = key;
    backend.settle(&[settlement]).await.unwrap().remove(0)
}

async fn record(backend: &SqliteBackend, key: LeaseKey) -> Recorded {
    let notes = vec![Note::Log { level: LogLevel::Info, message: "line".into() }];
    backend.record(&[Record::new(key, notes)]).await.unwrap().remove(0)
}

#[tokio::test]
async fn f01_a_key_that_is_wrong_in_one_part_changes_nothing() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    backend.insert(&[job()]).await.unwrap();
    let lease = claim(&backend, w, 1).await.remove(0);
    for key in wrong(lease.key) {
        assert_eq!(settle(&backend, &lease, key).await, Settled::Lost, "{key:?}");
        assert_eq!(record(&backend, key).await, Recorded::Lost, "{key:?}");
        let Heartbeat::Alive { lost, orphaned, .. } = backend.heartbeat(w, &[key]).await.unwrap()
        else {
            panic!("the lease has not run out")
        };
        assert_eq!((lost, orphaned), (vec![key], vec![lease.key]));
    }
    let state = State::Completed;
    assert_eq!(settle(&backend, &lease, lease.key).await, Settled::Applied { state });
    for key in wrong(lease.key) {
        assert_eq!(settle(&backend, &lease, key).await, Settled::Lost, "{key:?}");
    }
    assert_eq!(settle(&backend, &lease, lease.key).await, Settled::Already { state });
}

#[tokio::test]
async fn f01_only_a_running_job_has_an_owner() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    backend.insert(&[job()]).await.unwrap();
    let lease = claim(&backend, w, 1).await.remove(0);
    for state in [State::Available, State::Scheduled, State::Retryable] {
        set_state(&path, lease.key.job, state).await;
        assert_eq!(settle(&backend, &lease, lease.key).await, Settled::Lost, "{state:?}");
        assert_eq!(record(&backend, lease.key).await, Recorded::Lost, "{state:?}");
        let beat = backend.heartbeat(w, &[lease.key]).await.unwrap();
        let lost = vec![lease.key];
        let expected = Heartbeat::Alive { lost, cancel: Vec::new(), orphaned: Vec::new() };
        assert_eq!(beat, expected, "{state:?}");
    }
}
