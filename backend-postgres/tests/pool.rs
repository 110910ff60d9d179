//! Whose connections calls use, and what becomes of them after.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{LOCK_WAITS, Place, job, until};
use futures_util::future::join_all;
use sqlx::Connection as _;
use windlass_core::{Backend, Change, ChangeRequest, Error, Selector, Store};
use windlass_postgres::{PostgresBackend, PostgresOptions};
use windlass_test_servers::{Proxy, Stall};

/// The server processes that the database's sessions have, but for the one that asks.
const PIDS: &str = "SELECT coalesce(string_agg(pid::text, ' ' ORDER BY pid), '') FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";

/// The one that a call gave back is there for the next, which neither waits for it nor opens another. On a machine that stands still for a second in
/// between it may be otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_follow_each_other_share_a_connection() {
    let place = Place::new().await;
    let backend = PostgresBackend::open(place.options().notify(false)).await.unwrap();
    until(async || {
        let before = place.value(PIDS).await;
        for _ in 0..10 {
            let job = job();
            backend.insert(std::slice::from_ref(&job)).await.unwrap();
            assert!(backend.get(job.id).await.unwrap().is_some());
        }
        let figures = backend.pool_figures();
        let figures = (figures.size, figures.idle, figures.in_use);
        figures == (1, 1, 0) && place.value(PIDS).await == before
    })
    .await;
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
        assert!(backend.pool_figures().size <= 2);
    }
    // Those that nobody uses are asked by the driver now and then, and are in use meanwhile.
    until(async || {
        let figures = backend.pool_figures();
        figures.idle == figures.size && figures.waiting == 0
    })
    .await;
}

/// A firewall that swallows what is sent: connections on their way back to the pool hold no place for as long as the network waits, neither against calls
/// nor against the end.
#[tokio::test(flavor = "multi_thread")]
async fn connections_that_get_no_answer_keep_no_place() {
    let place = Place::new().await;
    let proxy = Proxy::start(place.server.port()).await.unwrap();
    let url = place.server.at_port(proxy.port()).url(&place.database);
    let options = PostgresOptions::from_url(&url).unwrap().notify(false).listen(false);
    // Long enough for a slow machine; the network would wait for longer still.
    let options = options.connections(2).acquire_timeout(Duration::from_secs(60));
    let backend = PostgresBackend::open(options).await.unwrap();
    let both = || join_all((0..20).map(|_| backend.get(job().id)));
    until(async || {
        assert!(both().await.into_iter().all(|found| found.is_ok()));
        backend.pool_figures().size == 2
    })
    .await;
    for again in [true, false] {
        proxy.stall_open(Stall::All);
        // They have become stale, and go back to the pool.
        until(async || backend.pool_figures().idle == 0).await;
        if again {
            assert!(backend.get(job().id).await.unwrap().is_none());
        }
    }
    let closed = tokio::time::timeout(Duration::from_secs(60), backend.close()).await;
    closed.expect("the end comes").unwrap();
    assert_eq!(backend.pool_figures().size, 0);
}

/// What is under way on their connections nobody knows, and it may last: they are in nobody's way.
#[tokio::test(flavor = "multi_thread")]
async fn calls_that_were_given_up_leave_their_places() {
    let place = Place::new().await;
    let options = place.options().notify(false).listen(false).connections(2);
    let backend = PostgresBackend::open(options).await.unwrap();
    let job = job();
    backend.insert(std::slice::from_ref(&job)).await.unwrap();
    let mut host = place.host().await;
    let mut transaction = host.begin().await.unwrap();
    sqlx::query("SELECT FROM windlass.jobs FOR UPDATE").execute(&mut *transaction).await.unwrap();
    let request = ChangeRequest::new(Selector::Ids(vec![job.id]), Change::Delete);
    let calls = [0; 2].map(|_| {
        let (backend, request) = (backend.clone(), request.clone());
        tokio::spawn(async move { backend.change(&request).await })
    });
    place.until(LOCK_WAITS, "2").await;
    for call in calls {
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
    }
    assert!(backend.get(job.id).await.unwrap().is_some());
    // The server sees that nobody waits for them once they go on.
    assert_eq!(place.value(LOCK_WAITS).await, "2");
    transaction.rollback().await.unwrap();
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
