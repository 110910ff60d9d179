//! The cases of `worker_cases` on Redis: the same program with another URL.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used)]

#[macro_use]
mod worker_cases;

use windlass_test_servers::RedisServer;

async fn place() -> (String, ()) {
    let server = RedisServer::shared().await.unwrap();
    (server.url(&format!("worker-{}", windlass::JobId::new())), ())
}

worker_cases!(place().await);
worker_cases!(place().await; f34_an_idle_worker_is_woken_by_the_jobs_of_another_process);
