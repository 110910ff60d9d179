//! Transactions of hosts and of others, as they meet the library's.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{LOCK_WAITS, Place, claim, completed, job, ms, worker};
use sqlx::Connection;
use windlass_core::{
    Error, Inserted, NewJob, Queue, Settled, State, Store, Transactional, Unique, UniqueKey,
    UniqueUntil, WorkerInfo,
};

fn unique_job() -> NewJob {
    let mut job = job();
    let key = UniqueKey::new("key").unwrap();
    job.unique =
        Some(Unique { key, until: UniqueUntil::Finished, on_conflict: Default::default() });
    job
}

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

/// Between the look that finds a holder lost and the lock on its row, others may have rescued it and a live worker may have claimed it.
#[tokio::test(flavor = "multi_thread")]
async fn f01_a_holder_that_was_taken_up_again_is_left_to_its_worker() {
    let place = Place::new().await;
    let backend = place.open().await;
    let holder = unique_job();
    backend.insert(std::slice::from_ref(&holder)).await.unwrap();
    let brief = WorkerInfo::new("brief", ms(1), vec![common::queue()]);
    backend.register(&brief).await.unwrap();
    while claim_quietly(&backend, brief.id).await {
        // Its lease may have run out already: again with one that is quick enough.
        sqlx::query("UPDATE windlass.workers SET expires_at = windlass.now() + 200000")
            .execute(&mut place.host().await)
            .await
            .unwrap();
    }
    place
        .until("SELECT count(*) FROM windlass.workers WHERE expires_at > windlass.now()", "0")
        .await;
    let live = worker(&backend).await;
    let mut other = place.host().await;
    let mut tx = other.begin().await.unwrap();
    sqlx::query(
        "UPDATE windlass.jobs SET worker = $1, epoch = epoch + 2, claim_id = gen_random_uuid()",
    )
    .bind(*live.as_uuid())
    .execute(&mut *tx)
    .await
    .unwrap();
    let inserting = tokio::spawn({
        let backend = backend.clone();
        async move { backend.insert(&[unique_job()]).await.unwrap() }
    });
    place.until(LOCK_WAITS, "1").await;
    tx.commit().await.unwrap();
    assert_eq!(inserting.await.unwrap(), [Inserted::Duplicate { existing: holder.id }]);
    let kept = backend.get(holder.id).await.unwrap().unwrap();
    assert_eq!((kept.state, kept.worker, kept.crashes), (State::Running, Some(live), 0));
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

/// Whether nothing was claimed.
async fn claim_quietly(
    backend: &windlass_postgres::PostgresBackend,
    w: windlass_core::WorkerId,
) -> bool {
    match backend.claim(&common::request(w, 1)).await {
        Ok(claimed) => claimed.leases.is_empty(),
        Err(Error::WorkerExpired { .. }) => true,
        Err(error) => panic!("{error:?}"),
    }
}
