//! SQLite under the conformance suite.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection, SqlitePool, Transaction};
use tempfile::TempDir;
use windlass_core::conformance::{Harness, TransactionalHarness};
use windlass_core::{Limits, WorkerId};
use windlass_sqlite::{SqliteBackend, SqliteOptions};

struct Sqlite {
    _folder: TempDir,
    options: SqliteOptions,
    backend: Arc<SqliteBackend>,
}

impl Sqlite {
    /// A connection of the host's own.
    async fn host(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.options.path());
        SqliteConnection::connect_with(&options).await.unwrap()
    }
}

impl Harness for Sqlite {
    type Backend = SqliteBackend;

    async fn open(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(folder.path().join("jobs.db")).limits(limits);
        let backend = Arc::new(SqliteBackend::open(options.clone()).await.unwrap());
        let harness = Self { _folder: folder, options, backend };
        let mut host = harness.host().await;
        sqlx::query("CREATE TABLE host (text TEXT)").execute(&mut host).await.unwrap();
        harness
    }

    fn backend(&self) -> Arc<SqliteBackend> {
        self.backend.clone()
    }

    async fn second(&self) -> Option<Arc<SqliteBackend>> {
        Some(Arc::new(SqliteBackend::open(self.options.clone()).await.unwrap()))
    }

    async fn advance(&self, span: Duration) {
        self.backend.advance_clock(span);
    }

    async fn expire(&self, worker: WorkerId) {
        let query = sqlx::query("UPDATE windlass_workers SET expires_at = 1 WHERE id = ?");
        let query = query.bind(worker.as_bytes().to_vec());
        let done = query.execute(&mut self.host().await).await.unwrap();
        assert_eq!(done.rows_affected(), 1);
    }
}

impl TransactionalHarness for Sqlite {
    type Tx = Transaction<'static, sqlx::Sqlite>;

    async fn begin(&self) -> Self::Tx {
        // A transaction that owns its connection comes from a pool.
        let options = SqliteConnectOptions::new().filename(self.options.path());
        let pool = SqlitePool::connect_with(options).await.unwrap();
        pool.begin_with("BEGIN IMMEDIATE").await.unwrap()
    }

    fn conn(tx: &mut Self::Tx) -> &mut SqliteConnection {
        tx
    }

    async fn commit(&self, tx: Self::Tx) {
        tx.commit().await.unwrap();
    }

    async fn rollback(&self, tx: Self::Tx) {
        tx.rollback().await.unwrap();
    }

    async fn put_row(&self, tx: &mut Self::Tx, text: &str) {
        let query = sqlx::query("INSERT INTO host (text) VALUES (?)").bind(text.to_owned());
        query.execute(&mut **tx).await.unwrap();
    }

    async fn rows(&self) -> Vec<String> {
        let query = sqlx::query_scalar("SELECT text FROM host");
        query.fetch_all(&mut self.host().await).await.unwrap()
    }
}

windlass_core::conformance!(Sqlite);
windlass_core::conformance_transactional!(Sqlite);
windlass_core::conformance_outbox!(Sqlite);
