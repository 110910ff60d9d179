//! A host with a Postgres database.

use std::sync::Arc;

use sqlx::postgres::PgPool;
use sqlx::{Postgres, Transaction};
use windlass::Client;
use windlass::postgres::PostgresBackend;

use super::support::Host;

pub(crate) struct PostgresHost {
    client: Client<PostgresBackend>,
    pool: PgPool,
}

impl PostgresHost {
    pub(crate) async fn at(url: &str) -> Self {
        let client = Client::new(Arc::new(PostgresBackend::connect(url).await.unwrap()));
        let pool = PgPool::connect(url).await.unwrap();
        Self { client, pool }
    }

    /// Makes the host's table.
    pub(crate) async fn new(url: &str) -> Self {
        let host = Self::at(url).await;
        let table = sqlx::query("CREATE TABLE orders (id BIGINT PRIMARY KEY)");
        table.execute(&host.pool).await.unwrap();
        host
    }
}

impl Host for PostgresHost {
    type Db = Postgres;
    type Backend = PostgresBackend;

    fn client(&self) -> &Client<PostgresBackend> {
        &self.client
    }

    async fn begin(&self) -> Transaction<'static, Postgres> {
        self.pool.begin().await.unwrap()
    }

    async fn put_row(&self, tx: &mut Transaction<'static, Postgres>, order: i64) {
        let row = sqlx::query("INSERT INTO orders (id) VALUES ($1)").bind(order);
        row.execute(&mut **tx).await.unwrap();
    }

    async fn orders(&self) -> Vec<i64> {
        sqlx::query_scalar("SELECT id FROM orders").fetch_all(&self.pool).await.unwrap()
    }
}
