//! Which rows a claim locks, and that claimers who meet take different jobs.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::collections::BTreeSet;

use common::{Clock, Place, queue, statement, worker};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};
use uuid::Uuid;
use windlass_core::{
    ClaimRequest, Error, JobId, Kind, KindSlots, NewJob, Payload, Queue, QueueChange, QueueSlots,
    Store, WorkerId,
};
use windlass_postgres::PostgresBackend;

const KINDS: usize = 5;

fn kind(n: usize) -> Kind {
    Kind::new(format!("kind-{}", n % KINDS)).unwrap()
}

/// Jobs of all kinds by turns; their ids in the order in which they are to be claimed.
async fn insert(backend: &PostgresBackend, count: usize) -> Vec<JobId> {
    let job = |n| NewJob::new(kind(n), queue(), Payload::json(&n).unwrap());
    let jobs: Vec<_> = (0..count).map(job).collect();
    backend.insert(&jobs).await.unwrap();
    jobs.iter().map(|job| job.id).collect()
}

fn request(worker: WorkerId, limit: u32, per_kind: Option<u32>) -> ClaimRequest {
    let kinds = (0..KINDS).map(|n| KindSlots { kind: kind(n), limit: per_kind });
    ClaimRequest::new(worker, vec![QueueSlots { queue: queue(), limit }], kinds.collect())
}

async fn claim(backend: &PostgresBackend, request: &ClaimRequest) -> Vec<JobId> {
    backend.claim(request).await.unwrap().leases.iter().map(|lease| lease.key.job).collect()
}

/// Runs the statement of a claim in the open transaction, with ranges of kinds to look at: how many jobs it took.
async fn claim_in(
    host: &mut PgConnection,
    worker: WorkerId,
    ranges: &[(usize, i64, i64)],
    most: i32,
    limit: i32,
) -> usize {
    let names: Vec<String> = ranges.iter().map(|range| kind(range.0).as_str().to_owned()).collect();
    let one = names.iter().all(|name| *name == names[0]);
    let query = sqlx::query(AssertSqlSafe(statement(if one { "claim_one" } else { "claim" })))
        .bind(*worker.as_uuid())
        .bind(Uuid::new_v4())
        .bind(queue().as_str().to_owned())
        .bind(0_i16);
    let query = if one { query.bind(names[0].clone()) } else { query.bind(names) };
    let query = query
        .bind(ranges.iter().map(|range| range.1).collect::<Vec<_>>())
        .bind(ranges.iter().map(|range| range.2).collect::<Vec<_>>());
    let query = match one {
        true => query.bind(most.min(limit)),
        false => query.bind(vec![most; ranges.len()]).bind(limit),
    };
    query.bind(vec![1_i16]).fetch_all(host).await.unwrap().len() - 1
}

/// Locks jobs as another claimer would.
async fn lock(host: &mut PgConnection, jobs: &[JobId]) {
    let ids: Vec<Uuid> = jobs.iter().map(|job| *job.as_uuid()).collect();
    let query = sqlx::query("SELECT id FROM windlass.jobs WHERE id = ANY ($1) FOR NO KEY UPDATE");
    assert_eq!(query.bind(ids).fetch_all(host).await.unwrap().len(), jobs.len());
}

/// Available jobs that nobody has locked.
const FREE: &str = "SELECT count(*) FROM (SELECT id FROM windlass.jobs WHERE state = 2 FOR NO KEY UPDATE SKIP LOCKED) AS j";

#[tokio::test]
async fn a_claim_locks_what_it_takes_and_nothing_else() {
    let place = Place::new().await;
    let backend = place.open().await;
    let w = worker(&backend).await;
    insert(&backend, 200).await;
    // The fifth job of a kind.
    let middle =
        "SELECT rank FROM windlass.jobs WHERE kind = 'kind-0' ORDER BY rank OFFSET 4 LIMIT 1";
    let middle: i64 = place.value(middle).await.parse().unwrap();
    let one = [(0, i64::MIN, i64::MAX)];
    let two_ranges = [(0, i64::MIN, middle), (0, middle, i64::MAX)];
    let mixed = [(0, i64::MIN, middle), (0, middle, i64::MAX), (1, i64::MIN, i64::MAX)];
    let all: Vec<_> = (0..KINDS).map(|n| (n, i64::MIN, i64::MAX)).collect();
    for (ranges, most, taken) in [
        (&one[..], i32::MAX, 10),
        (&one, 3, 3),
        (&two_ranges, i32::MAX, 10),
        (&two_ranges, 7, 7),
        // A kind gives no more for being looked for in two stretches.
        (&mixed, 2, 4),
        (&all, i32::MAX, 10),
        (&all, 1, KINDS),
    ] {
        let mut host = place.host().await;
        let mut transaction = host.begin().await.unwrap();
        assert_eq!(claim_in(&mut transaction, w, ranges, most, 10).await, taken, "{ranges:?}");
        assert_eq!(place.value(FREE).await, (200 - taken).to_string(), "{ranges:?}, {most}");
        transaction.rollback().await.unwrap();
    }
}

#[tokio::test]
async fn what_others_have_locked_is_passed_over_in_order() {
    let place = Place::new().await;
    let backend = place.open().await;
    let w = worker(&backend).await;
    let jobs = insert(&backend, 60).await;
    let (mut one, mut two) = (place.host().await, place.host().await);
    let (mut one, mut two) = (one.begin().await.unwrap(), two.begin().await.unwrap());
    // The next ones of each kind are among those looked at first.
    lock(&mut one, &jobs[..10]).await;
    assert_eq!(claim(&backend, &request(w, 10, None)).await, jobs[10..20]);
    // None of those looked at first is free.
    lock(&mut two, &jobs[20..30]).await;
    assert_eq!(claim(&backend, &request(w, 3, None)).await, jobs[30..33]);
    // Each kind gives what it may, though its first are locked.
    assert_eq!(claim(&backend, &request(w, 20, Some(1))).await, jobs[33..38]);
    one.rollback().await.unwrap();
    assert_eq!(claim(&backend, &request(w, 12, None)).await, [&jobs[..10], &jobs[38..40]].concat());
    two.rollback().await.unwrap();
    let mut rest = claim(&backend, &request(w, 40, None)).await;
    rest.sort_unstable();
    assert_eq!(rest, [&jobs[20..30], &jobs[40..]].concat());
}

#[tokio::test]
async fn what_others_leave_gives_no_kind_more_than_it_may() {
    let place = Place::new().await;
    let backend = place.open().await;
    let w = worker(&backend).await;
    let jobs = insert(&backend, 60).await;
    let middle =
        "SELECT rank FROM windlass.jobs WHERE kind = 'kind-0' ORDER BY rank OFFSET 5 LIMIT 1";
    let middle: i64 = place.value(middle).await.parse().unwrap();
    let ranges = [(0, i64::MIN, middle), (0, middle, i64::MAX), (1, i64::MIN, i64::MAX)];
    let (mut other, mut host) = (place.host().await, place.host().await);
    let mut other = other.begin().await.unwrap();
    // The first two of a kind: four were seen and two could be locked.
    lock(&mut other, &[jobs[0], jobs[KINDS]]).await;
    let mut transaction = host.begin().await.unwrap();
    assert_eq!(claim_in(&mut transaction, w, &ranges, 2, 10).await, 4);
}

#[tokio::test]
async fn f02_several_kinds_are_left_alone_in_a_paused_queue_and_without_a_lease() {
    let place = Place::new().await;
    let backend = place.open().await;
    let w = worker(&backend).await;
    insert(&backend, 2 * KINDS).await;
    let ask = request(w, 10, None);
    backend.configure_queue(&queue(), &QueueChange::default().paused(true)).await.unwrap();
    assert!(claim(&backend, &ask).await.is_empty());
    backend.configure_queue(&queue(), &QueueChange::default().paused(false)).await.unwrap();
    backend.deregister(w).await.unwrap();
    let refused = backend.claim(&ask).await.unwrap_err();
    assert!(matches!(refused, Error::WorkerExpired { .. }), "{refused:?}");
    assert_eq!(place.value(FREE).await, (2 * KINDS).to_string());
}

/// A claim that has seen a job, and stands still while the job is changed, does not take it for what it was.
#[tokio::test(flavor = "multi_thread")]
async fn f19_what_was_moved_after_it_was_seen_is_not_taken() {
    for kinds in [1, 2] {
        for change in ["queue = 'other'", "lane = 1", "kind = 'other'", "encoding = 99"] {
            let place = Place::new().await;
            let backend = place.open().await;
            let w = worker(&backend).await;
            let jobs = insert(&backend, 2 * KINDS).await;
            let clock = Clock::new(&place, "-- Takes the first available jobs of one queue").await;
            let mut host = place.host().await;
            let mut transaction = host.begin().await.unwrap();
            clock.stop(&mut transaction).await;
            let (claimer, mut ask) = (backend.clone(), request(w, 3, None));
            ask.kinds.truncate(kinds);
            let taken = tokio::spawn(async move { claim(&claimer, &ask).await });
            clock.until_met().await;
            let change = format!("UPDATE windlass.jobs SET {change} WHERE id = $1");
            let change = sqlx::query(AssertSqlSafe(change)).bind(*jobs[0].as_uuid());
            change.execute(&mut *transaction).await.unwrap();
            transaction.commit().await.unwrap();
            let taken = taken.await.unwrap();
            assert!(!taken.is_empty() && !taken.contains(&jobs[0]), "{taken:?}");
            // Nor taken and put away as one that can't be read.
            let untouched = format!(
                "SELECT count(*) FROM windlass.jobs WHERE id = '{}' AND state = 2 AND epoch = 0",
                jobs[0].as_uuid()
            );
            assert_eq!(place.value(&untouched).await, "1");
        }
    }
}

/// A job of which something else was changed meanwhile is still to be had. A claim of one kind leaves it to the next one, one of several kinds takes it.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_after_it_was_seen_is_not_lost() {
    // Jobs of kinds by turns: those of this claim and those of the next one.
    for (kinds, now, next) in
        [(1, vec![KINDS], [0, 2 * KINDS]), (2, vec![0, 1], [KINDS, KINDS + 1])]
    {
        let place = Place::new().await;
        let backend = place.open().await;
        let w = worker(&backend).await;
        let jobs = insert(&backend, 3 * KINDS).await;
        let clock = Clock::new(&place, "-- Takes the first available jobs of one queue").await;
        let mut host = place.host().await;
        let mut transaction = host.begin().await.unwrap();
        clock.stop(&mut transaction).await;
        let (claimer, mut ask) = (backend.clone(), request(w, 2, None));
        ask.kinds.truncate(kinds);
        let again = ClaimRequest::new(w, ask.queues.clone(), ask.kinds.clone());
        let taken = tokio::spawn(async move { claim(&claimer, &ask).await });
        clock.until_met().await;
        let change = "UPDATE windlass.jobs SET progress = progress WHERE id = $1";
        let change = sqlx::query(change).bind(*jobs[0].as_uuid());
        assert_eq!(change.execute(&mut *transaction).await.unwrap().rows_affected(), 1);
        transaction.commit().await.unwrap();
        let these = |places: &[usize]| places.iter().map(|n| jobs[*n]).collect::<Vec<_>>();
        assert_eq!(taken.await.unwrap(), these(&now), "{kinds}");
        assert_eq!(claim(&backend, &again).await, these(&next), "{kinds}");
    }
}

/// Nobody takes what another took, nobody takes more than was asked for, and together they take everything.
#[tokio::test(flavor = "multi_thread")]
async fn eight_claimers_at_once_take_every_job_once() {
    let place = Place::new().await;
    let backend = place.open().await;
    let jobs: BTreeSet<JobId> = insert(&backend, 2_000).await.into_iter().collect();
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let backend = backend.clone();
        tasks.push(tokio::spawn(async move {
            let w = worker(&backend).await;
            let mut taken = Vec::new();
            loop {
                let claimed = claim(&backend, &request(w, 12, Some(5))).await;
                assert!(claimed.len() <= 12);
                if claimed.is_empty() {
                    return taken;
                }
                taken.extend(claimed);
            }
        }));
    }
    let mut taken = Vec::new();
    for task in tasks {
        taken.extend(task.await.unwrap());
    }
    // Whoever met only locked rows went home early; one alone finds what is left.
    let w = worker(&backend).await;
    loop {
        let claimed = claim(&backend, &request(w, 12, Some(5))).await;
        if claimed.is_empty() {
            break;
        }
        taken.extend(claimed);
    }
    assert_eq!(taken.len(), jobs.len());
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), jobs);
}
