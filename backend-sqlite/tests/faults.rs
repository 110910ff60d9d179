//! What goes wrong under the backend: a full disk, a locked database, a damaged file, callers that go away.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use sqlx::Connection as _;

use common::{claim, completed, host, job, open, place, worker};
use windlass_core::{
    Backend, Error, Inserted, Limits, NewJob, Queue, QueueChange, Settled, State, Store,
};
use windlass_sqlite::{SqliteBackend, SqliteOptions};

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// A backend that waits for no lock.
struct Impatient(SqliteBackend);

impl Impatient {
    /// Opens it, before there is a lock.
    async fn open(path: &std::path::Path) -> Self {
        let options = SqliteOptions::new(path).busy_timeout(Duration::ZERO);
        Self(SqliteBackend::open(options).await.unwrap())
    }

    /// While the database is locked: returns when writers that were called before have met the lock. Calls that came after
    /// theirs have, one after the other, and went the same way.
    async fn meets_the_lock(&self) {
        for _ in 0..20 {
            let error = self.0.insert(&[job()]).await.unwrap_err();
            assert!(chain(&error).contains("kept the database locked"), "{error:?}");
        }
    }
}

/// The file as errors name it.
fn name(path: &std::path::Path) -> String {
    format!("`{}`", path.display())
}

/// Another process holds the write lock: an error in bounded time, and everything goes on after it.
#[tokio::test]
async fn f43_a_lock_held_for_too_long_is_a_transient_error() {
    let (_folder, path) = place();
    let options = SqliteOptions::new(&path).busy_timeout(Duration::from_millis(50));
    let backend = SqliteBackend::open(options).await.unwrap();
    let mut other = host(&path).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let new = job();
    let error = backend.insert(std::slice::from_ref(&new)).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let text = chain(&error);
    for part in ["another process kept the database locked", "busy_timeout", &name(&path)] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(backend.get(new.id).await.unwrap(), None, "readers don't wait");
    sqlx::query("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(backend.insert(std::slice::from_ref(&new)).await.unwrap(), [Inserted::New(new.id)]);
}

/// A lock held for a while only delays.
#[tokio::test]
async fn f43_a_lock_held_for_a_while_is_waited_for() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let impatient = Impatient::open(&path).await;
    let mut other = host(&path).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let inserting = {
        let backend = backend.clone();
        tokio::spawn(async move { backend.insert(&[job()]).await })
    };
    impatient.meets_the_lock().await;
    assert!(!inserting.is_finished());
    sqlx::query("COMMIT").execute(&mut other).await.unwrap();
    inserting.await.unwrap().unwrap();
}

/// Corruption that shows only later: an error that names it, and the writer lives on for what can still be done.
#[tokio::test]
async fn damage_in_a_table_is_a_clear_error_and_the_writer_lives_on() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    backend.insert(&(0..2_000).map(|_| job()).collect::<Vec<_>>()).await.unwrap();
    backend.close().await.unwrap();
    let mut conn = host(&path).await;
    let root: i64 = sqlx::query_scalar(
        "SELECT rootpage FROM sqlite_schema WHERE name = 'windlass_finished_age'",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    // Everything must be in the file itself, not in the log.
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    let page = usize::try_from(root - 1).unwrap() * 4_096;
    bytes[page..page + 4_096].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    let lease = claim(&backend, w, 1).await.remove(0);
    let error = backend.settle(&[completed(&lease)]).await.unwrap_err();
    let text = chain(&error);
    for part in ["malformed", "integrity_check", "restore a backup", &name(&path)] {
        assert!(text.contains(part), "{text}");
    }
    assert!(!error.is_transient(), "repeating does not mend it");
    assert_eq!(backend.get(lease.key.job).await.unwrap().unwrap().state, State::Running);
    backend.insert(&[job()]).await.unwrap();
}

/// Callers that go away break neither the writer nor the calls beside them.
#[tokio::test]
async fn dropped_callers_leave_the_writer_alone() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let impatient = Impatient::open(&path).await;
    let mut lock = host(&path).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut lock).await.unwrap();
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let backend = backend.clone();
            tokio::spawn(async move { backend.insert(&[job(), job()]).await })
        })
        .collect();
    impatient.meets_the_lock().await;
    for call in calls.iter().skip(1).step_by(2) {
        call.abort();
    }
    sqlx::query("COMMIT").execute(&mut lock).await.unwrap();
    let mut stayed = 0;
    for (n, call) in calls.into_iter().enumerate() {
        let answer = call.await;
        assert!(n % 2 == 1 || matches!(answer, Ok(Ok(_))), "{answer:?}");
        stayed += u64::from(n % 2 == 0);
    }
    backend.ping().await.unwrap();
    let stats = backend.stats(&Default::default()).await.unwrap();
    let jobs = stats.in_state(State::Available);
    assert!(jobs >= stayed * 2 && jobs % 2 == 0, "a call was applied by half: {jobs}");
}

/// In one group commit an operation that fails takes nothing of the others with it.
#[tokio::test]
async fn an_error_in_a_group_stays_its_own() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    backend.insert(&[job()]).await.unwrap();
    let lease = claim(&backend, w, 1).await.remove(0);
    let full = windlass_core::QueueName::new("full").unwrap();
    let change = QueueChange::default().max_depth(Some(0));
    backend.configure_queue(&full, &change).await.unwrap();
    let impatient = Impatient::open(&path).await;
    let mut lock = host(&path).await;
    sqlx::query("BEGIN IMMEDIATE").execute(&mut lock).await.unwrap();
    // All of these wait for the lock, and so share one transaction.
    let insert = |new: Vec<NewJob>| {
        let backend = backend.clone();
        tokio::spawn(async move { backend.insert(&new).await })
    };
    let good: Vec<_> = (0..5).map(|_| insert(vec![job(), job()])).collect();
    let bad = insert(vec![job(), NewJob::new(common::kind(), full.clone(), job().args)]);
    let settle = {
        let backend = backend.clone();
        tokio::spawn(async move { backend.settle(&[completed(&lease)]).await })
    };
    let unknown = {
        let backend = backend.clone();
        tokio::spawn(async move {
            backend.claim(&common::request(windlass_core::WorkerId::new(), 1)).await
        })
    };
    impatient.meets_the_lock().await;
    sqlx::query("COMMIT").execute(&mut lock).await.unwrap();
    for call in good {
        assert_eq!(call.await.unwrap().unwrap().len(), 2);
    }
    assert!(matches!(bad.await.unwrap(), Err(Error::QueueFull { .. })));
    assert!(matches!(unknown.await.unwrap(), Err(Error::WorkerExpired { .. })));
    let done = Settled::Applied { state: State::Completed };
    assert_eq!(settle.await.unwrap().unwrap(), [done]);
    let stats = backend.stats(&Default::default()).await.unwrap();
    assert_eq!((stats.in_state(State::Available), stats.in_state(State::Completed)), (10, 1));
}

/// Errors name the thing and the way out, never what was in it.
#[tokio::test]
async fn f52_errors_tell_no_payload() {
    let (_folder, path) = place();
    let limits = {
        let mut limits = Limits::default();
        limits.inline_args = 8;
        limits
    };
    let backend = SqliteBackend::open(SqliteOptions::new(&path).limits(limits)).await.unwrap();
    let args = windlass_core::Payload::json(&"a secret of the host").unwrap();
    let new = NewJob::new(common::kind(), common::queue(), args);
    let error = backend.insert(&[new]).await.unwrap_err();
    assert!(!format!("{error:?} {}", chain(&error)).contains("secret"));
    assert!(error.to_string().contains("above the limit of 8"), "{error}");
}

/// The state is a guard of its own: a row that waits but still carries a claim (which no statement leaves behind, but a
/// hand at the database may) can't be settled or recorded to under it.
#[tokio::test]
async fn f01_a_waiting_row_that_carries_a_claim_is_not_its_owners() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    backend.insert(&[job()]).await.unwrap();
    let lease = claim(&backend, w, 1).await.remove(0);
    let mut conn = host(&path).await;
    sqlx::query("UPDATE windlass_jobs SET state = 2").execute(&mut conn).await.unwrap();
    assert_eq!(backend.settle(&[completed(&lease)]).await.unwrap(), [Settled::Lost]);
    let record = windlass_core::Record::new(lease.key, Vec::new());
    assert_eq!(backend.record(&[record]).await.unwrap(), [windlass_core::Recorded::Lost]);
    assert_eq!(backend.get(lease.key.job).await.unwrap().unwrap().state, State::Available);
}
