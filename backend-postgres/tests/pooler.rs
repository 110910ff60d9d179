//! Behind a pooler whose connections to the server are all taken.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{HOUR, Place, Task, claim, completed, job, queue};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, Executor, PgConnection};
use windlass_core::{
    Client, Context, Heartbeat, Outcome, Queue, Settled, State, Store, Transactional, Worker,
    WorkerInfo, WorkerOptions,
};
use windlass_postgres::{PostgresBackend, PostgresOptions};
use windlass_test_servers::PgBouncer;

/// Connections of the pooler to the server.
const SIZE: u32 = 2;

async fn pooler(place: &Place) -> PgBouncer {
    PgBouncer::builder(place.server).default_pool_size(SIZE).start().await.unwrap()
}

fn options(place: &Place, pooler: &PgBouncer) -> PostgresOptions {
    PostgresOptions::from_url(&pooler.url(&place.database)).unwrap().pooled(true)
}

/// Takes every connection of the pooler to the server, until they are dropped.
async fn take_all(place: &Place, pooler: &PgBouncer) -> Vec<PgConnection> {
    let mut taken = Vec::new();
    for _ in 0..SIZE {
        let mut conn = PgConnection::connect(&pooler.url(&place.database)).await.unwrap();
        conn.execute("BEGIN").await.unwrap();
        taken.push(conn);
    }
    taken
}

#[tokio::test]
async fn f03_f41_heartbeats_go_past_a_pooler_that_is_exhausted() {
    let place = Place::new().await;
    let pooler = pooler(&place).await;
    let options = options(&place, &pooler).direct_url(&place.url()).unwrap();
    let backend = PostgresBackend::open(options).await.unwrap();
    let info = WorkerInfo::new("test", HOUR, vec![queue()]);
    let first = backend.register(&info).await.unwrap().worker;
    backend.insert(&[job()]).await.unwrap();
    let lease = claim(&backend, first, 1).await.remove(0);
    let taken = take_all(&place, &pooler).await;
    let alive = Heartbeat::Alive { lost: Vec::new(), cancel: Vec::new(), orphaned: Vec::new() };
    assert_eq!(backend.heartbeat(first, &[lease.key]).await.unwrap(), alive);
    let second = WorkerInfo::new("test", HOUR, vec![queue()]);
    backend.register(&second).await.unwrap();
    backend.deregister(second.id).await.unwrap();
    drop(taken);
}

/// A direct way that leads nowhere is no worse than none.
#[tokio::test]
async fn f03_heartbeats_go_by_the_pooler_when_there_is_no_other_way() {
    let place = Place::new().await;
    let pooler = pooler(&place).await;
    for nowhere in ["postgres://127.0.0.1:1/x", "postgres://u:p@192.0.2.1/x?sslmode=disable"] {
        let options = options(&place, &pooler).direct_url(nowhere).unwrap().listen(false);
        let backend = PostgresBackend::open(options).await.unwrap();
        let info = WorkerInfo::new("test", HOUR, vec![queue()]);
        let id = backend.register(&info).await.unwrap().worker;
        assert!(matches!(backend.heartbeat(id, &[]).await.unwrap(), Heartbeat::Alive { .. }));
    }
}

/// The host's own pool leads through a pooler that is as it comes: jobs by the library's calls, and in the host's transactions.
#[tokio::test]
async fn f41_the_hosts_pool_may_lead_through_a_pooler() {
    let place = Place::new().await;
    let bouncer = PgBouncer::builder(place.server).setting("ignore_startup_parameters", "");
    let bouncer = bouncer.default_pool_size(SIZE).start().await.unwrap();
    let connect: PgConnectOptions = bouncer.url(&place.database).parse().unwrap();
    let connect = connect.extra_float_digits(None);
    let pool = PgPoolOptions::new().max_connections(6).connect_with(connect).await.unwrap();
    let options = PostgresOptions::default().pooled(true);
    let backend = PostgresBackend::with_pool(pool.clone(), options).await.unwrap();
    sqlx::raw_sql("CREATE TABLE host (n bigint)").execute(&pool).await.unwrap();
    let id = common::worker(&backend).await;
    for n in 0..6_i64 {
        let mut tx = pool.begin().await.unwrap();
        // The driver names what it prepares otherwise, and a pooler gives the name to others.
        let row = sqlx::query("INSERT INTO host VALUES ($1)").persistent(false).bind(n);
        row.execute(&mut *tx).await.unwrap();
        backend.insert_in(&mut tx, &[job(), common::unique_job()]).await.unwrap();
        let mut inner = tx.begin().await.unwrap();
        backend.insert_in(&mut inner, &[job()]).await.unwrap();
        inner.rollback().await.unwrap();
        assert!(claim(&backend, id, 9).await.is_empty(), "nothing shows before the commit");
        tx.commit().await.unwrap();
        let leases = claim(&backend, id, 9).await;
        assert_eq!(leases.len(), 2);
        let mut tx = pool.begin().await.unwrap();
        for lease in &leases {
            let settled = backend.settle_in(&mut tx, &completed(lease)).await.unwrap();
            assert_eq!(settled, Settled::Applied { state: State::Completed });
        }
        tx.commit().await.unwrap();
        assert!(matches!(backend.heartbeat(id, &[]).await.unwrap(), Heartbeat::Alive { .. }));
    }
    let stored = "SELECT (SELECT count(*) FROM host) || ' ' || count(*) FROM windlass.finished WHERE state = 5";
    assert_eq!(place.value(stored).await, "6 12");
}

#[tokio::test(flavor = "multi_thread")]
async fn f03_f41_a_worker_keeps_its_lease_while_the_pooler_is_exhausted() {
    const LEASE: Duration = Duration::from_secs(15);
    let place = Place::new().await;
    let pooler = pooler(&place).await;
    let options = options(&place, &pooler).direct_url(&place.url()).unwrap();
    let backend = Arc::new(PostgresBackend::open(options).await.unwrap());
    let client = Client::new(backend.clone());
    let (started, mut starts) = tokio::sync::mpsc::channel::<()>(1);
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let times = |times: &mut WorkerOptions| {
        (times.lease, times.heartbeat) = (LEASE, LEASE / 8);
    };
    let worker = Worker::new(&client).queue("default", 1).options(times).register({
        let go = go.clone();
        move |_: Task, _: Context| {
            let (started, go) = (started.clone(), go.clone());
            async move {
                started.send(()).await.unwrap();
                go.acquire().await.unwrap().forget();
                Outcome::Ok(())
            }
        }
    });
    let running = worker.start().unwrap();
    let id = client.enqueue(Task(0)).await.unwrap().id();
    starts.recv().await.unwrap();
    let before = running.id();
    let taken = take_all(&place, &pooler).await;
    let expires = "SELECT max(expires_at)::text FROM windlass.workers";
    let first: i64 = place.value(expires).await.parse().unwrap();
    // By the server's clock: leases from before have run out by then.
    common::until(async || {
        let now: i64 = place.value("SELECT windlass.now()::text").await.parse().unwrap();
        now > first + 1_000_000
    })
    .await;
    drop(taken);
    go.add_permits(1);
    common::until(async || backend.get(id).await.unwrap().unwrap().state.is_final()).await;
    let ended = backend.get(id).await.unwrap().unwrap();
    assert_eq!((ended.state, ended.attempt, ended.crashes), (State::Completed, 1, 0));
    assert_eq!(running.id(), before, "it is the same incarnation");
    running.stop().await.unwrap();
}
