//! What the tests share.
#![allow(dead_code, reason = "each test target uses a part")]

pub(crate) mod blocks;

use std::error::Error as _;
use std::future::Future;
use std::time::Duration;

use sqlx::{Connection, PgConnection};
use windlass_core::{
    AttemptOutcome, ClaimRequest, Error, Kind, KindSlots, Lease, NewJob, Payload, Queue, QueueName,
    QueueSlots, Settlement, Unique, UniqueKey, UniqueUntil, WorkerId, WorkerInfo,
};
use windlass_postgres::{PostgresBackend, PostgresOptions};
use windlass_test_servers::{Postgres, PostgresServer};

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);

pub(crate) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(crate) fn kind() -> Kind {
    Kind::new("kind").unwrap()
}

pub(crate) fn queue() -> QueueName {
    QueueName::new("queue").unwrap()
}

pub(crate) fn job() -> NewJob {
    NewJob::new(kind(), queue(), Payload::json(&"args").unwrap())
}

/// A job for workers.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Task(pub(crate) u32);

impl windlass_core::Job for Task {
    const KIND: &'static str = "task";
    type Output = ();
}

/// One that holds a key, the same for all, until it is final.
pub(crate) fn unique_job() -> NewJob {
    let mut job = job();
    let key = UniqueKey::new("key").unwrap();
    job.unique =
        Some(Unique { key, until: UniqueUntil::Finished, on_conflict: Default::default() });
    job
}

/// One of the library's statements, for the default schema, with another class of locks than the schema's functions name.
pub(crate) fn statement(name: &str) -> String {
    let path = format!("{}/src/sql/{name}.sql", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap().replace("$class$", "1")
}

/// Statements in this database that wait for a lock.
pub(crate) const LOCK_WAITS: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";

/// A database of the test's own on a server that all tests of the target share.
pub(crate) struct Place {
    pub(crate) server: &'static Postgres,
    pub(crate) database: String,
}

impl Place {
    pub(crate) async fn new() -> Self {
        let server = PostgresServer::shared().await.unwrap();
        let database = server.create_database().await.unwrap();
        Self { server, database }
    }

    pub(crate) fn url(&self) -> String {
        self.server.url(&self.database)
    }

    pub(crate) fn options(&self) -> PostgresOptions {
        PostgresOptions::from_url(&self.url()).unwrap()
    }

    pub(crate) async fn open(&self) -> PostgresBackend {
        PostgresBackend::open(self.options()).await.unwrap()
    }

    /// A connection past the backend, as the host would have one.
    pub(crate) async fn host(&self) -> PgConnection {
        PgConnection::connect(&self.url()).await.unwrap()
    }

    pub(crate) async fn execute(&self, sql: &str) {
        self.server.execute(&self.database, sql).await.unwrap();
    }

    pub(crate) async fn value(&self, sql: &str) -> String {
        self.server.value(&self.database, sql).await.unwrap().unwrap_or_default()
    }

    /// Waits until a query gives a value.
    pub(crate) async fn until(&self, sql: &str, value: &str) {
        until(async || self.value(sql).await == value).await;
    }

    /// A role that may log in, under a name that no other test has.
    pub(crate) async fn role(&self) -> String {
        let name = format!("role {}", windlass_core::JobId::new());
        self.execute(&format!("CREATE ROLE \"{name}\" LOGIN PASSWORD 'pass'")).await;
        name
    }

    pub(crate) fn options_as(&self, role: &str) -> PostgresOptions {
        let url = self.server.url_as(role, "pass", &self.database);
        PostgresOptions::from_url(&url).unwrap()
    }
}

/// Statements with a certain text stand still where they ask for the time, after they have taken their snapshot, until the transaction that called
/// [`stop`](Self::stop) ends.
pub(crate) struct Clock<'a>(&'a Place);

impl<'a> Clock<'a> {
    pub(crate) async fn new(place: &'a Place, text: &str) -> Self {
        let now = format!(
            "CREATE OR REPLACE FUNCTION windlass.now() RETURNS bigint LANGUAGE plpgsql AS $$ BEGIN
                IF strpos(current_query(), '{text}') > 0 THEN PERFORM pg_advisory_xact_lock_shared(1); END IF;
                RETURN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint; END $$"
        );
        place.execute(&now).await;
        Self(place)
    }

    pub(crate) async fn stop(&self, transaction: &mut PgConnection) {
        sqlx::query("SELECT pg_advisory_xact_lock(1)").execute(transaction).await.unwrap();
    }

    /// Waits until a statement stands still.
    pub(crate) async fn until_met(&self) {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 1 AND NOT granted
            AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        self.0.until(waiting, "1").await;
    }
}

/// Waits until something holds.
pub(crate) async fn until<F: Future<Output = bool>>(mut holds: impl FnMut() -> F) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(ms(10)).await;
        }
    };
    let held = tokio::time::timeout(Duration::from_secs(60), wait).await;
    assert!(held.is_ok(), "it does not come to hold");
}

/// An error with all of its causes, as text for people and for programmers.
pub(crate) fn everything(error: &Error) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(" {error} {error:?}"));
        cause = error.source();
    }
    text
}

pub(crate) async fn worker(backend: &PostgresBackend) -> WorkerId {
    let info = WorkerInfo::new("test", HOUR, vec![queue()]);
    backend.register(&info).await.unwrap().worker
}

pub(crate) fn request(worker: WorkerId, limit: u32) -> ClaimRequest {
    let kinds = vec![KindSlots { kind: kind(), limit: None }];
    ClaimRequest::new(worker, vec![QueueSlots { queue: queue(), limit }], kinds)
}

pub(crate) async fn claim(backend: &PostgresBackend, worker: WorkerId, limit: u32) -> Vec<Lease> {
    backend.claim(&request(worker, limit)).await.unwrap().leases
}

pub(crate) fn completed(lease: &Lease) -> Settlement {
    let outcome = AttemptOutcome::Completed { result: None, blobs: Vec::new() };
    Settlement::new(lease.key, outcome)
}
