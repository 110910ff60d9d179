//! What is not there for a while, as a worker lives through it: connections, the server, a table that somebody locks, the pooler.
#![cfg(feature = "postgres")]
#![allow(clippy::unwrap_used)]

mod outages;
mod postgres_service;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use outages::{Task, all_ran_once, short, until};
use postgres_service::Service;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnection, PgPoolOptions};
use windlass::postgres::{PostgresBackend, PostgresOptions};
use windlass::{Client, Context, Outcome, RunningWorker, Worker};
use windlass_test_servers::{PgBouncer, PostgresServer};

/// The lease of the workers here.
const LEASE: Duration = Duration::from_secs(6);

/// A worker with a few slots that counts its runs.
fn worker(client: &Client<PostgresBackend>, runs: &Arc<AtomicUsize>) -> Worker {
    outages::worker(client, runs, LEASE, 4)
}

/// The host's code holds every connection of the pool that it shares with the library, for longer than the lease lasts.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_that_the_host_exhausts_costs_time_and_nothing_else() {
    let server = PostgresServer::shared().await.unwrap();
    let database = server.create_database().await.unwrap();
    let pool = PgPoolOptions::new().max_connections(2).acquire_timeout(Duration::from_secs(2));
    let pool = pool.connect(&server.url(&database)).await.unwrap();
    let options = PostgresOptions::default();
    let backend = PostgresBackend::with_pool(pool.clone(), options).await.unwrap();
    let client = Client::new(Arc::new(backend));
    let runs = Arc::default();
    let running = worker(&client, &runs).start().unwrap();
    until("the worker is ready", async || running.ready()).await;
    let id = running.id();
    let mut jobs = Vec::new();
    for n in 0..50 {
        jobs.push(client.enqueue(Task(n)).await.unwrap());
    }
    // Nobody gets both in a queue of those who want one.
    let (mut all, mut refused) = (Vec::new(), 0);
    while all.len() < 2 {
        match pool.acquire().await {
            Ok(conn) => all.push(conn),
            Err(_) => refused += 1,
        }
        assert!(refused < 100, "the library keeps the connections");
    }
    let error = client.enqueue(Task(0)).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("no connection became free in time"), "{cause}");
    until("the worker says that it is not ready", async || !running.ready()).await;
    tokio::time::sleep(LEASE + Duration::from_secs(1)).await;
    assert!(!running.ready());
    drop(all);
    until("the worker is ready again", async || running.ready()).await;
    for n in 0..50 {
        jobs.push(client.enqueue(Task(n)).await.unwrap());
    }
    all_ran_once(&jobs, &runs).await;
    // F3: heartbeats have a connection of their own, so the lease was kept all the while.
    assert_eq!(running.id(), id);
    running.stop().await.unwrap();
}

async fn readiness(running: &RunningWorker, client: &Client<PostgresBackend>, down: bool) {
    until(&format!("down: {down}"), async || running.ready() != down).await;
    if down {
        let error = client.enqueue(Task(0)).await.unwrap_err();
        assert!(error.is_transient(), "{error:?}");
        assert!(!running.ready());
    }
}

/// A worker tells that its server is away, and that it is back; it may even start before it.
#[tokio::test(flavor = "multi_thread")]
async fn f14_f48_readiness_follows_the_server() {
    let server = PostgresServer::builder().start().await.unwrap();
    let options = PostgresOptions::from_url(&server.url("postgres")).unwrap();
    let options = options.acquire_timeout(Duration::from_secs(1));
    let client = Client::new(Arc::new(PostgresBackend::open(options).await.unwrap()));
    let runs = Arc::default();
    // The server may be away for long; that its jobs keep their owners is shown elsewhere.
    let start = || worker(&client, &runs).options(|o| o.lease = 10 * LEASE).start().unwrap();
    let mut running = start();
    let mut jobs = Vec::new();
    for round in 0..3 {
        readiness(&running, &client, false).await;
        jobs.push(client.enqueue(Task(round)).await.unwrap());
        all_ran_once(&jobs, &runs).await;
        match round {
            0 => server.stop_immediate().await.unwrap(),
            _ => server.kill_9().await.unwrap(),
        }
        readiness(&running, &client, true).await;
        if round == 1 {
            running.shutdown_now();
            running.join().await.unwrap();
            running = start();
            assert!(!running.ready());
        }
        server.start().await.unwrap();
    }
    readiness(&running, &client, false).await;
    jobs.push(client.enqueue(Task(9)).await.unwrap());
    all_ran_once(&jobs, &runs).await;
    running.stop().await.unwrap();
}

/// Outcomes can't be written for longer than the lease lasts: heartbeats go on, claims stop, nothing runs twice.
#[tokio::test(flavor = "multi_thread")]
async fn f03_f14_f15_outcomes_that_can_not_be_written_cost_no_lease_and_do_not_pile_up() {
    let server = PostgresServer::shared().await.unwrap();
    let database = server.create_database().await.unwrap();
    let options = PostgresOptions::from_url(&server.url(&database)).unwrap();
    let client = Client::new(Arc::new(PostgresBackend::open(options.clone()).await.unwrap()));
    // Another process, which would take up what it finds lost.
    let other = Client::new(Arc::new(PostgresBackend::open(options).await.unwrap()));
    let idle = |_: Task, _: Context| async { Outcome::Ok(()) };
    let other = Worker::new(&other).options(|o| short(o, LEASE)).register(idle).queue("other", 1);
    let other = other.start().unwrap();
    let jobs = client.enqueue_many((0..60).map(Task)).await.unwrap();
    let mut host = PgConnection::connect(&server.url(&database)).await.unwrap();
    let mut lock = host.begin().await.unwrap();
    let sql = "LOCK TABLE windlass.finished IN ACCESS EXCLUSIVE MODE";
    sqlx::query(sql).execute(&mut *lock).await.unwrap();
    let runs: Arc<AtomicUsize> = Arc::default();
    let running = worker(&client, &runs).options(|o| o.settle_buffer = 2).start().unwrap();
    until("outcomes wait", async || runs.load(Ordering::Relaxed) >= 3).await;
    tokio::time::sleep(LEASE + LEASE / 2).await;
    // What is being settled, what waits for it, and what runs.
    let before = runs.load(Ordering::Relaxed);
    assert!(before <= 12, "{before} of 60 jobs were run while none could be settled");
    lock.rollback().await.unwrap();
    all_ran_once(&jobs, &runs).await;
    running.stop().await.unwrap();
    other.stop().await.unwrap();
}

/// The library goes through a pooler in transaction mode, the host doesn't.
async fn pooled(server: &PostgresServer) -> (Service, PgBouncer) {
    // How long it waits after a server that was down; 15 s as it comes.
    let bouncer = PgBouncer::builder(server).setting("server_login_retry", "1");
    let bouncer = bouncer.start().await.unwrap();
    let url = format!("{}?pooler=transaction", bouncer.url("postgres"));
    (Service::start(server, &url, &server.url("postgres")).await, bouncer)
}

/// The service behind a pooler in transaction mode, which itself dies under load, and whose server does.
#[tokio::test(flavor = "multi_thread")]
async fn f41_f48_restarts_of_a_pooler_and_behind_it_lose_and_double_nothing() {
    let server = PostgresServer::builder().start().await.unwrap();
    let (service, bouncer) = pooled(&server).await;
    let end = Arc::new(AtomicBool::new(false));
    let producer = service.producer(end.clone(), 0);
    for round in 0..4 {
        service.works(20).await;
        match round % 2 {
            0 => bouncer.restart().await.unwrap(),
            _ => server.restart_immediate().await.unwrap(),
        }
    }
    service.works(20).await;
    end.store(true, Ordering::Relaxed);
    service.check("pooler", producer.await.unwrap()).await;
}

/// Connections of the pooler to its server are ended one by one.
#[tokio::test(flavor = "multi_thread")]
async fn f14_f41_connections_cut_behind_a_pooler_lose_and_double_nothing() {
    let server = PostgresServer::builder().start().await.unwrap();
    let (service, _bouncer) = pooled(&server).await;
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
    service.check("cut behind a pooler", producer.await.unwrap()).await;
}
