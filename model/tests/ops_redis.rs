//! Random operations on the memory backend and on Redis.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ops_support;

use std::sync::Arc;

use windlass_core::JobId;
use windlass_model::ops::{Real, Time};
use windlass_redis::{RedisBackend, RedisOptions};
use windlass_test_servers::RedisServer;

#[test]
fn redis_answers_as_the_memory_backend_does() {
    let regressions = concat!(env!("CARGO_MANIFEST_DIR"), "/regressions/redis.txt");
    ops_support::check(regressions, 200, || async {
        // A namespace that no other sequence has.
        let url = RedisServer::shared().await.unwrap().url(&format!("ops-{}", JobId::new()));
        let backend = RedisBackend::open(RedisOptions::from_url(&url).unwrap()).await.unwrap();
        let real = Real { backend: Arc::new(backend), time: Time::Waited };
        (real, Box::new(()) as Box<dyn std::any::Any>)
    });
}
