//! Workers and clients on a Postgres server to which things happen: what was acknowledged ends as it should, and nobody dies.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgPool, PgPoolOptions};
use windlass::postgres::{PostgresBackend, PostgresOptions};
use windlass::{Client, Context, Job, JobId, Outcome, RunningWorker, State, Worker};
use windlass_test_servers::{PostgresServer, Proxy, Stall};

const PATIENCE: Duration = Duration::from_secs(90);

/// Writes a row of the host's that commits with the completion.
#[derive(Job, Serialize, Deserialize)]
#[job(kind = "effect", max_attempts = 50, backoff(base = "50ms", max = "500ms"))]
struct Effect {
    number: u64,
}

#[derive(Clone)]
struct App {
    client: Client<PostgresBackend>,
    host: PgPool,
    runs: Arc<AtomicU64>,
}

async fn effect(job: Effect, cx: Context<App>) -> Outcome {
    let app = cx.state();
    app.runs.fetch_add(1, Ordering::Relaxed);
    let mut tx = app.host.begin().await?;
    sqlx::query("INSERT INTO effects (job, number) VALUES ($1, $2)")
        .bind(*cx.job_id().as_uuid())
        .bind(i64::try_from(job.number)?)
        .execute(&mut *tx)
        .await?;
    app.client.complete_in(&mut tx, &cx, &()).await?;
    tx.commit().await?;
    Ok(())
}

/// A service on one database: clients, host tables, a worker.
struct Service {
    app: App,
    admin: PgPool,
    worker: RunningWorker,
}

impl Service {
    async fn start(server: &PostgresServer, url: &str) -> Self {
        let admin = pool(server.url("postgres"), 2);
        sqlx::raw_sql("CREATE TABLE effects (job uuid NOT NULL, number bigint NOT NULL)")
            .execute(&admin)
            .await
            .unwrap();
        let options = PostgresOptions::from_url(url).unwrap().connections(6);
        let options = options.acquire_timeout(Duration::from_secs(3));
        let options = options.statement_timeout(Duration::from_secs(10));
        let client = Client::new(Arc::new(PostgresBackend::open(options).await.unwrap()));
        let app = App { client, host: pool(url.to_owned(), 8), runs: Arc::default() };
        let worker = Worker::new(&app.client)
            .options(|o| {
                o.lease = Duration::from_secs(6);
                o.heartbeat = Duration::from_secs(2);
            })
            .state(app.clone())
            .register(effect)
            .queue("default", 16)
            .start()
            .unwrap();
        Self { app, admin, worker }
    }

    /// Enqueues jobs until told to end; answers those that were acknowledged.
    fn producer(&self, end: Arc<AtomicBool>, start: u64) -> tokio::task::JoinHandle<Vec<JobId>> {
        let client = self.app.client.clone();
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            let mut number = start;
            while !end.load(Ordering::Relaxed) {
                number += 1;
                match client.enqueue(Effect { number }).await {
                    Ok(job) => acknowledged.push(job.id()),
                    Err(error) => assert!(error.is_transient(), "{error:?}"),
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            acknowledged
        })
    }

    /// Waits until every job has ended, and checks that each did as it should.
    async fn check(self, what: &str, acknowledged: Vec<JobId>) {
        let started = Instant::now();
        loop {
            if let Ok(stats) = self.app.client.stats().await {
                let open = [State::Available, State::Running, State::Retryable, State::Scheduled];
                if open.iter().all(|state| stats.in_state(*state) == 0) {
                    break;
                }
            }
            assert!(started.elapsed() < PATIENCE, "{what}: jobs are left");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (mut completed, mut lost) = (0, 0);
        for id in &acknowledged {
            match self.app.client.get(*id).await.unwrap().map(|job| job.state) {
                Some(State::Completed) => completed += 1,
                _ => lost += 1,
            }
        }
        let (rows, different): (i64, i64) =
            sqlx::query_as("SELECT count(*), count(DISTINCT job) FROM effects")
                .fetch_one(&self.admin)
                .await
                .unwrap();
        let runs = self.app.runs.load(Ordering::Relaxed);
        let (enqueued, doubled) = (acknowledged.len(), rows - different);
        println!(
            "{what}: enqueued {enqueued}, completed {completed}, lost {lost}, doubled commits {doubled}, handler runs {runs}"
        );
        assert_eq!((lost, doubled), (0, 0));
        assert!(different >= i64::from(completed), "a completion without its effect");
        assert!(enqueued > 50, "the fault left no time to work");
        self.worker.stop().await.unwrap();
    }
}

fn pool(url: String, connections: u32) -> PgPool {
    let options = PgPoolOptions::new().max_connections(connections);
    options.acquire_timeout(Duration::from_secs(3)).connect_lazy(&url).unwrap()
}

async fn seconds(n: f64) {
    tokio::time::sleep(Duration::from_secs_f64(n)).await;
}

/// F48: the server is restarted without ceremony, again and again, under load.
#[tokio::test(flavor = "multi_thread")]
async fn f48_restarts_lose_and_double_nothing() {
    let server = PostgresServer::builder().start().await.unwrap();
    let service = Service::start(&server, &server.url("postgres")).await;
    let end = Arc::new(AtomicBool::new(false));
    let producers = [0, 1_000_000].map(|start| service.producer(end.clone(), start));
    for _ in 0..4 {
        seconds(1.0).await;
        server.restart_immediate().await.unwrap();
    }
    seconds(1.0).await;
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
    let service = Service::start(&server, &server.url("postgres")).await;
    let end = Arc::new(AtomicBool::new(false));
    let producer = service.producer(end.clone(), 0);
    for _ in 0..40 {
        seconds(0.08).await;
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
    let service = Service::start(&server, &server.at_port(proxy.port()).url("postgres")).await;
    let end = Arc::new(AtomicBool::new(false));
    let producer = service.producer(end.clone(), 0);
    seconds(1.0).await;
    for stall in [Stall::All, Stall::Replies] {
        // Replies that never come: what was sent may have been committed.
        proxy.stall(stall);
        seconds(1.5).await;
        proxy.cut().await;
        proxy.stall(Stall::Off);
        seconds(1.0).await;
    }
    proxy.refuse().await;
    proxy.cut().await;
    seconds(2.0).await;
    proxy.accept().await.unwrap();
    seconds(1.0).await;
    end.store(true, Ordering::Relaxed);
    let acknowledged = producer.await.unwrap();
    service.check("network", acknowledged).await;
}

/// Statements are cancelled by the server's own timeout, and others lock what the library wants.
#[tokio::test(flavor = "multi_thread")]
async fn statement_timeouts_and_locks_lose_and_double_nothing() {
    let server =
        PostgresServer::builder().setting("statement_timeout", "300ms").start().await.unwrap();
    let service = Service::start(&server, &server.url("postgres")).await;
    let end = Arc::new(AtomicBool::new(false));
    let producer = service.producer(end.clone(), 0);
    for table in ["jobs", "finished", "events", "counts"] {
        seconds(0.5).await;
        let mut tx = service.admin.begin().await.unwrap();
        let lock = format!(
            "SET LOCAL statement_timeout = '20s'; LOCK TABLE windlass.{table} IN ACCESS EXCLUSIVE MODE"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(lock)).execute(&mut *tx).await.unwrap();
        seconds(0.8).await;
        tx.rollback().await.unwrap();
    }
    end.store(true, Ordering::Relaxed);
    let acknowledged = producer.await.unwrap();
    service.check("statement timeouts", acknowledged).await;
}

/// The disk of the server fills up; when there is room again everything goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_loses_and_doubles_nothing() {
    let builder = PostgresServer::builder().data_on_tmpfs(256 << 20);
    let builder = builder.setting("max_wal_size", "48MB").setting("min_wal_size", "32MB");
    let server = builder.start().await.unwrap();
    let service = Service::start(&server, &server.url("postgres")).await;
    let end = Arc::new(AtomicBool::new(false));
    let producer = service.producer(end.clone(), 0);
    seconds(1.0).await;
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
    seconds(2.0).await;
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
