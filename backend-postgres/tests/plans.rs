//! What statements read, counted in blocks by the server itself, with 1,000,000 finished jobs and 100,000 scheduled ones: whatever the planner believes of
//! the tables, a call reads in proportion to what it is asked for and not to what is kept. So it reads little more than in a database that keeps a
//! fraction of that, where trees have fewer levels: a walk over anything that is kept would be many times as long.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::time::{Duration, Instant};

use common::blocks::{
    COLD, Counted, LIBRARY, Seen, explaining_server, plans, run, server, until_due,
};
use common::{claim, completed, job, kind, queue, worker};
use sqlx::{Connection, PgConnection};
use windlass_core::outbox::{OutboxStore, PutBack};
use windlass_core::{
    AttemptOutcome, Change, ChangeRequest, ClaimRequest, Failure, FailureKind, Inserted, JobFilter,
    JobQuery, Kind, KindSlots, Lease, LogLevel, NewJob, Note, OnConflict, Payload, Queue,
    QueueName, QueueSlots, Record, Retention, Selector, Settled, Settlement, Start, State, Store,
    Transactional, Unique, UniqueKey, UniqueUntil, WorkerId,
};
use windlass_postgres::{PostgresBackend, PostgresOptions};
use windlass_test_servers::{PgBouncer, PostgresServer};

/// How many jobs are kept, by their state.
#[derive(Clone, Copy)]
struct Kept {
    finished: i64,
    scheduled: i64,
    waiting: i64,
}

const LARGE: Kept = Kept { finished: 1_000_000, scheduled: 100_000, waiting: 100_000 };
const SMALL: Kept = Kept { finished: 20_000, scheduled: 5_000, waiting: 5_000 };
/// How many more blocks a statement may read in the large database than it should by [`more`]: when it is the first on its connection.
const SLACK: i64 = COLD;
/// A sweep comes about every half second, on a machine that has time for it.
const PATIENCE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

/// Rows as the library would have written them, by the server itself.
const LOAD: &str = r#"
INSERT INTO windlass.finished (id, state, priority, queue, kind, due_at, epoch, attempt, max_attempts, snoozes, crashes, finished_at,
    created_at, notes, changes, encoding, args, trail)
SELECT gen_random_uuid(), CASE WHEN n % ($1 / 1000) = 0 THEN 7 ELSE 5 END, 0, 'queue', 'kind', 0, 1, 1, 20, 0, 0,
    windlass.now() - 86400000000 + n * 80000, 0, 0, 3, 1, '\x7b7d', '[2,0,-1,2,0,0],[3,0,2,3,1,3],[4,0,3,5,1,4]'
FROM generate_series(1, $1) AS n;
"#;

const LOAD_WAITING: &str = r#"
INSERT INTO windlass.jobs (id, state, priority, queue, kind, rank, due_at, max_attempts, created_at, encoding, args, trail)
SELECT gen_random_uuid(), $2::smallint, 0, 'queue', 'kind', CASE WHEN $2 = 2 THEN nextval('windlass.turn') END,
    windlass.now() + $3, 20, 0, 1, '\x7b7d', '[2,0,-1,2,0,0]'
FROM generate_series(1, $1) AS n;
"#;

/// A database of its own. `analyzed` tells when statistics were taken: never, of empty tables, of the full ones.
async fn filled(server: &PostgresServer, analyzed: &str, kept: Kept) -> Counted {
    let mut bench = Counted::open(server).await;
    let admin = &mut bench.admin;
    if analyzed == "empty" {
        run(admin, "ANALYZE").await;
    }
    sqlx::query(LOAD).bind(kept.finished).execute(&mut *admin).await.unwrap();
    for (state, count, delay) in [(1_i16, kept.scheduled, 3_600_000_000_i64), (2, kept.waiting, 0)]
    {
        let query = sqlx::query(LOAD_WAITING).bind(count).bind(state).bind(delay);
        query.execute(&mut *admin).await.unwrap();
    }
    if analyzed == "full" {
        run(admin, "ANALYZE").await;
    }
    bench
}

fn later() -> NewJob {
    let start = Start::In(Duration::from_millis(1));
    let mut job = NewJob::new(kind(), queue(), Payload::json(&1).unwrap());
    job.start = start;
    job
}

/// What reads so many blocks in the small database may read so many in the large one: half as many again, for the levels of trees. From 17 on a list of
/// keys goes through a tree at once, and neighbours share the leaves of a small one.
fn more(version: i32, small: i64) -> i64 {
    if version < 170_000 { small + small / 2 } else { small * 3 }
}

/// Calls of every sort in a large database and in a small one.
async fn everything(analyzed: &str) {
    let server = explaining_server().await;
    let mut admin = PgConnection::connect(&server.url("postgres")).await.unwrap();
    let version = "SELECT current_setting('server_version_num')::int";
    let version: i32 = sqlx::query_scalar(version).fetch_one(&mut admin).await.unwrap();
    let [small, large] = [SMALL, LARGE].map(|kept| calls(&server, analyzed, kept));
    let (small, large) = (small.await, large.await);
    let mut dear = Vec::new();
    for (call, large) in large {
        let small = small.get(&call).copied().unwrap_or_default();
        if large > more(version, small) + SLACK {
            dear.push(format!("{}: {small} blocks, of many {large}: {}", call.0, call.1));
        }
    }
    assert!(dear.is_empty(), "{dear:#?}");
    let plans = plans(&server);
    let has = |node: &str, table: &str| {
        let whole = format!("{node} on {table} ");
        plans.iter().filter(|line| line.contains(&whole)).count()
    };
    for table in ["jobs", "finished", "outbox"] {
        let walks = ["Seq Scan", "Bitmap Heap Scan"].map(|node| has(node, table));
        assert_eq!(walks, [0, 0], "{table}");
        let by_index = plans
            .iter()
            .filter(|line| line.contains(&format!("Index Scan using {table}_")))
            .count();
        println!("plans by an index of {table}: {by_index}");
        assert!(by_index > 0, "{table}: no plan was logged");
    }
}

/// The most blocks that each statement of each call reads.
async fn calls(server: &PostgresServer, analyzed: &str, kept: Kept) -> Seen {
    let mut bench = filled(server, analyzed, kept).await;
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
    until_due(&bench.url).await;
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
    several(&mut bench, w).await;
    unique(&mut bench).await;
    changes(&mut bench, w).await;
    outbox(&mut bench).await;
    overdue(&mut bench, w).await;
    on_the_hosts_connection(&mut bench, w).await;
    through_a_pooler(server, &mut bench).await;
    let seen = std::mem::take(&mut bench.seen);
    cancel_by_filter(&mut bench).await;
    windlass_core::Backend::close(b).await.unwrap();
    seen
}

/// Claims of several kinds, from several queues.
async fn several(bench: &mut Counted, w: WorkerId) {
    let b = &bench.backend.clone();
    let queues: Vec<_> = (0..5).map(|n| QueueName::new(format!("queue-{n}")).unwrap()).collect();
    let kinds: Vec<_> = (0..5).map(|n| Kind::new(format!("kind-{n}")).unwrap()).collect();
    let mut jobs = Vec::new();
    for (queue, kind) in queues.iter().take(3).flat_map(|q| kinds.iter().map(move |k| (q, k))) {
        let job = || NewJob::new(kind.clone(), queue.clone(), Payload::json(&1).unwrap());
        jobs.extend(std::iter::repeat_with(job).take(40));
    }
    b.insert(&jobs).await.unwrap();
    let slots = |queue: &QueueName| QueueSlots { queue: queue.clone(), limit: 20 };
    let slots: Vec<_> = queues.iter().chain([&queue()]).map(slots).collect();
    let kinds: Vec<_> = kinds.iter().map(|k| KindSlots { kind: k.clone(), limit: None }).collect();
    for _ in 0..3 {
        let request = ClaimRequest::new(w, slots.clone(), kinds.clone());
        let claimed = bench.at_most("claim from several", 4_000, b.claim(&request)).await.unwrap();
        assert_eq!(claimed.leases.len(), 60);
    }
}

/// Inserts under unique keys, new ones and held ones.
async fn unique(bench: &mut Counted) {
    let b = &bench.backend.clone();
    let job = |n: usize| {
        let mut job = job();
        job.unique = Some(Unique {
            key: UniqueKey::new(format!("key-{n}")).unwrap(),
            until: UniqueUntil::Finished,
            on_conflict: OnConflict::Keep,
        });
        job
    };
    let jobs = || (0..100).map(job).collect::<Vec<_>>();
    bench.at_most("insert 100 unique", 5_000, b.insert(&jobs())).await.unwrap();
    let again = bench.at_most("insert 100 held", 5_000, b.insert(&jobs())).await.unwrap();
    assert!(again.iter().all(|one| matches!(one, Inserted::Duplicate { .. })));
}

/// What users do to single jobs, and what is read of them.
async fn changes(bench: &mut Counted, w: WorkerId) {
    let b = &bench.backend.clone();
    let job = |n: usize| {
        let mut job = later();
        job.start = Start::In(DAY);
        job.unique = Some(Unique {
            key: UniqueKey::new(format!("replaced-{n}")).unwrap(),
            until: UniqueUntil::Finished,
            on_conflict: OnConflict::Replace,
        });
        job
    };
    let jobs: Vec<_> = (0..20).map(job).collect();
    b.insert(&jobs).await.unwrap();
    for (n, holder) in jobs.iter().enumerate().take(3) {
        let replaced = bench.at_most("replace", 300, b.insert(&[job(n)])).await.unwrap();
        assert_eq!(replaced, [Inserted::Replaced { existing: holder.id }]);
    }
    let ids: Vec<_> = jobs.iter().map(|job| job.id).collect();
    let all = |change| ChangeRequest::new(Selector::Ids(ids.clone()), change);
    let start = Start::In(2 * DAY);
    for (what, change) in [
        ("reschedule 20", Change::Reschedule { start }),
        ("cancel 20", Change::Cancel { reason: None }),
        ("retry 20", Change::Retry),
        ("cancel 20", Change::Cancel { reason: Some("why".into()) }),
        ("delete 20", Change::Delete),
    ] {
        let changed = bench.at_most(what, 2_500, b.change(&all(change))).await.unwrap();
        assert_eq!(changed.count, 20, "{what}");
    }
    let request = common::request(w, 20);
    let leases = b.claim(&request).await.unwrap().leases;
    let mut again = request.clone();
    again.resend = true;
    let resent = bench.at_most("claim again", 1_000, b.claim(&again)).await.unwrap().leases;
    assert_eq!(resent.len(), leases.len());
    let line = || Note::Log { level: LogLevel::Info, message: "line".into() };
    let records: Vec<_> = leases.iter().map(|l| Record::new(l.key, vec![line(), line()])).collect();
    bench.at_most("record 40 notes", 2_500, b.record(&records)).await.unwrap();
    let id = leases[0].key.job;
    let page = bench.at_most("history", 200, b.history(id, None, 100)).await.unwrap();
    assert!(page.events.len() >= 4);
    bench.at_most("append", 200, b.append(id, &[line()])).await.unwrap();
}

/// Jobs on their way to another backend, with many that wait their turn.
async fn outbox(bench: &mut Counted) {
    const LOAD: &str = "INSERT INTO windlass.outbox (id, posted_at, free_at, refusals, body)
        SELECT gen_random_uuid(), windlass.now(), windlass.now() + 3600000000 * (n % 2), 0, '\x7b7d' FROM generate_series(1, 100000) AS n";
    run(&mut bench.admin, LOAD).await;
    let b = &bench.backend.clone();
    for _ in 0..3 {
        let taken = bench.at_most("take 100", 2_500, b.take(100, DAY)).await.unwrap();
        let (first, rest) = taken.split_at(50);
        let ids: Vec<_> = first.iter().map(|entry| entry.entry.id).collect();
        bench.at_most("delivered 50", 1_500, b.delivered(&ids)).await.unwrap();
        let back: Vec<_> =
            rest.iter().map(|e| PutBack::new(e.entry.id, DAY, Some("no".into()))).collect();
        bench.at_most("put back 50", 1_500, b.put_back(&back)).await.unwrap();
    }
    bench.at_most("refused", 500, b.refused(50)).await.unwrap();
}

/// Jobs past their deadline are rescued.
async fn overdue(bench: &mut Counted, w: WorkerId) {
    let b = &bench.backend.clone();
    assert_eq!(claim(b, w, 50).await.len(), 50);
    let late = "UPDATE windlass.jobs SET deadline_at = windlass.now() - 3600000000
        WHERE id = ANY (ARRAY(SELECT id FROM windlass.jobs WHERE state = 3 LIMIT 50))";
    run(&mut bench.admin, late).await;
    let done = bench.at_most("rescue 50 overdue", 4_500, b.maintain(100)).await.unwrap();
    assert_eq!(done.rescued.len(), 50);
    bench.at_most("heartbeat", 1_000, b.heartbeat(w, &[])).await.unwrap();
}

/// Nothing is set there, and the server plans as it likes.
async fn on_the_hosts_connection(bench: &mut Counted, w: WorkerId) {
    let b = &bench.backend.clone();
    let leases = claim(b, w, 20).await;
    let mut host = PgConnection::connect(&bench.url).await.unwrap();
    let mut tx = host.begin().await.unwrap();
    let jobs: Vec<_> = std::iter::repeat_with(job).take(100).collect();
    bench.at_most("insert 100 in", 4_000, b.insert_in(&mut tx, &jobs)).await.unwrap();
    // As often as it takes for a prepared statement to get a plan that is kept.
    for lease in &leases {
        let settlement = completed(lease);
        let settled = bench.at_most("settle in", 500, b.settle_in(&mut tx, &settlement)).await;
        assert_eq!(settled.unwrap(), Settled::Applied { state: State::Completed });
    }
    tx.commit().await.unwrap();
}

/// Each piece of work sets for itself what the library's own connections have from the start.
async fn through_a_pooler(server: &PostgresServer, bench: &mut Counted) {
    let pooler = PgBouncer::builder(server).start().await.unwrap();
    let database = bench.url.rsplit('/').next().unwrap().split('?').next().unwrap().to_owned();
    let options =
        PostgresOptions::from_url(&format!("{}?application_name={LIBRARY}", pooler.url(&database)));
    let options = options.unwrap().pooled(true);
    let b = &PostgresBackend::open(options).await.unwrap();
    let w = worker(b).await;
    for _ in 0..2 {
        let leases = bench.at_most("pooled claim", 4_000, claim(b, w, 100)).await;
        let keys: Vec<_> = leases.iter().map(|lease| lease.key).collect();
        bench.at_most("pooled heartbeat", 1_500, b.heartbeat(w, &keys)).await.unwrap();
        let settlements: Vec<_> = leases.iter().map(completed).collect();
        bench.at_most("pooled complete", 4_000, b.settle(&settlements)).await.unwrap();
    }
    let due: Vec<NewJob> = std::iter::repeat_with(later).take(100).collect();
    bench.at_most("pooled insert", 4_000, b.insert(&due)).await.unwrap();
    until_due(&bench.url).await;
    let done = bench.at_most("pooled promote", 4_500, b.maintain(100)).await.unwrap();
    assert_eq!(done.promoted, 100);
    bench.at_most("pooled stats", 1_500, b.stats(&Default::default())).await.unwrap();
    bench.at_most("pooled list", 3_000, b.list(&JobQuery::default())).await.unwrap();
    let mut old = Retention::default();
    old.completed = Some(DAY / 2);
    let pruned = bench.at_most("pooled prune", 4_000, b.prune(&old, 100)).await.unwrap();
    assert_eq!(pruned.jobs, 100);
    windlass_core::Backend::close(b).await.unwrap();
}

/// A call looks at 10,000 jobs at most, whatever is kept.
async fn cancel_by_filter(bench: &mut Counted) {
    let b = &bench.backend.clone();
    let filter = JobFilter::default().states([State::Scheduled]).queue(queue());
    let cancel = ChangeRequest::new(Selector::Filter(filter), Change::Cancel { reason: None });
    bench.at_most("cancel by filter", 100_000, b.change(&cancel)).await.unwrap();
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
    let mut bench = Counted::open(&server).await;
    let b = &bench.backend.clone();
    let w = worker(b).await;
    // A transaction that draws its turn before all others, and a snapshot from before they came.
    let (mut host, late) = (PgConnection::connect(&bench.url).await.unwrap(), job());
    let mut early = host.begin().await.unwrap();
    b.insert_in(&mut early, std::slice::from_ref(&late)).await.unwrap();
    let _pin = bench.pin().await;
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
            let (leases, blocks) = bench.count(claim(b, w, 20)).await;
            assert_eq!(leases.len(), 20);
            costs.push(blocks.values().sum::<i64>());
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
