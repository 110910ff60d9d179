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
worker_cases!(place(); f34_an_idle_worker_is_woken_by_the_jobs_of_another_process);
