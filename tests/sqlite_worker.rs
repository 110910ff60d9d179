//! The cases of `worker_cases` on SQLite.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used)]

#[macro_use]
mod worker_cases;

fn place() -> (String, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (format!("sqlite:{}", folder.path().join("jobs.db").display()), folder)
}

worker_cases!(place());
