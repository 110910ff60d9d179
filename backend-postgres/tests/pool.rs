//! Whose connections calls use, and what becomes of them after.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{Place, job, until};
use futures_util::future::join_all;
use windlass_core::{Backend, Error, Store};
use windlass_postgres::PostgresBackend;

/// The one that a call gave back is there for the next, which neither waits for it nor opens another.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_follow_each_other_share_a_connection() {
    let place = Place::new().await;
    let backend = PostgresBackend::open(place.options().notify(false)).await.unwrap();
    for _ in 0..50 {
        let job = job();
        backend.insert(std::slice::from_ref(&job)).await.unwrap();
        assert!(backend.get(job.id).await.unwrap().is_some());
    }
    let figures = backend.pool_figures();
    assert_eq!((figures.size, figures.idle, figures.in_use), (1, 1, 0));
}

/// Whoever waits gets the next one that is free, and there are never more than were allowed.
#[tokio::test(flavor = "multi_thread")]
async fn many_calls_share_few_connections() {
    let place = Place::new().await;
    let options = place.options().notify(false).connections(2);
    let backend = PostgresBackend::open(options).await.unwrap();
    let job = job();
    backend.insert(std::slice::from_ref(&job)).await.unwrap();
    for _ in 0..20 {
        for found in join_all((0..20).map(|_| backend.get(job.id))).await {
            assert!(found.unwrap().is_some());
        }
    }
    let figures = backend.pool_figures();
    assert_eq!((figures.size, figures.idle, figures.waiting), (2, 2, 0));
}

/// One that broke is not given to the next call for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_lost_is_not_kept() {
    let place = Place::new().await;
    let backend = PostgresBackend::open(place.options().notify(false)).await.unwrap();
    let job = job();
    backend.insert(std::slice::from_ref(&job)).await.unwrap();
    place
        .execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        .await;
    // The call that meets it is told; one after it finds another.
    until(async || match backend.get(job.id).await {
        Ok(found) => found.is_some(),
        Err(error) => {
            assert!(error.is_transient(), "{error:?}");
            false
        }
    })
    .await;
}

/// Those that were kept are closed as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_backend_has_no_connections() {
    let place = Place::new().await;
    let backend = PostgresBackend::open(place.options()).await.unwrap();
    backend.insert(&[job()]).await.unwrap();
    backend.close().await.unwrap();
    assert_eq!(backend.pool_figures().size, 0);
    assert!(matches!(backend.get(job().id).await.unwrap_err(), Error::Closed(_)));
}

/// There is nobody any more who could give connections back.
#[test]
fn a_backend_may_be_dropped_after_its_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let backend = runtime.block_on(async {
        let backend = Place::new().await.open().await;
        backend.insert(&[job()]).await.unwrap();
        backend
    });
    drop(runtime);
    drop(backend);
}
