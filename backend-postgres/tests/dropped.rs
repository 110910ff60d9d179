//! Calls on the host's connection whose future is dropped before its end: a `select!`, a time-out, a client that hangs up. Whatever the host then does,
//! its transaction holds the whole of the call or nothing of it, and a commit that succeeds has committed the host's own writes.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use common::{Place, claim, completed, job, worker};
use sqlx::{Connection, Executor, PgConnection};
use windlass_core::{
    Error, NewJob, OnConflict, Settlement, Transactional, Unique, UniqueKey, UniqueUntil,
};
use windlass_postgres::PostgresBackend;

/// More polls than a call takes.
const POINTS: u32 = 24;

/// Polls a future so many times that it was pending, then drops it. Whether it ended before.
async fn dropped_after(polls: u32, future: impl Future) -> bool {
    let mut future = pin!(future);
    let mut pending = 0;
    poll_fn(move |cx| match future.as_mut().poll(cx) {
        Poll::Ready(_) => Poll::Ready(true),
        Poll::Pending if pending == polls => Poll::Ready(false),
        Poll::Pending => {
            pending += 1;
            Poll::Pending
        }
    })
    .await
}

fn unique(n: u32) -> NewJob {
    let mut job = job();
    let key = UniqueKey::new(format!("key-{n}")).unwrap();
    let (until, on_conflict) = (UniqueUntil::Finished, OnConflict::Keep);
    job.unique = Some(Unique { key, until, on_conflict });
    job
}

async fn put(conn: &mut PgConnection, text: &str) -> sqlx::Result<()> {
    let query = sqlx::query("INSERT INTO host (text) VALUES ($1)").bind(text.to_owned());
    query.execute(conn).await.map(drop)
}

/// What the host does after it gave a call up, as if nothing had been.
async fn goes_on(mut tx: sqlx::Transaction<'_, sqlx::Postgres>) -> sqlx::Result<()> {
    put(&mut tx, "after").await?;
    tx.commit().await
}

async fn host_rows(place: &Place) -> String {
    place.value("SELECT coalesce(string_agg(text, ',' ORDER BY text), '') FROM host").await
}

async fn place() -> (Place, PostgresBackend) {
    let place = Place::new().await;
    let backend = place.open().await;
    place.execute("CREATE TABLE host (text text)").await;
    (place, backend)
}

/// Calls `attempt`, which drops a call after so many polls, with more polls each time. How many points that are depends on how fast the server answers.
async fn each_point(mut attempt: impl AsyncFnMut(u32) -> bool) {
    let mut dropped = 0;
    for polls in 0..POINTS {
        dropped += u32::from(!attempt(polls).await);
    }
    assert!(dropped > 0, "no call was dropped before its end");
}

#[tokio::test]
async fn an_insert_in_the_hosts_transaction_is_whole_or_nothing() {
    let (place, backend) = place().await;
    for nested in [false, true] {
        each_point(async |polls| {
            let mut host = place.host().await;
            let mut tx = host.begin().await.unwrap();
            put(&mut tx, "before").await.unwrap();
            let ended = if nested {
                let mut inner = tx.begin().await.unwrap();
                let ended =
                    dropped_after(polls, backend.insert_in(&mut inner, &[unique(polls)])).await;
                let kept = inner.commit().await;
                ended && kept.is_ok()
            } else {
                dropped_after(polls, backend.insert_in(&mut tx, &[unique(polls)])).await
            };
            let committed = goes_on(tx).await;
            let jobs = place.value("SELECT count(*)::text FROM windlass.jobs").await;
            let all = place
                .value(
                    "SELECT concat_ws(' ', (SELECT count(*) FROM windlass.unique_keys), (SELECT sum(jobs) FROM windlass.counts), \
                     (SELECT count(*) FROM windlass.events))",
                )
                .await;
            let rows = host_rows(&place).await;
            match committed {
                Ok(()) => assert_eq!(rows, "after,before", "{polls}"),
                Err(_) => assert_eq!((rows.as_str(), jobs.as_str()), ("", "0"), "{polls}"),
            }
            match jobs.as_str() {
                "0" => assert!(!ended && ["0 0", "0 0 0"].contains(&all.as_str()), "{polls}: {all}"),
                _ => assert_eq!((jobs.as_str(), all.as_str()), ("1", "1 1 1"), "{polls}"),
            }
            place
                .execute("DELETE FROM host; DELETE FROM windlass.jobs; DELETE FROM windlass.unique_keys; \
                     DELETE FROM windlass.counts; DELETE FROM windlass.events")
                .await;
            ended
        })
        .await;
    }
}

#[tokio::test]
async fn a_completion_in_the_hosts_transaction_is_whole_or_nothing() {
    let (place, backend) = place().await;
    let w = worker(&backend).await;
    each_point(async |polls| {
        use windlass_core::Store;
        backend.insert(&[unique(polls)]).await.unwrap();
        let leases = claim(&backend, w, 1).await;
        let mut settlement: Settlement = completed(&leases[0]);
        settlement.follow_ups = vec![job()];
        let mut host = place.host().await;
        let mut tx = host.begin().await.unwrap();
        put(&mut tx, "before").await.unwrap();
        let ended = dropped_after(polls, backend.settle_in(&mut tx, &settlement)).await;
        let committed = goes_on(tx).await;
        let state = "SELECT concat_ws(' ', (SELECT count(*) FROM windlass.jobs WHERE state = 3), (SELECT count(*) FROM windlass.finished), \
             (SELECT count(*) FROM windlass.jobs WHERE state = 2), (SELECT count(*) FROM windlass.unique_keys))";
        let state = place.value(state).await;
        let rows = host_rows(&place).await;
        match committed {
            Ok(()) => assert_eq!(rows, "after,before", "{polls}"),
            Err(_) => assert_eq!((rows.as_str(), state.as_str()), ("", "1 0 0 1"), "{polls}"),
        }
        let whole = state == "0 1 1 0";
        assert!(whole || !ended && state == "1 0 0 1", "{polls}: {state}");
        place
            .execute("DELETE FROM host; DELETE FROM windlass.jobs; DELETE FROM windlass.finished; DELETE FROM windlass.unique_keys")
            .await;
        ended
    })
    .await;
}

/// Of such a transaction the driver knows nothing, and nobody could take back what a dropped call left in it.
#[tokio::test]
async fn a_transaction_that_was_begun_by_hand_is_refused_and_stays_usable() {
    let (place, backend) = place().await;
    let w = worker(&backend).await;
    windlass_core::Store::insert(&backend, &[job()]).await.unwrap();
    let leases = claim(&backend, w, 1).await;
    for polls in 0..4 {
        let mut host = place.host().await;
        host.execute("BEGIN").await.unwrap();
        put(&mut host, "before").await.unwrap();
        dropped_after(polls, backend.insert_in(&mut host, &[unique(polls)])).await;
        let settled = backend.settle_in(&mut host, &completed(&leases[0])).await.unwrap_err();
        let inserted = backend.insert_in(&mut host, &[unique(polls)]).await.unwrap_err();
        for error in [settled, inserted] {
            assert!(matches!(error, Error::Invalid { .. }), "{error:?}");
            assert!(error.to_string().contains("begin"), "{error}");
        }
        put(&mut host, "after").await.unwrap();
        host.execute("COMMIT").await.unwrap();
        assert_eq!(host_rows(&place).await, "after,before");
        place.execute("DELETE FROM host").await;
        assert_eq!(place.value("SELECT count(*)::text FROM windlass.jobs").await, "1");
    }
}

/// As the server has it: after a failure nothing is written until the host rolls back, and its commit is none.
#[tokio::test]
async fn a_transaction_that_failed_stays_so() {
    let (place, backend) = place().await;
    let mut host = place.host().await;
    let mut tx = host.begin().await.unwrap();
    put(&mut tx, "before").await.unwrap();
    tx.execute("SELECT 1 / 0").await.unwrap_err();
    backend.insert_in(&mut tx, &[job()]).await.unwrap_err();
    put(&mut tx, "after").await.unwrap_err();
    tx.commit().await.unwrap();
    assert_eq!(host_rows(&place).await, "");
    assert_eq!(place.value("SELECT count(*)::text FROM windlass.jobs").await, "0");
}
