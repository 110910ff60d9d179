//! The host's own transactions, begun in SQLite's default way, beside others that write.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{PATIENCE, job, open, place};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use sqlx::{Connection as _, SqlitePool};
use windlass_core::{Store as _, Transactional as _};

async fn pool(path: &std::path::Path) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE);
    SqlitePool::connect_with(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn f43_a_plain_transaction_waits_for_a_busy_writer() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let pool = pool(&path).await;
    let stop = Arc::new(AtomicBool::new(false));
    let busy: Vec<_> = (0..4)
        .map(|_| {
            let (backend, stop) = (backend.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    backend.insert(&[job()]).await.unwrap();
                }
            })
        })
        .collect();
    let mut failed = Vec::new();
    for _ in 0..100 {
        let mut tx = pool.begin().await.unwrap();
        match backend.insert_in(&mut tx, &[job()]).await {
            Ok(_) => tx.commit().await.unwrap(),
            Err(error) => failed.push(error),
        }
    }
    stop.store(true, Ordering::Relaxed);
    for task in busy {
        task.await.unwrap();
    }
    assert!(failed.is_empty(), "{} failed: {:?}", failed.len(), failed[0]);
}

/// The host itself had read, and another has written since: nothing helps but to begin anew, and the error says so.
#[tokio::test]
async fn f43_a_transaction_that_has_read_too_early_is_told_the_way_out() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let pool = pool(&path).await;
    let mut tx = pool.begin().await.unwrap();
    let read: i64 =
        sqlx::query_scalar("SELECT count(*) FROM windlass_jobs").fetch_one(&mut *tx).await.unwrap();
    assert_eq!(read, 0);
    backend.insert(&[job()]).await.unwrap();
    let error = backend.insert_in(&mut tx, &[job()]).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let source = error.source().unwrap().to_string();
    assert!(source.contains("BEGIN IMMEDIATE"), "{source}");
    tx.rollback().await.unwrap();
}

/// A page more than the file has now: what comes next finds it full, and SQLite takes the whole transaction back.
async fn no_room(tx: &mut sqlx::SqliteConnection) {
    let pages: i64 = sqlx::query_scalar("PRAGMA page_count").fetch_one(&mut *tx).await.unwrap();
    let limit = format!("PRAGMA max_page_count = {}", pages + 1);
    sqlx::query(sqlx::AssertSqlSafe(limit)).execute(&mut *tx).await.unwrap();
}

async fn own_pool(path: &std::path::Path, pool: SqlitePoolOptions) -> SqlitePool {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(PATIENCE);
    let pool = pool.max_connections(1).connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE host (bytes BLOB)").execute(&pool).await.unwrap();
    pool
}

/// The driver takes a connection for one in a transaction ever after, once SQLite itself has taken a transaction back.
#[tokio::test]
async fn a_pool_gives_no_connection_again_that_lost_its_transaction() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let pool = own_pool(&path, windlass_sqlite::pool_options()).await;
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    no_room(&mut tx).await;
    let row = sqlx::query("INSERT INTO host VALUES (zeroblob(100000))").execute(&mut *tx).await;
    assert!(row.unwrap_err().to_string().contains("full"));
    drop(tx);
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let new = job();
    backend.insert_in(&mut tx, std::slice::from_ref(&new)).await.unwrap();
    tx.commit().await.unwrap();
    assert!(backend.get(new.id).await.unwrap().is_some());
    // One that is merely rolled back stays.
    let pinned: i64 = {
        let mut conn = pool.acquire().await.unwrap();
        sqlx::query("CREATE TEMP TABLE mark (n)").execute(&mut *conn).await.unwrap();
        drop(conn.begin_with("BEGIN IMMEDIATE").await.unwrap());
        drop(conn);
        let of_temp = "SELECT count(*) FROM sqlite_temp_schema";
        sqlx::query_scalar(of_temp).fetch_one(&pool).await.unwrap()
    };
    assert_eq!(pinned, 1);
}

/// What went wrong is told, not that nothing was left to be taken back.
#[tokio::test]
async fn a_call_that_finds_the_file_full_says_so() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let pool = own_pool(&path, windlass_sqlite::pool_options()).await;
    let many: Vec<_> = (0..200).map(|_| job()).collect();
    let args = windlass_core::Payload::json(&"a".repeat(100_000)).unwrap();
    let big = vec![windlass_core::NewJob::new(common::kind(), common::queue(), args)];
    for (nested, jobs) in [(true, &many), (false, &many), (true, &big), (false, &big)] {
        let mut conn = pool.acquire().await.unwrap();
        no_room(&mut conn).await;
        let error = if nested {
            let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.unwrap();
            backend.insert_in(&mut tx, jobs).await.unwrap_err()
        } else {
            backend.insert_in(&mut conn, jobs).await.unwrap_err()
        };
        assert!(error.is_transient(), "{error:?}");
        let source = error.source().unwrap().to_string();
        assert!(source.contains("the disk is full"), "{source}");
    }
    for one in many.iter().chain(&big) {
        assert!(backend.get(one.id).await.unwrap().is_none());
    }
}

/// SQLite has taken the host's whole transaction back, so that the part of the call can't be: what is told is the cause.
#[tokio::test]
async fn a_call_whose_transaction_is_gone_says_why() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let pool = own_pool(&path, windlass_sqlite::pool_options()).await;
    for (nested, plain) in [(true, false), (false, true), (false, false)] {
        let mut conn = pool.acquire().await.unwrap();
        let refuse = "CREATE TEMP TRIGGER refuse BEFORE INSERT ON windlass_jobs
             BEGIN SELECT RAISE(ROLLBACK, 'nothing today'); END";
        sqlx::query(refuse).execute(&mut *conn).await.unwrap();
        let error = if nested {
            let mut tx = conn.begin_with("BEGIN IMMEDIATE").await.unwrap();
            backend.insert_in(&mut tx, &[job()]).await.unwrap_err()
        } else {
            if plain {
                sqlx::query("BEGIN IMMEDIATE").execute(&mut *conn).await.unwrap();
            }
            backend.insert_in(&mut conn, &[job()]).await.unwrap_err()
        };
        let source = error.source().unwrap().to_string();
        assert!(source.contains("nothing today"), "{nested} {plain}: {source}");
        conn.close().await.unwrap();
    }
}
