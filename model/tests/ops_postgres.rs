//! Random operations on the memory backend and on Postgres.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ops_support;

use std::sync::Arc;

use windlass_core::JobId;
use windlass_model::ops::{Real, Time};
use windlass_postgres::{PostgresBackend, PostgresOptions};
use windlass_test_servers::PostgresServer;

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
        (real, Box::new(()) as Box<dyn std::any::Any>)
    });
}
