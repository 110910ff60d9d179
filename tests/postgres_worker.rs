//! The cases of `worker_cases` on Postgres: the same program with another URL, directly and behind PgBouncer.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used)]

#[macro_use]
mod worker_cases;

use windlass_test_servers::{PgBouncer, PostgresServer};

async fn direct() -> (String, ()) {
    let server = PostgresServer::shared().await.unwrap();
    let database = server.create_database().await.unwrap();
    (with(server.url(&database), "connections=2"), ())
}

/// Adds parameters to a URL that may have some.
fn with(url: String, parameters: &str) -> String {
    let joint = if url.contains('?') { '&' } else { '?' };
    format!("{url}{joint}{parameters}")
}

worker_cases!(direct().await);
// Behind a pooler nothing is heard of others: there, jobs are found by polling alone.
worker_cases!(direct().await; f34_an_idle_worker_is_woken_by_the_jobs_of_another_process);

/// F41: all of it where no connection lasts longer than a transaction, and by polling alone.
mod pgbouncer {
    use super::*;

    async fn pooled() -> (String, PgBouncer) {
        let server = PostgresServer::shared().await.unwrap();
        let database = server.create_database().await.unwrap();
        let bouncer = PgBouncer::builder(server).start().await.unwrap();
        (with(bouncer.url(&database), "pooler=transaction&connections=4"), bouncer)
    }

    worker_cases!(pooled().await);
}
