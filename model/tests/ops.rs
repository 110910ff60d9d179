//! Random operations on the memory backend and on each of the others. The three run side by side: much of their time they wait.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ops_support;

use std::any::Any;
use std::sync::Arc;

use windlass_core::JobId;
use windlass_model::ops::{Real, Time};
use windlass_postgres::{PostgresBackend, PostgresOptions};
use windlass_redis::{RedisBackend, RedisOptions};
use windlass_sqlite::{SqliteBackend, SqliteOptions};
use windlass_test_servers::{PostgresServer, RedisServer};

#[test]
fn sqlite_answers_as_the_memory_backend_does() {
    let regressions = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions/sqlite.txt");
    ops_support::check(regressions, 500, || async {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(folder.path().join("jobs.db"));
        let backend = Arc::new(SqliteBackend::open(options).await.unwrap());
        let clock = backend.clone();
        let time = Time::Moved(Box::new(move |by| clock.advance_clock(by)));
        (Real { backend, time }, Box::new(folder) as Box<dyn Any>)
    });
}

#[test]
fn postgres_answers_as_the_memory_backend_does() {
    let regressions = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions/postgres.txt");
    ops_support::check(regressions, 120, || async {
        let url = PostgresServer::shared().await.unwrap().url("postgres");
        // A schema that no other sequence has.
        let schema = format!("ops_{}", JobId::new().as_uuid().simple());
        let options = PostgresOptions::from_url(&url).unwrap().schema(schema).unwrap();
        let backend = PostgresBackend::open(options.connections(4)).await.unwrap();
        let real = Real { backend: Arc::new(backend), time: Time::Waited };
        (real, Box::new(()) as Box<dyn Any>)
    });
}

#[test]
fn redis_answers_as_the_memory_backend_does() {
    let regressions = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions/redis.txt");
    ops_support::check(regressions, 200, || async {
        // A namespace that no other sequence has.
        let url = RedisServer::shared().await.unwrap().url(&format!("ops-{}", JobId::new()));
        let backend = RedisBackend::open(RedisOptions::from_url(&url).unwrap()).await.unwrap();
        let real = Real { backend: Arc::new(backend), time: Time::Waited };
        (real, Box::new(()) as Box<dyn Any>)
    });
}
