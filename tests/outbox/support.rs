//! Hosts whose rows and outbox share a database.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{Database, Sqlite, Transaction};
use tempfile::TempDir;
use windlass::outbox::OutboxStore;
use windlass::sqlite::{SqliteBackend, SqliteOptions};
use windlass::{Client, JobFilter, JobQuery};

use super::Ship;

/// A host on any database that keeps an outbox.
pub(crate) trait Host {
    type Db: Database;
    type Backend: OutboxStore<Conn = <Self::Db as Database>::Connection>;

    fn client(&self) -> &Client<Self::Backend>;
    async fn begin(&self) -> Transaction<'static, Self::Db>;
    async fn put_row(&self, tx: &mut Transaction<'static, Self::Db>, order: i64);
    async fn orders(&self) -> Vec<i64>;
}

pub(crate) fn place() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.db");
    (folder, path)
}

/// A host with a SQLite file.
pub(crate) struct Local {
    _folder: Option<TempDir>,
    pub(crate) client: Client<SqliteBackend>,
    pool: SqlitePool,
}

impl Local {
    pub(crate) async fn open() -> Self {
        let (folder, path) = place();
        Self { _folder: Some(folder), ..Self::at(&path).await }
    }

    pub(crate) async fn at(path: &Path) -> Self {
        let backend = SqliteBackend::open(SqliteOptions::new(path)).await.unwrap();
        // Relays write to the same file again and again, and a busy disk lets none in between for long.
        let options = SqliteConnectOptions::new().filename(path);
        let options = options.busy_timeout(Duration::from_secs(60));
        let pool = SqlitePool::connect_with(options).await.unwrap();
        let table = sqlx::query("CREATE TABLE IF NOT EXISTS orders (id INTEGER PRIMARY KEY)");
        table.execute(&pool).await.unwrap();
        Self { _folder: None, client: Client::new(Arc::new(backend)), pool }
    }
}

impl Host for Local {
    type Db = Sqlite;
    type Backend = SqliteBackend;

    fn client(&self) -> &Client<SqliteBackend> {
        &self.client
    }

    async fn begin(&self) -> Transaction<'static, Sqlite> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.unwrap()
    }

    async fn put_row(&self, tx: &mut Transaction<'static, Sqlite>, order: i64) {
        let row = sqlx::query("INSERT INTO orders (id) VALUES (?)").bind(order);
        row.execute(&mut **tx).await.unwrap();
    }

    async fn orders(&self) -> Vec<i64> {
        sqlx::query_scalar("SELECT id FROM orders").fetch_all(&self.pool).await.unwrap()
    }
}

/// Keeps others from writing to a file.
pub(crate) async fn lock(path: &Path) -> Transaction<'static, Sqlite> {
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(path)).await.unwrap();
    pool.begin_with("BEGIN IMMEDIATE").await.unwrap()
}

/// How often each order's job is on the target, in whatever state.
pub(crate) async fn numbers(target: &Client) -> HashMap<u64, u32> {
    let mut found = HashMap::new();
    let mut after = None;
    loop {
        let query = JobQuery::from(JobFilter::default()).limit(1_000).after(after);
        let page = target.list(query).await.unwrap();
        for job in page.items {
            *found.entry(job.args.parse::<Ship>().unwrap().order).or_default() += 1;
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return found,
        }
    }
}
