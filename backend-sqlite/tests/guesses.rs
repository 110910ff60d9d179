//! Inserts that begin without a look guess what it would have shown. Whatever has changed by somebody else's hand, they notice.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{claim, completed, host, job, open, place, queue, worker};
use sqlx::{AssertSqlSafe, Executor as _, SqliteConnection};
use tempfile::TempDir;
use windlass_core::{Error, Inserted, Queue as _, Store as _};
use windlass_sqlite::SqliteBackend;

/// A backend whose next insert guesses, and a connection of somebody else.
async fn guessing() -> (TempDir, SqliteBackend, SqliteConnection) {
    let (folder, path) = place();
    let backend = open(&path).await;
    for _ in 0..3 {
        backend.insert(&[job()]).await.unwrap();
    }
    (folder, backend, host(&path).await)
}

async fn tick(conn: &mut SqliteConnection, column: &str) -> i64 {
    let query = AssertSqlSafe(format!("SELECT {column} FROM windlass_tick"));
    sqlx::query_scalar(query).fetch_one(conn).await.unwrap()
}

#[tokio::test]
async fn nothing_that_counts_up_steps_back() {
    for column in ["now", "seq", "turn", "config"] {
        let (_folder, backend, mut conn) = guessing().await;
        let query = format!("UPDATE windlass_tick SET {column} = {column} + 3600000000");
        conn.execute(AssertSqlSafe(query)).await.unwrap();
        let raised = tick(&mut conn, column).await;
        let answers = backend.insert(&[job()]).await.unwrap();
        assert!(matches!(answers[..], [Inserted::New(_)]));
        let now = tick(&mut conn, column).await;
        assert!(now >= raised, "{column} stepped back from {raised} to {now}");
    }
}

#[tokio::test]
async fn a_job_that_is_stored_is_a_duplicate() {
    let (_folder, backend, _conn) = guessing().await;
    let waiting = job();
    backend.insert(std::slice::from_ref(&waiting)).await.unwrap();
    let again = backend.insert(std::slice::from_ref(&waiting)).await.unwrap();
    assert_eq!(again, [Inserted::Duplicate { existing: waiting.id }]);

    let w = worker(&backend).await;
    let leases = claim(&backend, w, 10).await;
    let settlements: Vec<_> = leases.iter().map(completed).collect();
    backend.settle(&settlements).await.unwrap();
    for _ in 0..3 {
        backend.insert(&[job()]).await.unwrap();
    }
    let finished = backend.insert(std::slice::from_ref(&waiting)).await.unwrap();
    assert_eq!(finished, [Inserted::Duplicate { existing: waiting.id }]);
}

#[tokio::test]
async fn a_queue_that_is_full_takes_no_more() {
    let (_folder, backend, mut conn) = guessing().await;
    let query = "INSERT INTO windlass_queues (name, paused, max_depth) VALUES (?1, 0, 3)";
    sqlx::query(query).bind(queue().as_str()).execute(&mut conn).await.unwrap();
    let error = backend.insert(&[job()]).await.unwrap_err();
    assert!(matches!(error, Error::QueueFull { depth: 3, .. }), "{error}");
}

/// Calls at the same time share a guess, and all of them get their own answers from the look that follows a wrong one.
#[tokio::test]
async fn calls_that_guessed_together_are_all_answered() {
    let (_folder, backend, mut conn) = guessing().await;
    let stored = job();
    backend.insert(std::slice::from_ref(&stored)).await.unwrap();
    conn.execute("UPDATE windlass_tick SET seq = seq + 10").await.unwrap();
    let calls = (0..16).map(|n| {
        let (backend, job) = (backend.clone(), if n == 7 { stored.clone() } else { job() });
        async move { (n, job.id, backend.insert(&[job]).await.unwrap()) }
    });
    for (n, id, answers) in futures_util::future::join_all(calls).await {
        let expected = match n {
            7 => Inserted::Duplicate { existing: id },
            _ => Inserted::New(id),
        };
        assert_eq!(answers, [expected]);
    }
}
