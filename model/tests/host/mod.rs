//! A host with a table of its own on a backend's database.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, ColumnIndex, Database, Decode, Executor, Pool, Row as _, Type};
use windlass_core::{Inserted, NewJob, Result, Settled, Settlement, Transactional};
use windlass_model::ops::host::{Host, Transaction};

/// The host's connections, and the backend that joins their transactions.
pub(crate) struct SqlHost<B, D: Database> {
    backend: Arc<B>,
    pool: Pool<D>,
    begin: &'static str,
    table: String,
}

impl<B, D: Database> fmt::Debug for SqlHost<B, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlHost").field("table", &self.table).finish_non_exhaustive()
    }
}

impl<B, D: Database> SqlHost<B, D>
where
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
{
    /// Makes the table.
    pub(crate) async fn new(
        backend: Arc<B>,
        pool: Pool<D>,
        begin: &'static str,
        table: String,
    ) -> Self {
        let create = format!("CREATE TABLE {table} (text TEXT NOT NULL)");
        let mut conn = pool.acquire().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(create)).execute(&mut *conn).await.unwrap();
        drop(conn);
        Self { backend, pool, begin, table }
    }
}

#[async_trait]
impl<B, D: Database> Host for SqlHost<B, D>
where
    B: Transactional<Conn = D::Connection>,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
    for<'r> String: Decode<'r, D> + Type<D>,
    usize: ColumnIndex<D::Row>,
{
    async fn begin(&self) -> Box<dyn Transaction> {
        let tx = self.pool.begin_with(self.begin).await.unwrap();
        Box::new(Open { backend: self.backend.clone(), tx, table: self.table.clone() })
    }

    async fn rows(&self) -> Vec<String> {
        let select = format!("SELECT text FROM {} ORDER BY text", self.table);
        let mut conn = self.pool.acquire().await.unwrap();
        let rows = sqlx::raw_sql(AssertSqlSafe(select)).fetch_all(&mut *conn).await.unwrap();
        rows.iter().map(|row| row.get::<String, _>(0)).collect()
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}

struct Open<B, D: Database> {
    backend: Arc<B>,
    tx: sqlx::Transaction<'static, D>,
    table: String,
}

#[async_trait]
impl<B, D: Database> Transaction for Open<B, D>
where
    B: Transactional<Conn = D::Connection>,
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
{
    async fn put_row(&mut self, text: &str) {
        let insert = format!("INSERT INTO {} VALUES ('{text}')", self.table);
        sqlx::raw_sql(AssertSqlSafe(insert)).execute(&mut *self.tx).await.unwrap();
    }

    async fn insert(&mut self, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
        self.backend.insert_in(&mut self.tx, jobs).await
    }

    async fn settle(&mut self, settlement: &Settlement) -> Result<Settled> {
        self.backend.settle_in(&mut self.tx, settlement).await
    }

    async fn end(self: Box<Self>, commit: bool) {
        let ended = if commit { self.tx.commit().await } else { self.tx.rollback().await };
        ended.unwrap();
    }
}
