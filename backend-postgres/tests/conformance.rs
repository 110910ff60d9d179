//! Postgres under the conformance suite: directly, and behind PgBouncer in transaction mode.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection, PgPool, Row as _, Transaction};
use tokio::sync::OnceCell;
use windlass_core::conformance::{Harness, TransactionalHarness};
use windlass_core::{Limits, WorkerId};
use windlass_postgres::{PostgresBackend, PostgresOptions};
use windlass_test_servers::{PgBouncer, Postgres, PostgresServer};

/// A schema of its own in a server that the whole target shares.
struct Place {
    options: PostgresOptions,
    backend: Arc<PostgresBackend>,
    /// How the host connects, through the pooler where there is one.
    host: PgConnectOptions,
    schema: String,
}

impl Place {
    async fn open(host: PgConnectOptions, options: PostgresOptions) -> Self {
        let schema = options.schema_name().to_owned();
        let backend = Arc::new(PostgresBackend::open(options.clone()).await.unwrap());
        let place = Self { options, backend, host, schema };
        let mut host = place.host().await;
        let table = format!("CREATE TABLE {}.host (text TEXT)", place.schema);
        sqlx::raw_sql(sqlx::AssertSqlSafe(table)).execute(&mut host).await.unwrap();
        place
    }

    /// A connection of the host's own.
    async fn host(&self) -> PgConnection {
        PgConnection::connect_with(&self.host).await.unwrap()
    }

    async fn second(&self) -> Arc<PostgresBackend> {
        Arc::new(PostgresBackend::open(self.options.clone()).await.unwrap())
    }

    async fn begin(&self) -> Transaction<'static, sqlx::Postgres> {
        // A transaction that owns its connection comes from a pool.
        PgPool::connect_with(self.host.clone()).await.unwrap().begin().await.unwrap()
    }

    async fn put_row(&self, tx: &mut Transaction<'static, sqlx::Postgres>, text: &str) {
        let insert = format!("INSERT INTO {}.host (text) VALUES ($1)", self.schema);
        let query = sqlx::query(sqlx::AssertSqlSafe(insert)).bind(text.to_owned());
        // What one prepares by a name, others would meet behind a pooler.
        query.persistent(false).execute(&mut **tx).await.unwrap();
    }

    async fn expire(&self, worker: WorkerId) {
        // In one message: outside of a transaction a pooler may send the parts of a statement to different sessions.
        let id = worker.as_uuid();
        let update = format!("UPDATE {}.workers SET expires_at = 1 WHERE id = '{id}'", self.schema);
        let update = sqlx::raw_sql(sqlx::AssertSqlSafe(update));
        let done = update.execute(&mut self.host().await).await.unwrap();
        assert_eq!(done.rows_affected(), 1);
    }

    async fn rows(&self) -> Vec<String> {
        let select = format!("SELECT text FROM {}.host", self.schema);
        let select = sqlx::raw_sql(sqlx::AssertSqlSafe(select));
        let rows = select.fetch_all(&mut self.host().await).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    }
}

/// A name that no other case has.
fn schema() -> String {
    format!("case_{}", &windlass_core::JobId::new().as_uuid().simple().to_string()[8..])
}

macro_rules! harness {
    ($name:ident, $open:expr) => {
        pub(crate) struct $name(Place);

        impl Harness for $name {
            type Backend = PostgresBackend;

            async fn open(limits: Limits) -> Self {
                Self($open(limits).await)
            }

            fn backend(&self) -> Arc<PostgresBackend> {
                self.0.backend.clone()
            }

            async fn second(&self) -> Option<Arc<PostgresBackend>> {
                Some(self.0.second().await)
            }

            async fn expire(&self, worker: WorkerId) {
                self.0.expire(worker).await;
            }
        }

        impl TransactionalHarness for $name {
            type Tx = Transaction<'static, sqlx::Postgres>;

            async fn begin(&self) -> Self::Tx {
                self.0.begin().await
            }

            fn conn(tx: &mut Self::Tx) -> &mut PgConnection {
                tx
            }

            async fn commit(&self, tx: Self::Tx) {
                tx.commit().await.unwrap();
            }

            async fn rollback(&self, tx: Self::Tx) {
                tx.rollback().await.unwrap();
            }

            async fn put_row(&self, tx: &mut Self::Tx, text: &str) {
                self.0.put_row(tx, text).await;
            }

            async fn rows(&self) -> Vec<String> {
                self.0.rows().await
            }
        }
    };
}

/// The server that all cases share.
async fn server() -> &'static Postgres {
    PostgresServer::shared().await.unwrap()
}

/// The pooler before it.
async fn bouncer() -> &'static PgBouncer {
    static SHARED: OnceCell<PgBouncer> = OnceCell::const_new();
    // Room for the transactions that all cases hold open at once.
    let start = || async {
        PgBouncer::builder(server().await).default_pool_size(40).start().await.unwrap()
    };
    SHARED.get_or_init(start).await
}

async fn direct(limits: Limits) -> Place {
    let url = server().await.url("postgres");
    let options = PostgresOptions::from_url(&url).unwrap().connections(4).limits(limits);
    Place::open(url.parse().unwrap(), options.schema(schema()).unwrap()).await
}

async fn pooled(limits: Limits) -> Place {
    let url = bouncer().await.url("postgres");
    let options = PostgresOptions::from_url(&url).unwrap();
    let direct = server().await.url("postgres");
    // Poolers don't pass on LISTEN: hints come past them.
    let options = options.pooled(true).direct_url(&direct).unwrap();
    let options = options.connections(4).limits(limits);
    let host: PgConnectOptions = url.parse().unwrap();
    Place::open(host, options.schema(schema()).unwrap()).await
}

harness!(Direct, direct);
harness!(Pooled, pooled);

windlass_core::conformance!(Direct);
windlass_core::conformance_transactional!(Direct);
windlass_core::conformance_outbox!(Direct);

/// F41: the same cases by way of PgBouncer.
mod pgbouncer {
    use super::*;

    windlass_core::conformance!(Pooled);
    windlass_core::conformance_transactional!(Pooled);
    windlass_core::conformance_outbox!(Pooled);
}
