//! Random operations on the memory backend and on each of the others. The three run side by side: much of their time they wait.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod host;
mod ops_support;

use std::any::Any;
use std::sync::Arc;

use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use windlass_core::JobId;
use windlass_model::ops::{Real, Time};
use windlass_postgres::{PostgresBackend, PostgresOptions};
use windlass_redis::{RedisBackend, RedisOptions};
use windlass_sqlite::{SqliteBackend, SqliteOptions};
use windlass_test_servers::{PostgresServer, RedisServer};

use host::SqlHost;
use ops_support::TRANSACTIONS;

#[test]
fn sqlite_answers_as_the_memory_backend_does() {
    let regressions = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions/sqlite.txt");
    ops_support::check(regressions, 500, &TRANSACTIONS, || async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("jobs.db");
        let options = SqliteOptions::new(&path);
        let backend = Arc::new(SqliteBackend::open(options).await.unwrap());
        let clock = backend.clone();
        let time = Time::Moved(Box::new(move |by| clock.advance_clock(by)));
        let pool = SqlitePoolOptions::new().max_connections(1);
        let pool = pool.connect_lazy_with(SqliteConnectOptions::new().filename(path));
        let host = SqlHost::new(backend.clone(), pool, "BEGIN IMMEDIATE", "host".to_owned()).await;
        (Real { backend, time, host: Some(Box::new(host)) }, Box::new(folder) as Box<dyn Any>)
    });
}

#[test]
fn postgres_answers_as_the_memory_backend_does() {
    let regressions = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions/postgres.txt");
    ops_support::check(regressions, 120, &TRANSACTIONS, || async {
        let url = PostgresServer::shared().await.unwrap().url("postgres");
        // A schema that no other sequence has.
        let schema = format!("ops_{}", JobId::new().as_uuid().simple());
        let options = PostgresOptions::from_url(&url).unwrap().schema(&schema).unwrap();
        let backend = Arc::new(PostgresBackend::open(options.connections(4)).await.unwrap());
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy(&url).unwrap();
        let host = SqlHost::new(backend.clone(), pool, "BEGIN", format!("{schema}.host")).await;
        let real = Real { backend, time: Time::Waited, host: Some(Box::new(host)) };
        (real, Box::new(()) as Box<dyn Any>)
    });
}

#[test]
fn redis_answers_as_the_memory_backend_does() {
    let regressions = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions/redis.txt");
    ops_support::check(regressions, 200, &[], || async {
        // A namespace that no other sequence has.
        let url = RedisServer::shared().await.unwrap().url(&format!("ops-{}", JobId::new()));
        let backend = RedisBackend::open(RedisOptions::from_url(&url).unwrap()).await.unwrap();
        let real = Real { backend: Arc::new(backend), time: Time::Waited, host: None };
        (real, Box::new(()) as Box<dyn Any>)
    });
}
