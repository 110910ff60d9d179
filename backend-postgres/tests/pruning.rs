//! Pruning a day of history while workers go on.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{LOCK_WAITS, Place, claim, completed, job, worker};
use sqlx::{Connection, PgConnection};
use windlass_core::{Backend, Queue, Retention, Settled, State, Store, WorkerId};
use windlass_postgres::{PostgresBackend, PostgresOptions};
use windlass_test_servers::PostgresServer;

const DAY: i64 = 300_000;

/// Finished jobs as the library would have written them.
const LOAD: &str = r#"
WITH done AS (
    INSERT INTO windlass.finished (id, state, priority, queue, kind, due_at, epoch, attempt, max_attempts, snoozes, crashes, finished_at,
        created_at, notes, changes, encoding, args, trail)
    SELECT gen_random_uuid(), 5, 0, 'queue', 'kind', 0, 1, 1, 20, 0, 0, windlass.now() - 172800000000 + n * 200000, 0, 0, 3, 1,
        convert_to(repeat('x', 100), 'UTF8'), '[2,0,-1,2,0,0],[3,0,2,3,1,3],[4,0,3,5,1,4]'
    FROM generate_series(1, $1) AS n)
INSERT INTO windlass.counts VALUES ('queue', 'kind', 5, $1)
"#;

/// Who removes a finished job stands still before the commit, with all its locks, for as long as somebody holds the lock 1.
const STAND_STILL: &str = "
CREATE FUNCTION stand_still() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER stand_still AFTER DELETE ON windlass.finished DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION stand_still()";

/// A worker's round; how many jobs it completed.
async fn round(b: &PostgresBackend, w: WorkerId) -> u64 {
    let jobs: Vec<_> = (0..100).map(|_| job()).collect();
    b.insert(&jobs).await.unwrap();
    let settlements: Vec<_> = claim(b, w, 100).await.iter().map(completed).collect();
    let answers = b.settle(&settlements).await.unwrap();
    assert!(answers.iter().all(|answer| *answer == Settled::Applied { state: State::Completed }));
    b.maintain(100).await.unwrap();
    answers.len() as u64
}

/// F35: no statement of a worker waits for a step of pruning, however long it takes.
#[tokio::test(flavor = "multi_thread")]
async fn f35_a_step_of_pruning_that_stands_still_is_in_no_workers_way() {
    let place = Place::new().await;
    let minute = Duration::from_secs(60);
    let pruner = PostgresBackend::open(place.options().lock_timeout(minute)).await.unwrap();
    // A worker that waits gives up before the pruner does.
    let options = place.options().lock_timeout(minute / 2).statement_timeout(minute / 2);
    let b = PostgresBackend::open(options).await.unwrap();
    let w = worker(&b).await;
    assert_eq!(round(&b, w).await, 100);
    place.execute(STAND_STILL).await;
    let mut host = place.host().await;
    let mut transaction = host.begin().await.unwrap();
    sqlx::query("SELECT pg_advisory_xact_lock(1)").execute(&mut *transaction).await.unwrap();
    let step = tokio::spawn(async move {
        let mut old = Retention::keep_all();
        old.completed = Some(Duration::ZERO);
        pruner.prune(&old, 1_000).await
    });
    place.until(LOCK_WAITS, "1").await;
    assert_eq!(round(&b, w).await, 100);
    assert!(!step.is_finished(), "the locks are held still");
    transaction.rollback().await.unwrap();
    assert_eq!(step.await.unwrap().unwrap().jobs, 100);
}

/// F35: workers go on while history goes, however much it is. They wait only for each other, as when a table grows: never for 2 s.
#[tokio::test(flavor = "multi_thread")]
async fn f35_pruning_is_in_no_workers_way() {
    // Autovacuum takes locks that are no pruner's.
    let builder = PostgresServer::builder().setting("autovacuum", "off");
    let server = builder.start().await.unwrap();
    let url = server.url(&server.create_database().await.unwrap());
    let pruner = PostgresBackend::connect(&url).await.unwrap();
    let mut admin = PgConnection::connect(&url).await.unwrap();
    sqlx::query(LOAD).bind(DAY).execute(&mut admin).await.unwrap();

    let options = PostgresOptions::from_url(&format!("{url}?options[lock_timeout]=2000")).unwrap();
    let b = PostgresBackend::open(options).await.unwrap();
    let end = Arc::new(AtomicBool::new(false));
    let working = tokio::spawn({
        let (b, end) = (b.clone(), end.clone());
        async move {
            let w = worker(&b).await;
            let mut done = 0_u64;
            while !end.load(Ordering::Relaxed) {
                done += round(&b, w).await;
            }
            done
        }
    });

    let mut old = Retention::keep_all();
    old.completed = Some(Duration::from_secs(86_400));
    let (started, mut longest, mut pruned) = (Instant::now(), Duration::ZERO, 0);
    loop {
        let batch = Instant::now();
        let step = pruner.prune(&old, 1_000).await.unwrap();
        longest = longest.max(batch.elapsed());
        pruned += step.jobs;
        if !step.more {
            break;
        }
    }
    let taken = started.elapsed();
    end.store(true, Ordering::Relaxed);
    let done = working.await.expect("no statement waited for a lock");
    println!(
        "pruned {pruned} jobs in {taken:.1?}, longest batch of 1,000 {longest:.1?}; meanwhile {done} jobs were worked"
    );
    assert_eq!(pruned, u64::try_from(DAY).unwrap());
    assert!(done > 0);
    assert_eq!(b.stats(&Default::default()).await.unwrap().in_state(State::Completed), done);
    b.close().await.unwrap();
}
