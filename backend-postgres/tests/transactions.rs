//! Transactions of hosts and of others, as they meet the library's.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Place, claim, completed, job, unique_job, worker};
use sqlx::Connection;
use windlass_core::{Error, Inserted, Queue, Settled, State, Store, Transactional};

/// An older snapshot would hide that a job was finished meanwhile, and it would be stored, and run, twice.
#[tokio::test]
async fn snapshots_older_than_the_statement_are_refused() {
    let place = Place::new().await;
    let backend = place.open().await;
    let mut host = place.host().await;
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let new = job();
        let begin = format!("BEGIN ISOLATION LEVEL {level}");
        let mut tx = host.begin_with(sqlx::AssertSqlSafe(begin)).await.unwrap();
        sqlx::query("SELECT 1").execute(&mut *tx).await.unwrap();
        // Added and finished by others, behind the snapshot's back.
        backend.insert(std::slice::from_ref(&new)).await.unwrap();
        let w = worker(&backend).await;
        let leases = claim(&backend, w, 1).await;
        backend.settle(&[completed(&leases[0])]).await.unwrap();
        let error = backend.insert_in(&mut tx, std::slice::from_ref(&new)).await.unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
        assert!(error.to_string().contains("READ COMMITTED"), "{error}");
        sqlx::query("SELECT 1").execute(&mut *tx).await.expect("the transaction is usable");
        tx.commit().await.unwrap();
        assert_eq!(backend.get(new.id).await.unwrap().unwrap().state, State::Completed);
    }
}

/// What a host takes back with a savepoint of its own never was, whatever it commits around it.
#[tokio::test]
async fn f01_a_savepoint_that_is_taken_back_leaves_nothing() {
    let place = Place::new().await;
    let backend = place.open().await;
    let w = worker(&backend).await;
    backend.insert(&[job()]).await.unwrap();
    let lease = claim(&backend, w, 1).await.remove(0);
    let mut host = place.host().await;
    let mut outer = host.begin().await.unwrap();
    let (kept, dropped) = (job(), unique_job());
    backend.insert_in(&mut outer, std::slice::from_ref(&kept)).await.unwrap();
    let mut inner = outer.begin().await.unwrap();
    let inserted = backend.insert_in(&mut inner, std::slice::from_ref(&dropped)).await.unwrap();
    assert_eq!(inserted, [Inserted::New(dropped.id)]);
    let settled = backend.settle_in(&mut inner, &completed(&lease)).await.unwrap();
    assert_eq!(settled, Settled::Applied { state: State::Completed });
    inner.rollback().await.unwrap();
    outer.commit().await.unwrap();
    assert_eq!(backend.get(kept.id).await.unwrap().unwrap().state, State::Available);
    assert_eq!(backend.get(dropped.id).await.unwrap(), None);
    assert_eq!(backend.get(lease.key.job).await.unwrap().unwrap().state, State::Running);
    // The key is free, and the job is still its worker's to complete.
    let again = unique_job();
    let inserted = backend.insert(std::slice::from_ref(&again)).await.unwrap();
    assert_eq!(inserted, [Inserted::New(again.id)]);
    let settled = backend.settle(&[completed(&lease)]).await.unwrap();
    assert_eq!(settled, [Settled::Applied { state: State::Completed }]);
}
