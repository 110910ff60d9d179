//! Each part of the fence counts by itself: a key that is wrong in one of them changes nothing. What the library never
//! writes (a job that waits under a claim id) is written past it.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;

use common::{claim, completed, host, job, open, place, worker};
use windlass_core::{
    AttemptOutcome, ClaimId, Epoch, Heartbeat, JobId, Lease, LeaseKey, LogLevel, Note, Queue,
    Record, Recorded, Settled, Settlement, State, Store, WorkerId,
};
use windlass_sqlite::SqliteBackend;

async fn set_state(path: &Path, job: JobId, state: State) {
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

/// Settles under a key; beside the damaged job, if there is one, whose own settlement is refused.
async fn settle(backend: &SqliteBackend, leases: &[Lease], key: LeaseKey) -> Settled {
    let refused = |lease: &Lease| {
        let mut settlement = Settlement::new(lease.key, AttemptOutcome::Released);
        settlement.follow_ups = vec![job()];
        settlement
    };
    let mut batch: Vec<Settlement> = leases[1..].iter().map(refused).collect();
    let mut settlement = completed(&leases[0]);
    settlement.key = key;
    batch.push(settlement);
    backend.settle(&batch).await.unwrap().pop().unwrap()
}

/// Records under a key; beside the damaged job, if there is one.
async fn record(backend: &SqliteBackend, leases: &[Lease], key: LeaseKey) -> Recorded {
    let note = || vec![Note::Log { level: LogLevel::Info, message: "line".into() }];
    let keys = leases[1..].iter().map(|lease| lease.key).chain([key]);
    let batch: Vec<Record> = keys.map(|key| Record::new(key, note())).collect();
    backend.record(&batch).await.unwrap().pop().unwrap()
}

/// A running job; and a second one with a column that JSON can't hold, so that both are read in another way, under the
/// same fence.
async fn running(backend: &SqliteBackend, path: &Path, w: WorkerId, damaged: bool) -> Vec<Lease> {
    backend.insert(&if damaged { vec![job(), job()] } else { vec![job()] }).await.unwrap();
    let leases = claim(backend, w, 2).await;
    for lease in &leases[1..] {
        let query = sqlx::query("UPDATE windlass_jobs SET errors = x'ff' WHERE id = ?");
        let query = query.bind(lease.key.job.as_bytes().to_vec());
        assert_eq!(query.execute(&mut host(path).await).await.unwrap().rows_affected(), 1);
    }
    leases
}

#[tokio::test]
async fn f01_a_key_that_is_wrong_in_one_part_changes_nothing() {
    wrong_keys(false).await;
}

#[tokio::test]
async fn f01_a_key_that_is_wrong_in_one_part_changes_nothing_beside_a_damaged_job() {
    wrong_keys(true).await;
}

async fn wrong_keys(damaged: bool) {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    let leases = running(&backend, &path, w, damaged).await;
    let right = leases[0].key;
    for key in wrong(right) {
        assert_eq!(settle(&backend, &leases, key).await, Settled::Lost, "{key:?}");
        assert_eq!(record(&backend, &leases, key).await, Recorded::Lost, "{key:?}");
        let owned: Vec<LeaseKey> = leases[1..].iter().map(|lease| lease.key).chain([key]).collect();
        let Heartbeat::Alive { lost, orphaned, .. } = backend.heartbeat(w, &owned).await.unwrap()
        else {
            panic!("the lease has not run out")
        };
        assert_eq!((lost, orphaned), (vec![key], vec![right]));
    }
    let state = State::Completed;
    assert_eq!(settle(&backend, &leases, right).await, Settled::Applied { state });
    for key in wrong(right) {
        assert_eq!(settle(&backend, &leases, key).await, Settled::Lost, "{key:?}");
    }
    assert_eq!(settle(&backend, &leases, right).await, Settled::Already { state });
}

#[tokio::test]
async fn f01_only_a_running_job_has_an_owner() {
    only_running(false).await;
}

#[tokio::test]
async fn f01_only_a_running_job_has_an_owner_beside_a_damaged_one() {
    only_running(true).await;
}

async fn only_running(damaged: bool) {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    let leases = running(&backend, &path, w, damaged).await;
    let key = leases[0].key;
    for state in [State::Available, State::Scheduled, State::Retryable] {
        set_state(&path, key.job, state).await;
        assert_eq!(settle(&backend, &leases, key).await, Settled::Lost, "{state:?}");
        assert_eq!(record(&backend, &leases, key).await, Recorded::Lost, "{state:?}");
        let owned: Vec<LeaseKey> = leases.iter().map(|lease| lease.key).collect();
        let beat = backend.heartbeat(w, &owned).await.unwrap();
        let expected = Heartbeat::Alive { lost: vec![key], cancel: vec![], orphaned: vec![] };
        assert_eq!(beat, expected, "{state:?}");
    }
}
