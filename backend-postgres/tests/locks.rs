//! Others hold locks: the host, in transactions that take their time, and people with SQL.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{HOUR, LOCK_WAITS, Place, Task, claim, completed, everything, job, until, worker};
use sqlx::{Connection, PgConnection};
use windlass_core::{
    AttemptOutcome, Client, Failure, FailureKind, JobId, Lease, LogLevel, NewJob, Note, OnConflict,
    Outcome, Queue, Settled, Settlement, State, Store, Transactional, Unique, UniqueKey,
    UniqueUntil, Worker,
};
use windlass_postgres::{PostgresBackend, PostgresOptions};

const BRIEF: Duration = Duration::from_millis(200);

/// Far more patient than the lock timeout: a call that waits for a lock to the end fails by it.
fn options(place: &Place) -> PostgresOptions {
    place.options().lock_timeout(BRIEF).statement_timeout(Duration::from_secs(10))
}

async fn lock(conn: &mut PgConnection, job: JobId) {
    let sql = "UPDATE windlass.jobs SET priority = priority WHERE id = $1";
    let done = sqlx::query(sql).bind(*job.as_uuid()).execute(conn).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
}

fn retried(lease: &Lease) -> Settlement {
    let failure = Failure { kind: FailureKind::Error, message: "boom".into() };
    Settlement::new(lease.key, AttemptOutcome::Retry { delay: HOUR, failure })
}

fn noted(lease: &Lease) -> Settlement {
    let mut settlement = completed(lease);
    settlement.notes = vec![Note::Log { level: LogLevel::Info, message: "line".into() }];
    settlement
}

fn applied(state: State) -> Settled {
    Settled::Applied { state }
}

async fn four(backend: &PostgresBackend) -> Vec<Lease> {
    backend.insert(&[job(), job(), job(), job()]).await.unwrap();
    let leases = claim(backend, worker(backend).await, 4).await;
    assert_eq!(leases.len(), 4);
    leases
}

#[tokio::test]
async fn f15_a_job_that_somebody_has_locked_holds_up_no_other_settlement() {
    let place = Place::new().await;
    let pool = sqlx::PgPool::connect(&place.url()).await.unwrap();
    let hosts = PostgresBackend::with_pool(pool, options(&place).migrate(true)).await.unwrap();
    let pooled = PostgresBackend::open(options(&place).pooled(true)).await.unwrap();
    let own = PostgresBackend::open(options(&place)).await.unwrap();
    for backend in [own, hosts, pooled] {
        let leases = four(&backend).await;
        let mut other = place.host().await;
        let mut tx = other.begin().await.unwrap();
        for lease in &leases[..2] {
            lock(&mut tx, lease.key.job).await;
        }
        let settlements =
            [completed(&leases[0]), retried(&leases[1]), noted(&leases[2]), retried(&leases[3])];
        let answers = backend.settle(&settlements).await.unwrap();
        let done = [applied(State::Completed), applied(State::Retryable)];
        assert_eq!(answers[..2], [Settled::Busy, Settled::Busy]);
        assert_eq!(answers[2..], done);
        for settlement in &settlements[..2] {
            let alone = backend.settle(std::slice::from_ref(settlement)).await.unwrap();
            assert_eq!(alone, [Settled::Busy]);
        }
        tx.rollback().await.unwrap();
        assert_eq!(backend.settle(&settlements[..2]).await.unwrap(), done);
        let again = backend.settle(&settlements).await.unwrap();
        assert_eq!(again[0], Settled::Already { state: State::Completed });
    }
}

/// What the host completes in a transaction that is open still is told once it has committed.
#[tokio::test]
async fn f01_what_the_host_completes_meanwhile_is_busy_and_then_already_settled() {
    let place = Place::new().await;
    let backend = PostgresBackend::open(options(&place)).await.unwrap();
    let leases = four(&backend).await;
    let mut host = place.host().await;
    let mut tx = host.begin().await.unwrap();
    let settled = backend.settle_in(&mut tx, &completed(&leases[0])).await.unwrap();
    assert_eq!(settled, applied(State::Completed));
    let settlements = [retried(&leases[0]), retried(&leases[1])];
    let answers = backend.settle(&settlements).await.unwrap();
    assert_eq!(answers, [Settled::Busy, applied(State::Retryable)]);
    tx.commit().await.unwrap();
    let answers = backend.settle(&settlements[..1]).await.unwrap();
    assert_eq!(answers, [Settled::Already { state: State::Completed }]);
}

/// The lock is on the unique key that a follow-up wants, which some transaction has taken and not committed.
#[tokio::test]
async fn f15_a_follow_up_whose_key_is_being_taken_holds_up_no_other_settlement() {
    let place = Place::new().await;
    let backend = PostgresBackend::open(options(&place)).await.unwrap();
    let leases = four(&backend).await;
    let unique = || {
        let (key, until) = (UniqueKey::new("key").unwrap(), UniqueUntil::Finished);
        let mut job: NewJob = job();
        job.unique = Some(Unique { key, until, on_conflict: OnConflict::Keep });
        job
    };
    let mut host = place.host().await;
    let mut tx = host.begin().await.unwrap();
    backend.insert_in(&mut tx, &[unique()]).await.unwrap();
    let mut parent = completed(&leases[1]);
    parent.follow_ups = vec![unique()];
    let settlements = [retried(&leases[0]), parent.clone(), noted(&leases[2]), retried(&leases[3])];
    let answers = backend.settle(&settlements).await.unwrap();
    let (retry, done) = (applied(State::Retryable), applied(State::Completed));
    assert_eq!(answers, [retry.clone(), Settled::Busy, done.clone(), retry]);
    let running = backend.get(leases[1].key.job).await.unwrap().unwrap();
    assert_eq!(running.state, State::Running);
    tx.rollback().await.unwrap();
    assert_eq!(backend.settle(&[parent]).await.unwrap(), [done]);
}

#[tokio::test(flavor = "multi_thread")]
async fn f14_f15_a_worker_settles_the_rest_and_comes_back_to_what_was_locked() {
    let place = Place::new().await;
    let backend = Arc::new(PostgresBackend::open(options(&place)).await.unwrap());
    let client = Client::new(backend.clone());
    let (started, mut starts) = tokio::sync::mpsc::channel::<JobId>(8);
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let worker = Worker::new(&client).queue("default", 8).register({
        let go = go.clone();
        move |_task: Task, cx: windlass_core::Context| {
            let (started, go) = (started.clone(), go.clone());
            async move {
                started.send(cx.job_id()).await.unwrap();
                go.acquire().await.unwrap().forget();
                Outcome::Ok(())
            }
        }
    });
    let running = worker.start().unwrap();
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(client.enqueue(Task(n)).await.unwrap().id());
    }
    for _ in 0..4 {
        starts.recv().await.unwrap();
    }
    let mut other = place.host().await;
    let mut tx = other.begin().await.unwrap();
    lock(&mut tx, ids[0]).await;
    go.add_permits(4);
    place.until("SELECT count(*)::text FROM windlass.finished", "3").await;
    // The others took three calls at most, so that two or more had an answer for the one that is locked.
    until(async || running.stats().settle_calls >= 5).await;
    assert!(running.ready(), "one job that is locked is no outage");
    tx.rollback().await.unwrap();
    place.until("SELECT count(*)::text FROM windlass.finished", "4").await;
    let first = backend.get(ids[0]).await.unwrap().unwrap();
    assert_eq!((first.state, first.attempt), (State::Completed, 1));
    running.stop().await.unwrap();
}

/// A process that is gone leaves no statement behind that waits, and holds, for as long as the locks of others last.
#[tokio::test(flavor = "multi_thread")]
async fn f48_a_statement_whose_client_is_gone_is_ended_by_the_server() {
    let place = Place::new().await;
    let pool = sqlx::PgPool::connect(&place.url()).await.unwrap();
    // Long enough for its waiting to be seen.
    let brief = || place.options().statement_timeout(Duration::from_secs(10));
    let own = PostgresBackend::open(brief()).await.unwrap();
    let hosts = PostgresBackend::with_pool(pool, brief()).await.unwrap();
    let pooled = PostgresBackend::open(brief().pooled(true)).await.unwrap();
    for backend in [own, hosts, pooled] {
        let first = job();
        backend.insert(std::slice::from_ref(&first)).await.unwrap();
        let mut other = place.host().await;
        let mut tx = other.begin().await.unwrap();
        lock(&mut tx, first.id).await;
        let cancel = windlass_core::ChangeRequest::new(
            windlass_core::Selector::Ids(vec![first.id]),
            windlass_core::Change::Cancel { reason: None },
        );
        let call = tokio::spawn({
            let backend = backend.clone();
            async move { backend.change(&cancel).await }
        });
        place.until(LOCK_WAITS, "1").await;
        call.abort();
        place.until(LOCK_WAITS, "0").await;
        let state = backend.get(first.id).await.unwrap().unwrap().state;
        assert_eq!(state, State::Available, "the lock is held still");
        tx.rollback().await.unwrap();
    }
}

const LOCK_JOBS: &str = "LOCK TABLE windlass.jobs IN ACCESS EXCLUSIVE MODE";

fn said_cancelled(error: &windlass_core::Error) {
    assert!(error.is_transient(), "{error:?}");
    let text = everything(error);
    assert!(
        text.contains("the statement was cancelled, by the server's `statement_timeout`"),
        "{text}"
    );
}

/// The library's own backends, the host's pool and the way through a pooler alike.
#[tokio::test]
async fn a_statement_that_the_server_cancels_is_told_so_and_may_be_repeated() {
    let place = Place::new().await;
    let own = PostgresBackend::open(place.options()).await.unwrap();
    let pool = sqlx::PgPool::connect(&place.url()).await.unwrap();
    let hosts = PostgresBackend::with_pool(pool, place.options()).await.unwrap();
    let pooled = PostgresBackend::open(place.options().pooled(true)).await.unwrap();
    for backend in [own, hosts, pooled] {
        let jobs = [job(), job()];
        let mut other = place.host().await;
        let mut tx = other.begin().await.unwrap();
        sqlx::query(LOCK_JOBS).execute(&mut *tx).await.unwrap();
        let insert = tokio::spawn({
            let (backend, jobs) = (backend.clone(), jobs.clone());
            async move { backend.insert(&jobs).await }
        });
        place.until(LOCK_WAITS, "1").await;
        let cancel = "SELECT count(pg_cancel_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND wait_event_type = 'Lock'";
        assert_eq!(place.value(cancel).await, "1");
        said_cancelled(&insert.await.unwrap().unwrap_err());
        tx.rollback().await.unwrap();
        assert!(backend.insert(&jobs).await.unwrap().iter().all(|inserted| inserted.is_new()));
    }
}

/// In the host's transactions the host's own bound holds, and what it wrote stays.
#[tokio::test]
async fn the_hosts_bound_on_statements_cancels_a_call_and_not_its_transaction() {
    let place = Place::new().await;
    let backend = place.open().await;
    let leases = four(&backend).await;
    let connect: sqlx::postgres::PgConnectOptions = place.url().parse().unwrap();
    let pool = sqlx::PgPool::connect_with(connect.options([("statement_timeout", "2s")]));
    let pool = pool.await.unwrap();
    sqlx::query("CREATE TABLE host (n bigint)").execute(&pool).await.unwrap();
    let mut other = place.host().await;
    let mut lock = other.begin().await.unwrap();
    sqlx::query(LOCK_JOBS).execute(&mut *lock).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("INSERT INTO host VALUES (1)").execute(&mut *tx).await.unwrap();
    said_cancelled(&backend.insert_in(&mut tx, &[job()]).await.unwrap_err());
    said_cancelled(&backend.settle_in(&mut tx, &completed(&leases[0])).await.unwrap_err());
    lock.rollback().await.unwrap();
    let new = job();
    backend.insert_in(&mut tx, std::slice::from_ref(&new)).await.unwrap();
    let settled = backend.settle_in(&mut tx, &completed(&leases[0])).await.unwrap();
    assert_eq!(settled, applied(State::Completed));
    tx.commit().await.unwrap();
    assert_eq!(place.value("SELECT count(*) FROM host").await, "1");
    assert_eq!(backend.get(new.id).await.unwrap().unwrap().state, State::Available);
}

/// On the host's pool the library's own bound holds for its statements, whatever the pool's connections begin with.
#[tokio::test]
async fn a_bound_of_the_hosts_pool_cancels_no_statement_of_the_librarys_own() {
    let place = Place::new().await;
    place.open().await;
    let connect: sqlx::postgres::PgConnectOptions = place.url().parse().unwrap();
    let pool = sqlx::PgPool::connect_with(connect.options([("statement_timeout", "500ms")]));
    let pool = pool.await.unwrap();
    let backend = PostgresBackend::with_pool(pool, place.options()).await.unwrap();
    let mut other = place.host().await;
    let mut tx = other.begin().await.unwrap();
    sqlx::query(LOCK_JOBS).execute(&mut *tx).await.unwrap();
    let clone = backend.clone();
    let insert = tokio::spawn(async move { clone.insert(&[job(), job()]).await });
    let long = format!("{LOCK_WAITS} AND clock_timestamp() - query_start > interval '700ms'");
    place.until(&long, "1").await;
    tx.rollback().await.unwrap();
    assert_eq!(insert.await.unwrap().unwrap().len(), 2);
}
