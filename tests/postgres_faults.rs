//! Workers and clients on a Postgres server to which things happen: what was acknowledged ends as it should, and nobody dies.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used)]

mod postgres_service;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use postgres_service::{Effect, PATIENCE, Service, seconds};
use windlass_test_servers::{PostgresServer, Proxy, Stall};

/// A service that reaches the server in one way only.
async fn start(server: &PostgresServer, url: &str) -> Service {
    Service::start(server, url, url).await
}

/// F48: the server is restarted without ceremony, again and again, under load.
#[tokio::test(flavor = "multi_thread")]
async fn f48_restarts_lose_and_double_nothing() {
    let server = PostgresServer::builder().start().await.unwrap();
    let service = start(&server, &server.url("postgres")).await;
    let end = Arc::new(AtomicBool::new(false));
    let producers = [0, 1_000_000].map(|start| service.producer(end.clone(), start));
    for _ in 0..4 {
        service.works(20).await;
        server.restart_immediate().await.unwrap();
    }
    service.works(20).await;
    end.store(true, Ordering::Relaxed);
    let mut acknowledged = Vec::new();
    for producer in producers {
        acknowledged.extend(producer.await.unwrap());
    }
    service.check("restart", acknowledged).await;
}

/// F14, F48: connections are ended one by one while jobs run.
#[tokio::test(flavor = "multi_thread")]
async fn f14_connections_that_are_cut_lose_and_double_nothing() {
    let server = PostgresServer::builder().start().await.unwrap();
    let service = start(&server, &server.url("postgres")).await;
    let end = Arc::new(AtomicBool::new(false));
    let producer = service.producer(end.clone(), 0);
    for _ in 0..25 {
        service.works(3).await;
        let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 1";
        // It may be this very connection that goes next.
        let _ = sqlx::query(cut).execute(&service.admin).await;
    }
    end.store(true, Ordering::Relaxed);
    let acknowledged = producer.await.unwrap();
    service.check("cut connections", acknowledged).await;
}

/// The network swallows everything for a while, and later all connections break at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_stalls_and_breaks_loses_and_doubles_nothing() {
    let server = PostgresServer::builder().start().await.unwrap();
    let proxy = Proxy::start(server.port()).await.unwrap();
    let service = start(&server, &server.at_port(proxy.port()).url("postgres")).await;
    let end = Arc::new(AtomicBool::new(false));
    let producer = service.producer(end.clone(), 0);
    service.works(20).await;
    for stall in [Stall::All, Stall::Replies] {
        // Replies that never come: what was sent may have been committed.
        proxy.stall(stall);
        seconds(1.5).await;
        proxy.cut().await;
        proxy.stall(Stall::Off);
        service.works(20).await;
    }
    proxy.refuse().await;
    proxy.cut().await;
    seconds(2.0).await;
    proxy.accept().await.unwrap();
    service.works(20).await;
    end.store(true, Ordering::Relaxed);
    let acknowledged = producer.await.unwrap();
    service.check("network", acknowledged).await;
}

/// Statements are cancelled while others lock what the library wants: on its own connections by the bound that it sets, in the host's transactions by
/// the server's.
#[tokio::test(flavor = "multi_thread")]
async fn statement_timeouts_and_locks_lose_and_double_nothing() {
    // The log tells whose statement was cancelled.
    let server =
        PostgresServer::builder().setting("log_line_prefix", "%a: ").start().await.unwrap();
    let named = |name| format!("{}?application_name={name}", server.url("postgres"));
    let bound = Duration::from_secs(1);
    let service = Service::start_bounded(&server, &named("library"), &named("host"), bound).await;
    // Not before all is open: a slow machine takes longer to make the schema.
    for sql in ["ALTER SYSTEM SET statement_timeout = '300ms'", "SELECT pg_reload_conf()"] {
        server.execute("postgres", sql).await.unwrap();
    }
    let end = Arc::new(AtomicBool::new(false));
    let producer = service.producer(end.clone(), 0);
    for table in ["jobs", "finished", "events", "counts"] {
        service.works(10).await;
        let before = cancelled(&server, "library");
        let mut tx = service.admin.begin().await.unwrap();
        let lock = format!("LOCK TABLE windlass.{table} IN ACCESS EXCLUSIVE MODE");
        sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut *tx).await.unwrap();
        let started = Instant::now();
        while cancelled(&server, "library") < before + 3 {
            assert!(started.elapsed() < PATIENCE, "{table}: no statement is cancelled");
            seconds(0.02).await;
        }
        tx.rollback().await.unwrap();
    }
    end.store(true, Ordering::Relaxed);
    let acknowledged = producer.await.unwrap();
    let [library, host] = ["library", "host"].map(|name| cancelled(&server, name));
    println!("statements cancelled: {library} of the library, {host} of the host");
    service.check("statement timeouts", acknowledged).await;
}

/// How many statements of an application the server has cancelled because they took too long.
fn cancelled(server: &PostgresServer, application: &str) -> usize {
    let line = format!("{application}: ERROR:  canceling statement due to statement timeout");
    server.log().unwrap().lines().filter(|text| **text == line).count()
}

/// The disk of the server fills up; when there is room again everything goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_and_doubles_nothing() {
    let builder = PostgresServer::builder().data_on_tmpfs(256 << 20);
    let builder = builder.setting("max_wal_size", "48MB").setting("min_wal_size", "32MB");
    let server = builder.start().await.unwrap();
    let service = start(&server, &server.url("postgres")).await;
    let end = Arc::new(AtomicBool::new(false));
    let producer = service.producer(end.clone(), 0);
    service.works(20).await;
    let filler = server.folder().join("data").join("filler");
    fill(filler.clone()).await;
    let error = async {
        loop {
            if let Err(error) = service.app.client.enqueue(Effect { number: 7 }).await {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, error).await.expect("the disk is full");
    assert!(error.is_transient(), "{error:?}");
    tokio::fs::remove_file(filler).await.unwrap();
    // A server that could not write its log has stopped; one that only could not extend a table goes on.
    let _ = server.start().await;
    service.works(20).await;
    end.store(true, Ordering::Relaxed);
    let acknowledged = producer.await.unwrap();
    service.check("full disk", acknowledged).await;
}

/// Writes to a file until there is no room.
async fn fill(path: std::path::PathBuf) {
    let write = move || {
        use std::io::Write as _;
        let mut file = std::fs::File::create(path)?;
        loop {
            file.write_all(&[1; 1 << 16])?;
        }
    };
    let error: std::io::Result<()> = tokio::task::spawn_blocking(write).await.unwrap();
    assert_eq!(error.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
}
