//! Random operations on the memory backend and on SQLite.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ops_support;

use std::sync::Arc;

use windlass_model::ops::{Real, Time};
use windlass_sqlite::{SqliteBackend, SqliteOptions};

#[test]
fn sqlite_answers_as_the_memory_backend_does() {
    let regressions = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions/sqlite.txt");
    ops_support::check(regressions, 500, || async {
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(folder.path().join("jobs.db"));
        let backend = Arc::new(SqliteBackend::open(options).await.unwrap());
        let clock = backend.clone();
        let time = Time::Moved(Box::new(move |by| clock.advance_clock(by)));
        (Real { backend, time }, Box::new(folder) as Box<dyn std::any::Any>)
    });
}
