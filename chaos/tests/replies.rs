//! A reply that is dropped: the server has done it, and the client hears of nothing.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use windlass::redis::{RedisBackend, RedisOptions};
use windlass::{Kind, NewJob, Payload, QueueName, Store as _};
use windlass_chaos::wire::{Wire, postgres, redis};
use windlass_test_servers::{PostgresServer, RedisServer};

const PATIENCE: Duration = Duration::from_secs(30);

fn dropped(wire: &Wire) -> u64 {
    wire.dropped().values().sum()
}

#[tokio::test]
async fn a_commit_of_postgres_is_done_and_its_reply_is_not_heard() {
    let server = PostgresServer::builder().start().await.unwrap();
    server.execute("postgres", "CREATE TABLE a (n integer)").await.unwrap();
    let wire = Wire::start(server.port(), postgres::Postgres::new).await.unwrap();
    let url = server.at_port(wire.port()).url("postgres");
    let insert = "INSERT INTO a VALUES (1)";
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let mut tx = conn.begin().await.unwrap();
    sqlx::query(insert).execute(&mut *tx).await.unwrap();
    // A commit is named by what its transaction wrote first.
    wire.drop_next(&format!("COMMIT after {insert}"));
    assert!(tx.commit().await.is_err());
    // One that is not in a transaction, prepared.
    let mut conn = PgConnection::connect(&url).await.unwrap();
    wire.drop_next(insert);
    assert!(sqlx::query(insert).execute(&mut conn).await.is_err());
    // Not committed: it is rolled back with its connection.
    let mut conn = PgConnection::connect(&url).await.unwrap();
    let mut tx = conn.begin().await.unwrap();
    wire.drop_next(insert);
    sqlx::query(insert).execute(&mut *tx).await.unwrap();
    tx.rollback().await.unwrap();
    assert!(wire.spare());
    let found = server.value("postgres", "SELECT count(*)::text FROM a").await.unwrap();
    assert_eq!((found.as_deref(), dropped(&wire)), (Some("2"), 2));
}

fn job() -> NewJob {
    let (kind, queue) = (Kind::new("a").unwrap(), QueueName::new("a").unwrap());
    NewJob::new(kind, queue, Payload::json(&1).unwrap())
}

#[tokio::test]
async fn a_script_of_redis_is_done_and_its_reply_is_not_heard() {
    let server = RedisServer::builder().start().await.unwrap();
    let wire = Wire::start(server.port(), redis::Redis::new).await.unwrap();
    let (from, to) = (server.port().to_string(), wire.port().to_string());
    let url = server.url("jobs").replace(&format!(":{from}/"), &format!(":{to}/"));
    let through = RedisBackend::open(RedisOptions::from_url(&url).unwrap()).await.unwrap();
    let through = Arc::new(through);
    let around = RedisOptions::from_url(&server.url("jobs")).unwrap();
    let around = RedisBackend::open(around).await.unwrap();
    let begun = Instant::now();
    // Until the script is known by its digest, and its reply was dropped: then the job is there, whatever its caller was told.
    for turn in 0.. {
        assert!(begun.elapsed() < PATIENCE, "no reply is dropped");
        let (seen, job) = (wire.seen(), job());
        // Each of the scripts in turn: which one inserts is the library's affair.
        if let Some(name) = seen.get(turn % seen.len().max(1)) {
            wire.drop_next(name);
        }
        // The library may try again by itself.
        let _ = through.insert(std::slice::from_ref(&job)).await;
        wire.spare();
        if dropped(&wire) > 0 {
            assert!(around.get(job.id).await.unwrap().is_some());
            return;
        }
    }
}
