//! PgBouncer before a server.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

use sqlx::{Connection, Executor, PgConnection};
use windlass_test_servers::{PgBouncer, PostgresServer};

#[tokio::test]
async fn a_transaction_goes_through_and_a_kill_cuts_it() {
    let server = PostgresServer::builder().start().await.unwrap();
    let database = server.create_database().await.unwrap();
    let bouncer = PgBouncer::builder(&server).default_pool_size(1).start().await.unwrap();

    let mut conn = PgConnection::connect(&bouncer.url(&database)).await.unwrap();
    let mut txn = conn.begin().await.unwrap();
    // Without a name, as a prepared statement can be gone with the next transaction.
    let sum = sqlx::query_scalar("SELECT $1 + 1").bind(41_i32).persistent(false);
    let sum: i32 = sum.fetch_one(&mut *txn).await.unwrap();
    assert_eq!(sum, 42);
    txn.commit().await.unwrap();

    bouncer.kill().await.unwrap();
    conn.execute("SELECT 1").await.unwrap_err();
    PgConnection::connect(&bouncer.url(&database)).await.unwrap_err();
    bouncer.restart().await.unwrap();
    let mut conn = PgConnection::connect(&bouncer.url(&database)).await.unwrap();
    conn.execute("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn sessions_share_the_pool_and_settings_and_users_are_taken() {
    let server = PostgresServer::builder().start().await.unwrap();
    server.execute("postgres", "CREATE ROLE other LOGIN PASSWORD 'secret'").await.unwrap();
    let bouncer = PgBouncer::builder(&server)
        .default_pool_size(1)
        .user("other", "secret")
        .setting("max_client_conn", "2")
        .start()
        .await
        .unwrap();

    // Two sessions, one connection to the server: both see the same process.
    let url = bouncer.url_as("other", "secret", "postgres");
    let mut pids = Vec::new();
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let mut conn = PgConnection::connect(&url).await.unwrap();
        let pid = sqlx::query_scalar("SELECT pg_backend_pid()").persistent(false);
        pids.push(pid.fetch_one(&mut conn).await.unwrap());
        sessions.push(conn);
    }
    let [one, two]: [i32; 2] = pids.try_into().unwrap();
    assert_eq!(one, two);
    let error = PgConnection::connect(&url).await.unwrap_err().to_string();
    assert!(error.contains("max_client_conn"), "{error}");
}
