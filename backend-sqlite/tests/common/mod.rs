//! What the tests share.
#![allow(dead_code, reason = "each test target uses a part")]

use std::path::PathBuf;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;
use windlass_core::{
    AttemptOutcome, ClaimRequest, Kind, KindSlots, Lease, NewJob, Payload, Queue, QueueName,
    QueueSlots, Settlement, WorkerId, WorkerInfo,
};
use windlass_sqlite::{SqliteBackend, SqliteOptions};

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn kind() -> Kind {
    Kind::new("kind").unwrap()
}

pub(crate) fn queue() -> QueueName {
    QueueName::new("queue").unwrap()
}

pub(crate) fn job() -> NewJob {
    NewJob::new(kind(), queue(), Payload::json(&"args").unwrap())
}

/// A folder with a database file to be.
pub(crate) fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jobs.db");
    (folder, path)
}

/// How long writers wait for each other: SQLite's lock goes to whoever looks at the right time, and a slow disk makes that rare.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) async fn open(path: &std::path::Path) -> SqliteBackend {
    SqliteBackend::open(SqliteOptions::new(path).busy_timeout(PATIENCE)).await.unwrap()
}

/// A connection past the backend, as the host would have one.
pub(crate) async fn host(path: &std::path::Path) -> SqliteConnection {
    let options =
        SqliteConnectOptions::new().filename(path).create_if_missing(true).busy_timeout(PATIENCE);
    SqliteConnection::connect_with(&options).await.unwrap()
}

pub(crate) async fn worker(backend: &SqliteBackend) -> WorkerId {
    let info = WorkerInfo::new("test", HOUR, vec![queue()]);
    backend.register(&info).await.unwrap().worker
}

pub(crate) async fn claim(backend: &SqliteBackend, worker: WorkerId, limit: u32) -> Vec<Lease> {
    backend.claim(&request(worker, limit)).await.unwrap().leases
}

pub(crate) fn request(worker: WorkerId, limit: u32) -> ClaimRequest {
    let kinds = vec![KindSlots { kind: kind(), limit: None }];
    ClaimRequest::new(worker, vec![QueueSlots { queue: queue(), limit }], kinds)
}

pub(crate) fn completed(lease: &Lease) -> Settlement {
    let outcome = AttemptOutcome::Completed { result: None, blobs: Vec::new() };
    Settlement::new(lease.key, outcome)
}
