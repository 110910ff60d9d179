//! Opening and closing: errors that name the thing and the way out, connections that are lost and found, nothing that shows a password.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use common::{HOUR, Place, everything, job, ms, queue, request, until, worker};
use futures_util::future::join_all;
use sqlx::postgres::PgPoolOptions;
use windlass_core::{Backend, Beat, Error, Heartbeat, Queue, Store, WorkerId, WorkerInfo};
use windlass_postgres::{PostgresBackend, PostgresOptions, Role};
use windlass_test_servers::PgBouncer;

async fn refused(options: PostgresOptions) -> Error {
    PostgresBackend::open(options).await.unwrap_err()
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_named() {
    let place = Place::new().await;
    let options = PostgresOptions::from_url(&place.server.url("no_such_thing")).unwrap();
    let error = refused(options).await;
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    assert!(error.to_string().contains("`no_such_thing` does not exist: create it"), "{error}");
    assert!(!everything(&error).contains(place.server.password()));
}

#[tokio::test]
async fn a_wrong_password_is_said_to_be_wrong_and_not_shown() {
    let place = Place::new().await;
    let url = place.server.url_as(place.server.user(), "hunter2", &place.database);
    let error = refused(PostgresOptions::from_url(&url).unwrap()).await;
    assert!(matches!(error, Error::Config(_)), "{error:?}");
    assert!(error.to_string().contains("check name and password"), "{error}");
    assert!(!everything(&error).contains("hunter2"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    // A port that was just free.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://somebody:hunter2@127.0.0.1:{port}/x");
    let error = refused(PostgresOptions::from_url(&url).unwrap()).await;
    assert!(error.is_transient(), "{error:?}");
    let text = everything(&error);
    assert!(text.contains(&format!("127.0.0.1:{port}: ")), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("somebody"), "{text}");
}

/// One that takes connections and says nothing.
#[tokio::test]
async fn a_server_that_does_not_answer_is_unavailable() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let url = format!("postgres://somebody:hunter2@127.0.0.1:{port}/x");
    let options = PostgresOptions::from_url(&url).unwrap().acquire_timeout(ms(70));
    let error = refused(options).await;
    assert!(error.is_transient(), "{error:?}");
    let text = everything(&error);
    let told = format!("127.0.0.1:{port}: no answer within the `acquire_timeout` of 70ms");
    assert!(text.contains(&told), "{text}");
    assert!(!text.contains("hunter2") && !text.contains("somebody"), "{text}");
}

/// Each limit is told by its name.
#[tokio::test]
async fn a_call_that_takes_too_long_names_its_limit() {
    let place = Place::new().await;
    let backend = place.open().await;
    let id = worker(&backend).await;
    // Behind a pooler opening is not bound by it.
    let brief = PostgresBackend::open(
        place.options().pooled(true).statement_timeout(ms(50)).migrate(false),
    );
    let mut host = place.host().await;
    let mut tx = sqlx::Connection::begin(&mut host).await.unwrap();
    let brief = brief.await.unwrap();
    sqlx::query("LOCK TABLE windlass.jobs, windlass.workers").execute(&mut *tx).await.unwrap();
    // Now and then the server, which has the same bound, is the first to end it.
    until(async || {
        let text = everything(&brief.insert(&[job(), job()]).await.unwrap_err());
        assert!(text.contains("`statement_timeout`"), "{text}");
        text.contains("no answer within the `statement_timeout`")
    })
    .await;
    let text = everything(&backend.heartbeat(id, &[]).await.unwrap_err());
    assert!(text.contains("within a third of the worker's lease"), "{text}");
}

#[tokio::test]
async fn a_database_that_can_not_hold_every_text_is_refused() {
    let place = Place::new().await;
    let name = format!("{}_ascii", place.database);
    let create =
        format!("CREATE DATABASE {name} ENCODING 'SQL_ASCII' LOCALE 'C' TEMPLATE template0");
    place.execute(&create).await;
    let error = refused(PostgresOptions::from_url(&place.server.url(&name)).unwrap()).await;
    assert!(error.to_string().contains("encoding is SQL_ASCII"), "{error}");
}

#[tokio::test]
async fn f52_nothing_shows_the_password() {
    let place = Place::new().await;
    let password = place.server.password();
    let options = place.options().direct_url(&place.url()).unwrap();
    let backend = PostgresBackend::open(options.clone()).await.unwrap();
    worker(&backend).await;
    backend.wait(&[queue()], ms(1)).await.unwrap();
    for text in [format!("{options:?}"), format!("{backend:?}"), format!("{backend:#?}")] {
        assert!(text.len() > 40 && !text.contains(password), "{text}");
    }
}

#[tokio::test]
async fn a_ping_tells_whether_the_server_takes_writes() {
    let place = Place::new().await;
    place.open().await.ping().await.unwrap();
    place
        .execute(&format!(
            "ALTER DATABASE {} SET default_transaction_read_only = on",
            place.database
        ))
        .await;
    let error = place.open().await.ping().await.unwrap_err();
    assert!(error.is_transient() && everything(&error).contains("takes no writes"), "{error:?}");
}

#[tokio::test]
async fn after_a_close_every_call_says_so() {
    let place = Place::new().await;
    let backend = place.open().await;
    let id = worker(&backend).await;
    let clone = backend.clone();
    let waiter = tokio::spawn(async move { clone.wait(&[queue()], HOUR).await });
    let clone = backend.clone();
    let watcher = tokio::spawn(async move { clone.watch(None, HOUR).await });
    backend.close().await.unwrap();
    backend.close().await.unwrap();
    let closed = |answer: Result<(), Error>| {
        assert!(matches!(answer, Err(Error::Closed("postgres"))), "{answer:?}");
    };
    let info = WorkerInfo::new("late", HOUR, vec![queue()]);
    closed(waiter.await.unwrap().map(drop));
    closed(watcher.await.unwrap());
    closed(backend.insert(&[job()]).await.map(drop));
    closed(backend.claim(&request(id, 1)).await.map(drop));
    closed(backend.register(&info).await.map(drop));
    closed(backend.heartbeat(id, &[]).await.map(drop));
    closed(backend.wait(&[queue()], HOUR).await.map(drop));
    closed(backend.ping().await);
    place.until("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()", "0").await;
}

#[tokio::test]
async fn the_hosts_pool_is_used_and_left_open() {
    let place = Place::new().await;
    let pool = PgPoolOptions::new().max_connections(3).connect(&place.url()).await.unwrap();
    let options = PostgresOptions::default().schema("jobs").unwrap();
    let backend = PostgresBackend::with_pool(pool.clone(), options).await.unwrap();
    backend.insert(&[job()]).await.unwrap();
    let id = worker(&backend).await;
    assert_eq!(common::claim(&backend, id, 9).await.len(), 1);
    // What was set for a statement is not left behind.
    let setting: String = sqlx::query_scalar("SHOW enable_seqscan").fetch_one(&pool).await.unwrap();
    assert_eq!(setting, "on");
    backend.close().await.unwrap();
    assert!(matches!(backend.insert(&[job()]).await, Err(Error::Closed(_))));
    sqlx::query("SELECT 1").execute(&pool).await.unwrap();
}

/// A heartbeat that had to wait for a connection would let leases run out under load.
#[tokio::test]
async fn f03_heartbeats_do_not_wait_behind_a_full_pool() {
    let place = Place::new().await;
    let pool = PgPoolOptions::new().max_connections(2).connect(&place.url()).await.unwrap();
    let backend =
        PostgresBackend::with_pool(pool.clone(), PostgresOptions::default()).await.unwrap();
    let all = (pool.acquire().await.unwrap(), pool.acquire().await.unwrap());
    let id = worker(&backend).await;
    let beat = tokio::time::timeout(HOUR / 60, backend.heartbeat(id, &[])).await.unwrap();
    assert!(matches!(beat.unwrap(), Heartbeat::Alive { .. }));
    let figures = backend.pool_figures();
    assert_eq!((figures.size, figures.idle, figures.in_use, figures.maximum), (2, 0, 2, 2));
    assert_eq!(figures.waiting, 0);
    let clone = backend.clone();
    let blocked = tokio::spawn(async move { clone.insert(&[job(), job()]).await });
    until(async || backend.pool_figures().waiting == 1).await;
    drop(all);
    blocked.await.unwrap().unwrap();
    // Who tells others of the jobs may wait a moment longer.
    until(async || backend.pool_figures().waiting == 0).await;
    backend.deregister(id).await.unwrap();
}

#[tokio::test]
async fn a_heartbeat_whose_connection_was_cut_goes_out_on_another() {
    let place = Place::new().await;
    let backend = place.open().await;
    let id = worker(&backend).await;
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    assert_ne!(place.value(cut).await, "0");
    assert!(matches!(backend.heartbeat(id, &[]).await.unwrap(), Heartbeat::Alive { .. }));
    backend.deregister(id).await.unwrap();
    let left = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE '%workers%' AND pid <> pg_backend_pid()";
    place.until(left, "0").await;
}

/// After a common heartbeat that failed, each worker of a client sends its own: by turns, on a few connections.
#[tokio::test]
async fn heartbeats_that_go_alone_take_a_few_connections() {
    let place = Place::new().await;
    place.open().await;
    let name = place.role().await;
    place.execute(&PostgresBackend::grants_sql("windlass", Role::Worker, &name).unwrap()).await;
    // All at once are too many.
    place.execute(&format!("ALTER ROLE \"{name}\" CONNECTION LIMIT 18")).await;
    let options = place.options_as(&name).connections(2).notify(false);
    let backend = PostgresBackend::open(options).await.unwrap();
    let mut workers = Vec::new();
    for _ in 0..20 {
        workers.push(worker(&backend).await);
    }
    let beats = workers.iter().map(|worker| Beat::new(*worker, Vec::new())).collect::<Vec<_>>();
    let open = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = '{name}' AND query LIKE '%Extends leases%'"
    );
    for _ in 0..2 {
        backend.heartbeats(&beats).await.unwrap();
        place.until(&open, "1").await;
        // On a machine that is so busy that leases are at stake there may be more for once.
        until(async || {
            let alone = workers.iter().map(|worker| backend.heartbeat(*worker, &[]));
            let alive = |beat: &_| matches!(beat, Ok(Heartbeat::Alive { .. }));
            join_all(alone).await.iter().all(alive)
        })
        .await;
        place.until(&open, "4").await;
    }
}

/// Heartbeats come from a thread and runtime of their own, which may end before the rest does.
#[tokio::test]
async fn a_worker_may_be_deregistered_from_another_runtime() {
    let place = Place::new().await;
    let backend = place.open().await;
    let beating = backend.clone();
    let registered = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(worker(&beating))
    });
    let id: WorkerId = tokio::task::spawn_blocking(|| registered.join().unwrap()).await.unwrap();
    assert!(matches!(backend.heartbeat(id, &[]).await.unwrap(), Heartbeat::Alive { .. }));
    backend.deregister(id).await.unwrap();
    assert_eq!(backend.heartbeat(id, &[]).await.unwrap(), Heartbeat::Expired);
}

/// A connection that died while it was idle is found out before it is used.
#[tokio::test]
async fn an_idle_connection_that_was_cut_is_replaced() {
    let place = Place::new().await;
    let backend = place.open().await;
    backend.insert(&[job()]).await.unwrap();
    until(async || backend.pool_figures().in_use == 0).await;
    place
        .execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
        .await;
    // What was used a moment ago is not tried.
    tokio::time::sleep(ms(1_100)).await;
    backend.insert(&[job()]).await.unwrap();
}

#[tokio::test]
async fn f41_a_pooler_in_transaction_mode_needs_nothing_set() {
    let place = Place::new().await;
    let setting = |bouncer: windlass_test_servers::PgBouncerBuilder| {
        // As PgBouncer comes.
        bouncer.setting("ignore_startup_parameters", "").default_pool_size(2)
    };
    let bouncer = setting(PgBouncer::builder(place.server)).start().await.unwrap();
    let url = format!("{}?pooler=transaction&connections=4", bouncer.url(&place.database));
    let backend = PostgresBackend::connect(&url).await.unwrap();
    let id = worker(&backend).await;
    for _ in 0..5 {
        backend.insert(&[job(), job()]).await.unwrap();
        assert_eq!(common::claim(&backend, id, 9).await.len(), 2);
        assert!(matches!(backend.heartbeat(id, &[]).await.unwrap(), Heartbeat::Alive { .. }));
    }
    let error = PostgresBackend::connect(&bouncer.url(&place.database)).await.unwrap_err();
    assert!(error.to_string().contains("say `pooler=transaction`"), "{error}");
}

/// Poolers drop what connections begin with: without it, statements would go by other plans and isolation levels.
#[tokio::test]
async fn f41_a_pooler_that_drops_settings_is_noticed() {
    let place = Place::new().await;
    let pooler = PgBouncer::builder(place.server)
        .setting("pool_mode", "session")
        .setting("ignore_startup_parameters", "extra_float_digits,options")
        .start()
        .await
        .unwrap();
    let options = || PostgresOptions::from_url(&pooler.url(&place.database)).unwrap();
    let error = refused(options()).await;
    assert!(error.to_string().contains("`pooler=transaction`"), "{error}");
    // As it says, and its address serves as the direct one.
    let options = options().pooled(true).direct_url(&pooler.url(&place.database)).unwrap();
    let backend = PostgresBackend::open(options).await.unwrap();
    let w = worker(&backend).await;
    backend.insert(&[job()]).await.unwrap();
    assert_eq!(common::claim(&backend, w, 9).await.len(), 1);
}

/// F52: what the server says of a failed statement may quote values in its detail; no error of ours does, however it is printed.
#[tokio::test]
async fn f52_errors_leave_out_the_servers_detail() {
    let place = Place::new().await;
    let backend = place.open().await;
    let secret = "top-secret-queue";
    let ban = format!("ALTER TABLE windlass.jobs ADD CHECK (queue <> '{secret}')");
    sqlx::raw_sql(sqlx::AssertSqlSafe(ban)).execute(&mut place.host().await).await.unwrap();
    let payload = windlass_core::Payload::json(&"args").unwrap();
    let queue = windlass_core::QueueName::new(secret).unwrap();
    let job = windlass_core::NewJob::new(common::kind(), queue, payload);
    let error = backend.insert(&[job]).await.unwrap_err();
    let text = everything(&error);
    assert!(text.contains("check constraint"), "{text}");
    assert!(!text.contains(secret), "{text}");
}

/// More bytes than the server takes in one message: the call is split, and is still all or nothing.
#[tokio::test(flavor = "multi_thread")]
async fn args_of_many_jobs_may_be_larger_than_a_message() {
    let place = Place::new().await;
    let backend = place.open().await;
    let args = windlass_core::Payload::json(&"x".repeat(200 << 10)).unwrap();
    let mut jobs: Vec<_> = (0..200)
        .map(|_| windlass_core::NewJob::new(common::kind(), queue(), args.clone()))
        .collect();
    assert!(backend.insert(&jobs).await.unwrap().iter().all(windlass_core::Inserted::is_new));
    let known = jobs[150].id;
    for job in jobs.iter_mut().filter(|job| job.id != known) {
        job.id = windlass_core::JobId::new();
    }
    let answers = backend.insert(&jobs).await.unwrap();
    assert_eq!(answers.iter().filter(|answer| answer.is_new()).count(), 199);
    assert_eq!(answers[150], windlass_core::Inserted::Duplicate { existing: known });
    let w = worker(&backend).await;
    let leases = backend.claim(&request(w, 1_000)).await.unwrap().leases;
    assert_eq!(leases.len(), 399);
    assert!(leases.iter().all(|lease| lease.args == args));
}

/// Postgres has no room for NUL in text.
#[tokio::test]
async fn nul_characters_are_no_obstacle() {
    let place = Place::new().await;
    let backend = place.open().await;
    let mut job = job();
    job.meta.insert("a\0b".into(), "c\0d".into());
    let info = WorkerInfo::new("na\0me", HOUR, vec![queue()]);
    let w = backend.register(&info).await.unwrap().worker;
    assert_eq!(backend.workers().await.unwrap()[0].name, "name");
    backend.insert(std::slice::from_ref(&job)).await.unwrap();
    let lease = backend.claim(&request(w, 1)).await.unwrap().leases.pop().unwrap();
    assert_eq!(lease.meta, job.meta);
    let failure = windlass_core::Failure {
        kind: windlass_core::FailureKind::Error,
        message: "bo\0om".into(),
    };
    let outcome = windlass_core::AttemptOutcome::Discarded { failure };
    let mut settlement = windlass_core::Settlement::new(lease.key, outcome);
    let message = Some("half\0way".to_owned());
    settlement.notes = vec![
        windlass_core::Note::Progress(windlass_core::Progress { done: 1, total: None, message }),
        windlass_core::Note::Log { level: windlass_core::LogLevel::Info, message: "\0".into() },
    ];
    backend.settle(&[settlement]).await.unwrap();
    let kept = backend.get(job.id).await.unwrap().unwrap();
    assert_eq!(kept.errors[0].message, "bo\0om");
    assert_eq!(kept.progress.unwrap().message.unwrap(), "half\0way");
    assert_eq!(backend.history(job.id, None, 10).await.unwrap().events.len(), 5);
    assert_eq!(backend.events(&Default::default(), None, 10).await.unwrap().events.len(), 5);
}
