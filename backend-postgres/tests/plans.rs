//! What statements read, counted in blocks by the server itself, with 1,000,000 finished jobs and 100,000 scheduled ones: whatever the planner believes of
//! the tables, a call reads in proportion to what it is asked for and not to what is kept.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::{claim, completed, job, kind, queue, request, worker};
use sqlx::{Connection, PgConnection, Row};
use windlass_core::{
    AttemptOutcome, Change, ChangeRequest, Failure, FailureKind, JobFilter, JobQuery, Lease,
    NewJob, Payload, Queue, Retention, Selector, Settlement, Start, State, Store, Transactional,
};
use windlass_postgres::PostgresBackend;
use windlass_test_servers::PostgresServer;

const FINISHED: i64 = 1_000_000;
const SCHEDULED: i64 = 100_000;
const WAITING: i64 = 20_000;
/// A sweep comes about every half second.
const PATIENCE: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_secs(86_400);

/// Rows as the library would have written them, by the server itself.
const LOAD: &str = r#"
INSERT INTO windlass.finished (id, state, priority, queue, kind, due_at, epoch, attempt, max_attempts, snoozes, crashes, finished_at,
    created_at, notes, changes, encoding, args, trail)
SELECT gen_random_uuid(), CASE WHEN n % 1000 = 0 THEN 7 ELSE 5 END, 0, 'queue', 'kind', 0, 1, 1, 20, 0, 0,
    windlass.now() - 86400000000 + n * 80000, 0, 0, 3, 1, '\x7b7d', '[2,0,-1,2,0,0],[3,0,2,3,1,3],[4,0,3,5,1,4]'
FROM generate_series(1, $1) AS n;
"#;

const LOAD_WAITING: &str = r#"
INSERT INTO windlass.jobs (id, state, priority, queue, kind, rank, due_at, max_attempts, created_at, encoding, args, trail)
SELECT gen_random_uuid(), $2::smallint, 0, 'queue', 'kind', CASE WHEN $2 = 2 THEN nextval('windlass.turn') END,
    windlass.now() + $3, 20, 0, 1, '\x7b7d', '[2,0,-1,2,0,0]'
FROM generate_series(1, $1) AS n;
"#;

struct Bench {
    backend: PostgresBackend,
    admin: PgConnection,
}

impl Bench {
    /// A database of its own. `analyzed` tells when statistics were taken: never, of empty tables, of the full ones.
    async fn open(server: &PostgresServer, analyzed: &str) -> Self {
        let url = server.url(&server.create_database().await.unwrap());
        let backend = PostgresBackend::connect(&url).await.unwrap();
        let mut admin = PgConnection::connect(&url).await.unwrap();
        run(&mut admin, "CREATE EXTENSION pg_stat_statements").await;
        if analyzed == "empty" {
            run(&mut admin, "ANALYZE").await;
        }
        sqlx::query(LOAD).bind(FINISHED).execute(&mut admin).await.unwrap();
        for (state, count, delay) in [(1_i16, SCHEDULED, 3_600_000_000_i64), (2, WAITING, 0)] {
            let query = sqlx::query(LOAD_WAITING).bind(count).bind(state).bind(delay);
            query.execute(&mut admin).await.unwrap();
        }
        if analyzed == "full" {
            run(&mut admin, "ANALYZE").await;
        }
        Self { backend, admin }
    }

    async fn reset(&mut self) {
        run(&mut self.admin, "SELECT pg_stat_statements_reset()").await;
    }

    /// Blocks read since the reset, by statement.
    async fn blocks(&mut self) -> BTreeMap<String, i64> {
        let query = "SELECT left(query, 90), (shared_blks_hit + shared_blks_read)::bigint FROM pg_stat_statements
            WHERE query LIKE '%\"windlass\"%' AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let rows = sqlx::query(query).fetch_all(&mut self.admin).await.unwrap();
        rows.iter().map(|row| (row.get::<String, _>(0), row.get(1))).collect()
    }

    /// Runs a call and fails if one of its statements reads more blocks than allowed.
    async fn at_most<T>(&mut self, what: &str, allowed: i64, call: impl Future<Output = T>) -> T {
        self.reset().await;
        let answer = call.await;
        for (statement, blocks) in self.blocks().await {
            println!("{what:<24} {blocks:>7} blocks  {}", statement.lines().next().unwrap());
            assert!(
                blocks <= allowed,
                "{what} reads {blocks} blocks, more than {allowed}: {statement}"
            );
        }
        answer
    }
}

async fn run(conn: &mut PgConnection, sql: &'static str) {
    sqlx::raw_sql(sql).execute(conn).await.unwrap();
}

fn later() -> NewJob {
    let start = Start::In(Duration::from_millis(1));
    let mut job = NewJob::new(kind(), queue(), Payload::json(&1).unwrap());
    job.start = start;
    job
}

async fn server() -> PostgresServer {
    PostgresServer::builder()
        .setting("shared_preload_libraries", "pg_stat_statements")
        .setting("autovacuum", "off")
        .setting("fsync", "off")
        .setting("max_wal_size", "4GB")
        .start()
        .await
        .unwrap()
}

async fn everything(analyzed: &str) {
    let server = server().await;
    let mut bench = Bench::open(&server, analyzed).await;
    let b = &bench.backend.clone();
    let w = worker(b).await;
    // Plans are made by the first calls; these count as well.
    for _ in 0..3 {
        let leases = bench.at_most("claim 100", 4_000, claim(b, w, 100)).await;
        assert_eq!(leases.len(), 100);
        let (done, failed) = leases.split_at(90);
        let settlements: Vec<_> = done.iter().map(completed).collect();
        bench.at_most("complete 90", 4_000, b.settle(&settlements)).await.unwrap();
        let failure = Failure { kind: FailureKind::Error, message: "boom".into() };
        let retry = AttemptOutcome::Retry { delay: DAY, failure };
        let settlements: Vec<_> =
            failed.iter().map(|lease| Settlement::new(lease.key, retry.clone())).collect();
        bench.at_most("retry 10", 1_500, b.settle(&settlements)).await.unwrap();
        let again = bench.at_most("settle 10 again", 1_500, b.settle(&settlements)).await.unwrap();
        assert_eq!(again.len(), 10);
    }
    bench.at_most("insert 100", 4_000, b.insert(&vec![later(); 1])).await.unwrap();
    let due: Vec<NewJob> = (0..100).map(|_| later()).collect();
    bench.at_most("insert 100", 4_000, b.insert(&due)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let done = bench.at_most("promote", 4_500, b.maintain(100)).await.unwrap();
    assert_eq!(done.promoted, 100);
    let lost = worker(b).await;
    assert_eq!(claim(b, lost, 50).await.len(), 50);
    b.deregister(lost).await.unwrap();
    let done = bench.at_most("rescue 50", 4_500, b.maintain(100)).await.unwrap();
    assert_eq!(done.rescued.len(), 50);
    bench.at_most("nothing to maintain", 200, b.maintain(100)).await.unwrap();
    let pages = [
        ("list newest", JobQuery::default()),
        ("list oldest", JobQuery::default().oldest_first()),
        ("list discarded", JobFilter::default().states([State::Discarded]).into()),
        ("list running", JobFilter::default().states([State::Running]).into()),
        ("list scheduled", JobFilter::default().states([State::Scheduled]).queue(queue()).into()),
    ];
    for (what, query) in pages {
        let page = bench.at_most(what, 3_000, b.list(&query)).await.unwrap();
        assert!(what == "list running" || page.items.len() == 100, "{what}");
        let next = query.clone().after(page.next);
        bench.at_most(what, 3_000, b.list(&next)).await.unwrap();
    }
    bench.at_most("stats", 1_500, b.stats(&Default::default())).await.unwrap();
    bench.at_most("workers", 500, b.workers()).await.unwrap();
    bench.at_most("get", 100, b.get(later().id)).await.unwrap();
    bench.at_most("events", 1_500, b.events(&Default::default(), None, 100)).await.unwrap();
    let filter = JobFilter::default().states([State::Retryable]);
    let cancel = ChangeRequest::new(
        Selector::Ids(b.list(&filter.into()).await.unwrap().items.iter().map(|j| j.id).collect()),
        Change::Cancel { reason: None },
    );
    bench.at_most("cancel 30", 2_500, b.change(&cancel)).await.unwrap();
    let mut old = Retention::default();
    old.completed = Some(DAY / 2);
    let pruned = bench.at_most("prune 1,000", 40_000, b.prune(&old, 1_000)).await.unwrap();
    assert_eq!(pruned.jobs, 1_000);
    // The claim again, through what was settled.
    assert_eq!(bench.at_most("claim 100", 4_000, claim(b, w, 100)).await.len(), 100);
    let _ = request(w, 1);
    windlass_core::Backend::close(b).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn f30_without_statistics() {
    everything("never").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f30_with_statistics_of_empty_tables() {
    everything("empty").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f30_with_statistics() {
    everything("full").await;
}

/// Claims don't walk what was claimed before, though vacuum can't remove it; and yet, while there is always more to claim than is asked for, a job below
/// what was passed is found.
#[tokio::test(flavor = "multi_thread")]
async fn f32_a_snapshot_held_open_makes_no_claim_dear_and_hides_no_job() {
    let server = server().await;
    let url = server.url(&server.create_database().await.unwrap());
    let backend = PostgresBackend::connect(&url).await.unwrap();
    let mut bench = Bench { admin: PgConnection::connect(&url).await.unwrap(), backend };
    run(&mut bench.admin, "CREATE EXTENSION pg_stat_statements").await;
    let b = &bench.backend.clone();
    let w = worker(b).await;
    // A transaction that draws its turn before all others, and a snapshot from before they came.
    let (mut host, late) = (PgConnection::connect(&url).await.unwrap(), job());
    let mut early = host.begin().await.unwrap();
    b.insert_in(&mut early, std::slice::from_ref(&late)).await.unwrap();
    let mut pin = PgConnection::connect(&url).await.unwrap();
    run(&mut pin, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await;
    for _ in 0..12 {
        b.insert(&std::iter::repeat_with(job).take(1_000).collect::<Vec<_>>()).await.unwrap();
    }
    let settle = async |leases: Vec<Lease>| {
        b.settle(&leases.iter().map(completed).collect::<Vec<_>>()).await.unwrap();
    };
    // The least that a claim reads: some are sweeps, which are dear and seldom.
    let mut least = async || {
        let mut costs = Vec::new();
        for _ in 0..10 {
            bench.reset().await;
            let leases = claim(b, w, 20).await;
            assert_eq!(leases.len(), 20);
            costs.push(bench.blocks().await.values().sum::<i64>());
            settle(leases).await;
        }
        println!("blocks read by claims of 20: {costs:?}");
        costs.into_iter().min().unwrap()
    };
    let before = least().await;
    for _ in 0..20 {
        settle(claim(b, w, 500).await).await;
    }
    let after = least().await;
    assert!(before > 0 && after <= before + 100, "{before} blocks, after 10,000 jobs {after}");

    early.commit().await.unwrap();
    let committed = Instant::now();
    let mut found = false;
    while !found && committed.elapsed() < PATIENCE {
        b.insert(&std::iter::repeat_with(job).take(20).collect::<Vec<_>>()).await.unwrap();
        let leases = claim(b, w, 20).await;
        assert_eq!(leases.len(), 20, "the backlog is steady");
        found = leases.iter().any(|lease| lease.key.job == late.id);
        settle(leases).await;
    }
    println!("the late job was claimed {:?} after its commit", committed.elapsed());
    assert!(found, "a job that was committed late is not found while others keep coming");
}
