//! Columns that hold what they never should (a BLOB where text belongs, text that is no UTF-8, text that is no JSON): the job
//! in question is in nobody's way, and who asks for it is told which column of which job it is.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{HOUR, claim, completed, host, job, open, place, request, worker};
use sqlx::AssertSqlSafe;
use windlass_core::{
    AttemptOutcome, Change, ChangeRequest, Failure, FailureKind, Heartbeat, JobFilter, JobId,
    JobQuery, LogLevel, NewJob, Note, OnConflict, Queue, Record, Recorded, Retention, Selector,
    Settled, Settlement, Start, State, StatsQuery, Store, Tag, Unique, UniqueKey, UniqueUntil,
};
use windlass_sqlite::SqliteBackend;

const COLUMNS: [&str; 10] = [
    "meta",
    "tags",
    "progress",
    "errors",
    "trail",
    "args",
    "unique_key",
    "kind",
    "queue",
    "worker",
];
const BLOB: &str = "x'ff00'";
const DAMAGES: [&str; 4] = [BLOB, "jsonb('{\"secret\":1}')", "CAST(x'c328' AS TEXT)", "'{secret'"];

/// Columns without which a job can't be shown, and damages that spoil them.
fn spoils_the_record(column: &str, damage: &str) -> bool {
    match column {
        "meta" | "tags" | "progress" | "errors" | "kind" | "queue" => true,
        "unique_key" => damage != DAMAGES[3],
        "worker" => true,
        _ => false,
    }
}

async fn damage(path: &Path, job: JobId, column: &str, value: &str) {
    let mut conn = host(path).await;
    let mut changed = 0;
    for table in ["windlass_jobs", "windlass_finished"] {
        let sql = format!("UPDATE {table} SET {column} = {value} WHERE id = ?");
        let query = sqlx::query(AssertSqlSafe(sql)).bind(job.as_bytes().to_vec());
        changed += query.execute(&mut conn).await.unwrap().rows_affected();
    }
    assert_eq!(changed, 1);
}

fn tagged() -> NewJob {
    let mut job = job();
    job.tags = vec![Tag::new("tag").unwrap()];
    job.meta.insert("key".to_owned(), "value".to_owned());
    job
}

/// Runs a case for each column and each damage.
macro_rules! each {
    (|$column:ident, $value:ident| $body:block) => {
        for $column in COLUMNS {
            for $value in DAMAGES {
                $body
            }
        }
    };
}

#[tokio::test]
async fn f07_f49_others_are_claimed() {
    each!(|column, value| {
        let (_folder, path) = place();
        let backend = open(&path).await;
        let w = worker(&backend).await;
        let (bad, good) = (tagged(), tagged());
        backend.insert(&[bad.clone(), good.clone()]).await.unwrap();
        damage(&path, bad.id, column, value).await;
        let leases = claim(&backend, w, 10).await;
        let claimed = leases.iter().any(|lease| lease.key.job == good.id);
        assert!(claimed, "{column} = {value}");
        let rows: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM windlass_jobs) + (SELECT count(*) FROM windlass_finished)",
        )
        .fetch_one(&mut host(&path).await)
        .await
        .unwrap();
        assert_eq!(rows, 2, "the bad one is kept: {column} = {value}");
    });
}

#[tokio::test]
async fn f07_f49_a_claim_whose_reply_was_lost_gives_the_others_again() {
    each!(|column, value| {
        let (_folder, path) = place();
        let backend = open(&path).await;
        let w = worker(&backend).await;
        backend.insert(&[tagged(), tagged()]).await.unwrap();
        let mut first = request(w, 10);
        let leases = backend.claim(&first).await.unwrap().leases;
        damage(&path, leases[0].key.job, column, value).await;
        first.resend = true;
        let again = backend.claim(&first).await.unwrap().leases;
        let keys: Vec<_> = again.iter().map(|lease| lease.key).collect();
        assert!(keys.contains(&leases[1].key) || column == "worker", "{column} = {value}");
    });
}

#[tokio::test]
async fn f07_f49_others_are_settled_recorded_and_kept_alive() {
    each!(|column, value| {
        let (_folder, path) = place();
        let backend = open(&path).await;
        let w = worker(&backend).await;
        backend.insert(&[tagged(), tagged(), tagged(), tagged()]).await.unwrap();
        let leases = claim(&backend, w, 4).await;
        for lease in &leases[..2] {
            damage(&path, lease.key.job, column, value).await;
        }
        let keys: Vec<_> = leases.iter().map(|lease| lease.key).collect();
        let beat = backend.heartbeat(w, &keys).await.unwrap();
        let Heartbeat::Alive { lost, .. } = beat else { panic!("{column} = {value}") };
        assert!(!lost.contains(&keys[2]) && !lost.contains(&keys[3]), "{column} = {value}");
        let notes = vec![Note::Log { level: LogLevel::Info, message: "line".into() }];
        let records = [keys[0], keys[2]].map(|key| Record::new(key, notes.clone()));
        let recorded = backend.record(&records).await.unwrap();
        assert_eq!(recorded[1], Recorded::Applied, "{column} = {value}");
        let failure = Failure { kind: FailureKind::Error, message: "failed".into() };
        let retry = AttemptOutcome::Retry { delay: Duration::ZERO, failure };
        let settlements = [
            completed(&leases[0]),
            Settlement::new(keys[1], retry.clone()),
            completed(&leases[2]),
            Settlement::new(keys[3], retry),
        ];
        let answers = backend.settle(&settlements).await.unwrap();
        assert_eq!(answers[2], Settled::Applied { state: State::Completed }, "{column} = {value}");
        assert_eq!(answers[3], Settled::Applied { state: State::Available }, "{column} = {value}");
        if ["meta", "tags", "progress", "errors", "trail", "args"].contains(&column) {
            assert_eq!(answers[..2], answers[2..], "not needed to settle: {column} = {value}");
        }
    });
}

#[tokio::test]
async fn f07_others_are_promoted_rescued_and_pruned() {
    each!(|column, value| {
        let (_folder, path) = place();
        let backend = open(&path).await;
        let w = worker(&backend).await;
        backend.insert(&[tagged(), tagged(), tagged(), tagged()]).await.unwrap();
        let leases = claim(&backend, w, 4).await;
        backend.settle(&[completed(&leases[0]), completed(&leases[1])]).await.unwrap();
        let mut later = [tagged(), tagged()];
        later.iter_mut().for_each(|job| job.start = Start::In(Duration::from_secs(60)));
        backend.insert(&later).await.unwrap();
        for bad in [leases[0].key.job, leases[2].key.job, later[0].id] {
            damage(&path, bad, column, value).await;
        }
        backend.advance_clock(HOUR * 2);
        let mut done = backend.maintain(1).await.unwrap();
        while done.more {
            let next = backend.maintain(1).await.unwrap();
            done.promoted += next.promoted;
            done.rescued.extend(next.rescued);
            done.more = next.more;
        }
        assert!(done.promoted >= 1, "{column} = {value}");
        assert!(done.rescued.contains(&leases[3].key.job), "{column} = {value}");
        let good = backend.get(later[1].id).await.unwrap().unwrap();
        assert_eq!(good.state, State::Available, "{column} = {value}");
        let mut keep = Retention::default();
        keep.completed = Some(Duration::ZERO);
        assert_eq!(backend.prune(&keep, 10).await.unwrap().jobs, 2, "{column} = {value}");
    });
}

#[tokio::test]
async fn f07_listings_go_on_and_who_asks_for_the_job_is_told() {
    each!(|column, value| {
        let (_folder, path) = place();
        let backend = open(&path).await;
        let (bad, good) = (tagged(), tagged());
        backend.insert(&[bad.clone(), good.clone()]).await.unwrap();
        damage(&path, bad.id, column, value).await;
        let mut by_tag = JobFilter::default();
        by_tag.tags = good.tags.clone();
        for filter in [JobFilter::default(), by_tag] {
            let page = backend.list(&JobQuery::from(filter)).await.unwrap();
            let ids: Vec<JobId> = page.items.iter().map(|job| job.id).collect();
            assert!(ids.contains(&good.id), "{column} = {value}");
        }
        // Pages go on behind it.
        let mut query = JobQuery::from(JobFilter::default());
        query.limit = 1;
        let mut found = Vec::new();
        loop {
            let page = backend.list(&query).await.unwrap();
            found.extend(page.items.iter().map(|job| job.id));
            let Some(next) = page.next else { break };
            query.after = Some(next);
        }
        assert!(found.contains(&good.id), "{column} = {value}");
        backend.stats(&StatsQuery::default()).await.unwrap();
        match backend.get(bad.id).await {
            Ok(_) => assert!(!spoils_the_record(column, value), "{column} = {value}"),
            Err(error) => {
                let text = error.to_string();
                let named = text.contains(&bad.id.to_string()) && text.contains(column);
                assert!(named, "{column} = {value}: {text}");
                assert!(!format!("{error:?}").contains("secret"), "{error:?}");
                assert!(!found.contains(&bad.id), "{column} = {value}");
            }
        }
        if column == "trail" {
            let error = backend.history(bad.id, None, 10).await.unwrap_err().to_string();
            assert!(error.contains(&bad.id.to_string()) && error.contains("`trail`"), "{error}");
        }
        assert!(!backend.history(good.id, None, 10).await.unwrap().events.is_empty());
    });
}

async fn changed(backend: &SqliteBackend, target: Selector) -> windlass_core::Result<u64> {
    let request = ChangeRequest::new(target, Change::Cancel { reason: None });
    Ok(backend.change(&request).await?.count)
}

#[tokio::test]
async fn f07_others_are_changed() {
    each!(|column, value| {
        let (_folder, path) = place();
        let backend = open(&path).await;
        let jobs = [tagged(), tagged(), tagged(), tagged()];
        backend.insert(&jobs).await.unwrap();
        for job in [&jobs[0], &jobs[2]] {
            damage(&path, job.id, column, value).await;
        }
        let ids = Selector::Ids(vec![jobs[0].id, jobs[1].id]);
        assert!(changed(&backend, ids).await.unwrap() >= 1, "{column} = {value}");
        let mut filter = JobFilter::default();
        filter.tags = jobs[3].tags.clone();
        assert!(changed(&backend, Selector::Filter(filter)).await.unwrap() >= 1);
        for good in [&jobs[1], &jobs[3]] {
            let state = backend.get(good.id).await.unwrap().unwrap().state;
            assert_eq!(state, State::Cancelled, "{column} = {value}");
        }
    });
}

/// Who names one job is told what is wrong with it.
#[tokio::test]
async fn f07_a_change_of_one_job_that_cannot_be_read_says_so() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let job = job();
    backend.insert(std::slice::from_ref(&job)).await.unwrap();
    damage(&path, job.id, "kind", BLOB).await;
    let error = changed(&backend, Selector::Ids(vec![job.id])).await.unwrap_err().to_string();
    assert!(error.contains("`kind`") && error.contains(&job.id.to_string()), "{error}");
}

#[tokio::test]
async fn f07_a_unique_key_whose_holder_cannot_be_read_stops_only_itself() {
    each!(|column, value| {
        let (_folder, path) = place();
        let backend = open(&path).await;
        let unique = |name: &str| {
            let mut job = tagged();
            let key = UniqueKey::new(name).unwrap();
            let (until, on_conflict) = (UniqueUntil::Finished, OnConflict::Keep);
            job.unique = Some(Unique { key, until, on_conflict });
            job
        };
        let holder = unique("key");
        backend.insert(std::slice::from_ref(&holder)).await.unwrap();
        damage(&path, holder.id, column, value).await;
        let answers = backend.insert(&[unique("key"), unique("other")]).await.unwrap();
        assert_eq!(answers.len(), 2, "{column} = {value}");
    });
}

#[tokio::test]
async fn f07_a_feed_goes_on_behind_an_entry_that_cannot_be_read() {
    for value in DAMAGES {
        let (_folder, path) = place();
        let backend = open(&path).await;
        let first = job();
        backend.insert(std::slice::from_ref(&first)).await.unwrap();
        let sql = AssertSqlSafe(format!("UPDATE windlass_events SET body = {value}"));
        sqlx::query(sql).execute(&mut host(&path).await).await.unwrap();
        let second = job();
        backend.insert(std::slice::from_ref(&second)).await.unwrap();
        let page = backend.events(&Default::default(), None, 10).await.unwrap();
        let jobs: Vec<JobId> = page.events.iter().map(|event| event.job).collect();
        assert_eq!(jobs, [second.id], "{value}");
        assert_eq!(page.next, backend.tail().await.unwrap(), "{value}");
    }
}
