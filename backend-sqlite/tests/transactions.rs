//! Host transactions beyond the conformance suite: those that the host began by a statement of its own, none at all, and
//! calls that end early.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use sqlx::{Connection as _, SqliteConnection};
use windlass_core::{
    Error, Inserted, NewJob, Queue, QueueChange, QueueName, Settled, State, StatsQuery, Store,
    Transactional, Wake,
};

use common::{claim, completed, host, job, kind, open, place, queue, worker};

async fn run(conn: &mut SqliteConnection, sql: &'static str) {
    sqlx::query(sql).execute(conn).await.unwrap();
}

async fn rows(conn: &mut SqliteConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM host").fetch_one(conn).await.unwrap()
}

async fn full_queue(backend: &windlass_sqlite::SqliteBackend) -> NewJob {
    let full = QueueName::new("full").unwrap();
    backend.configure_queue(&full, &QueueChange::default().max_depth(Some(0))).await.unwrap();
    NewJob::new(kind(), full, job().args)
}

#[tokio::test]
async fn a_transaction_begun_by_hand_commits_rows_and_jobs_together() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let mut conn = host(&path).await;
    run(&mut conn, "CREATE TABLE host (x)").await;
    run(&mut conn, "BEGIN IMMEDIATE").await;
    run(&mut conn, "INSERT INTO host VALUES (1)").await;
    let new = job();
    let answer = backend.insert_in(&mut conn, std::slice::from_ref(&new)).await.unwrap();
    assert_eq!(answer, [Inserted::New(new.id)]);
    // A call that fails takes back its own part and nothing of the host's.
    let refused = [job(), too_late()];
    let error = backend.insert_in(&mut conn, &refused).await.unwrap_err();
    assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
    assert_eq!(backend.get(new.id).await.unwrap(), None, "nothing is seen before the commit");
    run(&mut conn, "COMMIT").await;
    assert_eq!(rows(&mut conn).await, 1);
    assert!(backend.get(new.id).await.unwrap().is_some());
    assert_eq!(backend.get(refused[0].id).await.unwrap(), None);
}

/// A job that is refused only in the transaction: its start is too far ahead by the database's clock.
fn too_late() -> NewJob {
    let mut new = job();
    new.start = windlass_core::Start::At(windlass_core::Timestamp::MAX);
    new
}

#[tokio::test]
async fn a_transaction_begun_by_hand_rolls_back_rows_and_jobs_together() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    backend.insert(&[job()]).await.unwrap();
    let lease = claim(&backend, w, 1).await.remove(0);
    let before = backend.stats(&StatsQuery::default()).await.unwrap().counts;
    let mut conn = host(&path).await;
    run(&mut conn, "CREATE TABLE host (x)").await;
    run(&mut conn, "BEGIN IMMEDIATE").await;
    run(&mut conn, "INSERT INTO host VALUES (1)").await;
    let done = Settled::Applied { state: State::Completed };
    assert_eq!(backend.settle_in(&mut conn, &completed(&lease)).await.unwrap(), done);
    backend.insert_in(&mut conn, &[job(), job()]).await.unwrap();
    run(&mut conn, "ROLLBACK").await;
    assert_eq!(rows(&mut conn).await, 0);
    assert_eq!(backend.stats(&StatsQuery::default()).await.unwrap().counts, before);
    assert_eq!(backend.settle(&[completed(&lease)]).await.unwrap(), [done]);
}

#[tokio::test]
async fn without_a_transaction_a_call_is_one_of_its_own() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let mut conn = host(&path).await;
    let refused = [job(), full_queue(&backend).await];
    let error = backend.insert_in(&mut conn, &refused).await.unwrap_err();
    assert!(matches!(error, Error::QueueFull { .. }), "{error}");
    assert_eq!(backend.get(refused[0].id).await.unwrap(), None);
    let new = job();
    backend.insert_in(&mut conn, std::slice::from_ref(&new)).await.unwrap();
    assert!(backend.get(new.id).await.unwrap().is_some(), "committed at once");
    run(&mut conn, "BEGIN").await; // no transaction was left open
}

/// A future that is dropped at any of its waits has been applied or not, never by half, and the transaction goes on.
#[tokio::test]
async fn a_dropped_call_is_applied_or_not() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let mut conn = host(&path).await;
    run(&mut conn, "CREATE TABLE host (x)").await;
    let (mut calls, mut early) = (0, 0);
    // How far a poll gets is the driver's affair, which has a thread of its own: again until one was dropped in the middle that left nothing.
    for _ in 0..100 {
        let (mut finished, mut polls) = (false, 0);
        while !finished {
            let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.unwrap();
            let new = [job(), job()];
            finished = poll_times(backend.insert_in(&mut tx, &new), polls).await;
            run(&mut tx, "INSERT INTO host VALUES (1)").await;
            tx.commit().await.unwrap();
            let there = [0, 1].map(|n| backend.get(new[n].id));
            let [one, two] = there;
            let there = (one.await.unwrap().is_some(), two.await.unwrap().is_some());
            assert!(there.0 == there.1, "half of a call is there after {polls} polls");
            assert!(there.0 || !finished, "a call that ended left nothing");
            early += i32::from(!there.0 && polls > 0);
            (polls, calls) = (polls + 1, calls + 1);
            assert!(polls < 1_000, "the call never ends");
        }
        if early > 0 {
            break;
        }
    }
    assert!(early > 0, "no drop came early enough to show anything");
    assert_eq!(rows(&mut conn).await, calls);
    check_counts(&mut conn).await;
}

/// The counts kept by the way are those of the rows.
async fn check_counts(conn: &mut SqliteConnection) {
    let (kept, there): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT sum(jobs) FROM windlass_counts), (SELECT count(*) FROM windlass_records)",
    )
    .fetch_one(conn)
    .await
    .unwrap();
    assert_eq!(kept, there);
}

/// Polls a future so many times, each after it asked for it; answers whether it ended. Then drops it.
async fn poll_times<T>(future: impl Future<Output = T>, times: usize) -> bool {
    let mut future = std::pin::pin!(future);
    let mut left = times;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return std::task::Poll::Ready(false);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            std::task::Poll::Ready(_) => std::task::Poll::Ready(true),
            std::task::Poll::Pending if left == 0 => std::task::Poll::Ready(false),
            std::task::Poll::Pending => std::task::Poll::Pending,
        }
    })
    .await
}

/// The commit of the host's own connection in this very process wakes who waits.
#[tokio::test]
async fn the_hosts_commit_wakes_waiters_of_the_same_process() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    assert!(claim(&backend, w, 1).await.is_empty());
    let waiter = {
        let backend = backend.clone();
        tokio::spawn(async move { backend.wait(&[queue()], Duration::from_secs(60)).await })
    };
    let mut conn = host(&path).await;
    backend.insert_in(&mut conn, &[job()]).await.unwrap();
    assert_eq!(waiter.await.unwrap().unwrap(), Wake::Hint);
}

/// Settlements, heartbeats and maintenance that change nothing claimable wake nobody: an idle worker stays idle.
#[tokio::test]
async fn f34_what_makes_nothing_claimable_wakes_nobody() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    backend.insert(&[job(), job()]).await.unwrap();
    let leases = claim(&backend, w, 2).await;
    assert!(claim(&backend, w, 1).await.is_empty());
    let waiter = {
        let backend = backend.clone();
        tokio::spawn(async move { backend.wait(&[queue()], Duration::from_secs(60)).await })
    };
    for lease in &leases {
        backend.settle(&[completed(lease)]).await.unwrap();
        backend.heartbeat(w, &[]).await.unwrap();
        backend.maintain(100).await.unwrap();
        assert!(claim(&backend, w, 1).await.is_empty());
    }
    assert!(!waiter.is_finished());
    backend.insert(&[job()]).await.unwrap();
    assert_eq!(waiter.await.unwrap().unwrap(), Wake::Hint);
}

/// Calls that find nothing to do write nothing: the file stays as it is.
#[tokio::test]
async fn f34_idle_calls_write_nothing() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    let version = async |conn: &mut SqliteConnection| -> i64 {
        sqlx::query_scalar("PRAGMA data_version").fetch_one(conn).await.unwrap()
    };
    let mut conn = host(&path).await;
    let before = version(&mut conn).await;
    for _ in 0..20 {
        assert!(claim(&backend, w, 5).await.is_empty());
        backend.maintain(100).await.unwrap();
        backend.prune(&windlass_core::Retention::default(), 100).await.unwrap();
    }
    assert_eq!(version(&mut conn).await, before);
    backend.insert(&[job()]).await.unwrap();
    assert_ne!(version(&mut conn).await, before, "the check sees writes");
}
