//! The facade on SQLite: `connect`, and jobs in the host's own transaction.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use windlass::sqlite::{SqliteBackend, SqliteOptions};
use windlass::{Client, Context, Error, Job, NoResult, Outcome, State, Worker, connect};

#[derive(Job, Serialize, Deserialize)]
#[job(kind = "charge", max_attempts = 1, output = i64)]
struct Charge {
    cents: i64,
    commit: bool,
}

struct App {
    pool: SqlitePool,
    client: Client<SqliteBackend>,
}

async fn charge(job: Charge, cx: Context<App>) -> Outcome<i64> {
    let App { pool, client } = cx.state();
    let mut tx = pool.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("INSERT INTO charges (cents) VALUES (?)").bind(job.cents).execute(&mut *tx).await?;
    client.complete_in(&mut tx, &cx, &job.cents).await?;
    if job.commit {
        tx.commit().await?;
    }
    Ok(job.cents)
}

async fn open(file: &Path) -> App {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
    let client =
        Client::new(Arc::new(SqliteBackend::open(SqliteOptions::new(file)).await.unwrap()));
    let pool = SqlitePool::connect_with(options).await.unwrap();
    sqlx::query("CREATE TABLE IF NOT EXISTS charges (cents INTEGER)").execute(&pool).await.unwrap();
    App { pool, client }
}

async fn charged(pool: &SqlitePool) -> i64 {
    sqlx::query_scalar("SELECT coalesce(sum(cents), 0) FROM charges").fetch_one(pool).await.unwrap()
}

#[tokio::test]
async fn jobs_outlive_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("jobs.db").display());
    let client = connect(&url).await.unwrap();
    let id = client.enqueue(Charge { cents: 5, commit: true }).await.unwrap().id();
    client.close().await.unwrap();
    let client = connect(&url).await.unwrap();
    assert_eq!(client.get(id).await.unwrap().unwrap().state, State::Available);
    client.close().await.unwrap();
}

#[tokio::test]
async fn a_url_that_cannot_be_opened_is_told() {
    for url in ["sqlite:", "sqlite::memory:", "sqlite:/no/such/folder/jobs.db", "sqlite:a?mode=x"] {
        let error = connect(url).await.unwrap_err();
        assert!(matches!(error, Error::Config(_)), "{url}: {error:?}");
    }
}

#[tokio::test]
async fn a_job_is_there_with_the_commit_and_never_was_after_a_rollback() {
    let folder = tempfile::tempdir().unwrap();
    let App { pool, client } = open(&folder.path().join("app.db")).await;
    for commit in [false, true] {
        let mut tx = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
        sqlx::query("INSERT INTO charges VALUES (1)").execute(&mut *tx).await.unwrap();
        let job = Charge { cents: 1, commit: true };
        let handle = client.enqueue_in(&mut tx, job).await.unwrap();
        assert!(handle.is_new());
        assert_eq!(handle.record().await.unwrap(), None, "seen before the commit");
        match commit {
            true => tx.commit().await.unwrap(),
            false => tx.rollback().await.unwrap(),
        }
        assert_eq!(handle.record().await.unwrap().is_some(), commit);
        assert_eq!(charged(&pool).await, i64::from(commit));
        if !commit {
            assert!(matches!(handle.result().await, Err(NoResult::Gone { .. })));
        }
    }
    client.close().await.unwrap();
}

#[tokio::test]
async fn what_a_handler_writes_commits_with_its_completion_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let app = open(&folder.path().join("app.db")).await;
    let (pool, client) = (app.pool.clone(), app.client.clone());
    let worker = Worker::new(&client).state(app).register(charge).queue("default", 4);
    let worker = worker.start().unwrap();

    let good = client.enqueue(Charge { cents: 7, commit: true }).await.unwrap();
    assert_eq!(good.result().await.unwrap(), 7);
    assert_eq!(charged(&pool).await, 7);

    let forgotten = client.enqueue(Charge { cents: 100, commit: false }).await.unwrap();
    let error = forgotten.result().await.unwrap_err();
    assert!(error.to_string().contains("was not committed"), "{error}");
    assert_eq!(charged(&pool).await, 7);

    worker.shutdown();
    worker.join().await.unwrap();
    client.close().await.unwrap();
}
