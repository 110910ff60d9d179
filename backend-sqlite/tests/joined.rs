//! The host's own transactions, begun in SQLite's default way, beside others that write.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::{PATIENCE, job, open, place};
use sqlx::SqlitePool;
use sqlx::sqlite::SqliteConnectOptions;
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
