//! Columns that hold what they never should (text that is no JSON, names that are none, arrays of another shape): the job in question is in
//! nobody's way, and who asks for it is told which column of which job it is.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::time::Duration;

use common::{HOUR, Place, claim, completed, everything, job, request, worker};
use windlass_core::{
    AttemptOutcome, Change, ChangeRequest, Failure, FailureKind, Heartbeat, JobFilter, JobId,
    JobQuery, LogLevel, NewJob, Note, OnConflict, Queue, Record, Recorded, Retention, Selector,
    Settled, Settlement, Start, State, StatsQuery, Store, Tag, Unique, UniqueKey, UniqueUntil,
};
use windlass_postgres::PostgresBackend;

/// Columns, what is written into them, and whether the job can't be shown then.
const DAMAGES: [(&str, &str, bool); 19] = [
    ("meta", "'{secret'", true),
    ("meta", "'[]'", true),
    ("meta", "'{\"key\": {\"secret\": 1}}'", true),
    ("tags", "'{secret tag}'", true),
    ("progress", "'{secret'", true),
    ("progress", "'[\"secret\"]'", true),
    ("errors", "'{secret'", true),
    ("errors", "'{\"secret\": 1}'", true),
    ("trail", "'{secret'", false),
    ("trail", "'[1,2],[\"secret\"]'", false),
    ("trail", "''", false),
    ("args", "'\\xff00'", false),
    ("encoding", "99", true),
    ("unique_key", "''", true),
    ("unique_mode", "99", false),
    ("kind", "'a secret kind'", true),
    ("kind", "'\"'", true),
    ("queue", "'a secret queue'", true),
    ("queue", "'\\\"'", true),
];

async fn damage(place: &Place, job: JobId, column: &str, value: &str) {
    let sql = |table: &str| {
        format!("UPDATE windlass.{table} SET {column} = {value} WHERE id = '{job}' RETURNING 1")
    };
    let done = [place.value(&sql("jobs")).await, place.value(&sql("finished")).await];
    assert_eq!(done.concat(), "1", "{column} = {value}");
}

fn tagged() -> NewJob {
    let mut job = job();
    job.tags = vec![Tag::new("tag").unwrap()];
    job.meta.insert("key".to_owned(), "value".to_owned());
    job
}

const EMPTY: &str = "DELETE FROM windlass.jobs; DELETE FROM windlass.finished; DELETE FROM windlass.unique_keys; \
     DELETE FROM windlass.workers; DELETE FROM windlass.counts; DELETE FROM windlass.events";

/// Runs a case for each damage, in one database.
macro_rules! each {
    (|$place:ident, $backend:ident, $column:ident, $value:ident| $body:block) => {
        let $place = Place::new().await;
        let $backend = $place.open().await;
        for ($column, $value, _) in DAMAGES {
            $place.execute(EMPTY).await;
            $body
        }
    };
}

#[tokio::test]
async fn f07_f49_others_are_claimed() {
    each!(|place, backend, column, value| {
        let w = worker(&backend).await;
        let (bad, good) = (tagged(), tagged());
        backend.insert(&[bad.clone(), good.clone()]).await.unwrap();
        damage(&place, bad.id, column, value).await;
        let leases = claim(&backend, w, 10).await;
        let claimed = leases.iter().any(|lease| lease.key.job == good.id);
        assert!(claimed, "{column} = {value}");
        let rows = place.value("SELECT count(*)::text FROM windlass.records").await;
        assert_eq!(rows, "2", "the bad one is kept: {column} = {value}");
    });
}

#[tokio::test]
async fn f07_f49_a_claim_whose_reply_was_lost_gives_the_others_again() {
    each!(|place, backend, column, value| {
        let w = worker(&backend).await;
        backend.insert(&[tagged(), tagged()]).await.unwrap();
        let mut first = request(w, 10);
        let leases = backend.claim(&first).await.unwrap().leases;
        damage(&place, leases[0].key.job, column, value).await;
        first.resend = true;
        let again = backend.claim(&first).await.unwrap().leases;
        let keys: Vec<_> = again.iter().map(|lease| lease.key).collect();
        assert!(keys.contains(&leases[1].key), "{column} = {value}");
    });
}

#[tokio::test]
async fn f07_f49_others_are_settled_recorded_and_kept_alive() {
    each!(|place, backend, column, value| {
        let w = worker(&backend).await;
        backend.insert(&[tagged(), tagged(), tagged(), tagged()]).await.unwrap();
        let leases = claim(&backend, w, 4).await;
        for lease in &leases[..2] {
            damage(&place, lease.key.job, column, value).await;
        }
        let keys: Vec<_> = leases.iter().map(|lease| lease.key).collect();
        let beat = backend.heartbeat(w, &keys).await.unwrap();
        let Heartbeat::Alive { lost, .. } = beat else { panic!("{column} = {value}") };
        assert!(lost.is_empty(), "{column} = {value}");
        let notes = vec![Note::Log { level: LogLevel::Info, message: "line".into() }];
        let records = [keys[0], keys[2]].map(|key| Record::new(key, notes.clone()));
        let recorded = backend.record(&records).await.unwrap();
        assert_eq!(recorded[1], Recorded::Applied, "{column} = {value}");
        let failure = Failure { kind: FailureKind::Error, message: "failed".into() };
        let retry = AttemptOutcome::Retry { delay: Duration::ZERO, failure };
        let mut noted = completed(&leases[2]);
        noted.notes = notes.clone();
        let settlements = [
            completed(&leases[0]),
            Settlement::new(keys[1], retry.clone()),
            noted,
            Settlement::new(keys[3], retry),
        ];
        let answers = backend.settle(&settlements).await.unwrap();
        assert_eq!(answers[2], Settled::Applied { state: State::Completed }, "{column} = {value}");
        assert_eq!(answers[3], Settled::Applied { state: State::Available }, "{column} = {value}");
        assert_eq!(answers[..2], answers[2..], "{column} = {value}");
    });
}

#[tokio::test]
async fn f07_others_are_promoted_rescued_and_pruned() {
    each!(|place, backend, column, value| {
        let w = worker(&backend).await;
        backend.insert(&[tagged(), tagged(), tagged(), tagged()]).await.unwrap();
        let leases = claim(&backend, w, 4).await;
        backend.settle(&[completed(&leases[0]), completed(&leases[1])]).await.unwrap();
        let mut later = [tagged(), tagged()];
        later.iter_mut().for_each(|job| job.start = Start::In(HOUR));
        backend.insert(&later).await.unwrap();
        for bad in [leases[0].key.job, leases[2].key.job, later[0].id] {
            damage(&place, bad, column, value).await;
        }
        place.execute("UPDATE windlass.jobs SET due_at = 0 WHERE state = 1").await;
        backend.deregister(w).await.unwrap();
        let mut done = backend.maintain(1).await.unwrap();
        for _ in 0..9 {
            let next = backend.maintain(1).await.unwrap();
            done.promoted += next.promoted;
            done.rescued.extend(next.rescued);
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
    each!(|place, backend, column, value| {
        let (bad, good) = (tagged(), tagged());
        backend.insert(&[bad.clone(), good.clone()]).await.unwrap();
        damage(&place, bad.id, column, value).await;
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
        let spoils = DAMAGES.iter().any(|one| (one.0, one.1) == (column, value) && one.2);
        match backend.get(bad.id).await {
            Ok(_) => assert!(!spoils, "{column} = {value}"),
            Err(error) => {
                let text = error.to_string();
                let column = if column == "encoding" { "args" } else { column };
                let named = text.contains(&bad.id.to_string()) && text.contains(column);
                assert!(spoils && named, "{column} = {value}: {text}");
                assert!(!everything(&error).contains("secret"), "{error:?}");
                assert!(!found.contains(&bad.id), "{column} = {value}");
            }
        }
        if value == "'{secret'" && column == "trail" {
            let error = backend.history(bad.id, None, 10).await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&bad.id.to_string()) && text.contains("`trail`"), "{text}");
            assert!(!everything(&error).contains("secret"), "{error:?}");
        }
        assert!(!backend.history(good.id, None, 10).await.unwrap().events.is_empty());
    });
}

/// What a statement for many jobs could not count with, or its answer not be read, can't be stored.
#[tokio::test]
async fn f07_what_would_spoil_a_whole_batch_is_kept_out() {
    const REFUSED: [(&str, &str); 19] = [
        ("tags", "'{NULL}'"),
        ("tags", "'{{tag,b},{c,d}}'"),
        ("tags", "'[2:3]={tag,b}'"),
        ("epoch", "9223372036854775807"),
        ("attempt", "-1"),
        ("attempt", "2147483647"),
        ("max_attempts", "-1"),
        ("snoozes", "-1"),
        ("snoozes", "2147483647"),
        ("crashes", "-1"),
        ("crashes", "2147483647"),
        ("notes", "2147483647"),
        ("changes", "2147483647"),
        ("timeout", "-1"),
        ("timeout", "9223372036854775807"),
        ("due_at", "(-9223372036854775807)"),
        ("created_at", "(-9223372036854775807)"),
        ("started_at", "(-9223372036854775807)"),
        ("finished_at", "(-9223372036854775807)"),
    ];
    let place = Place::new().await;
    let backend = place.open().await;
    backend.insert(&[job(), job()]).await.unwrap();
    let w = worker(&backend).await;
    let leases = claim(&backend, w, 1).await;
    backend.settle(&[completed(&leases[0])]).await.unwrap();
    for (column, value) in REFUSED {
        let tables =
            if column == "finished_at" { &["finished"][..] } else { &["jobs", "finished"] };
        for table in tables {
            let sql = format!("UPDATE windlass.{table} SET {column} = {value}");
            let refused = place.server.execute(&place.database, &sql).await;
            assert!(refused.is_err(), "{table}: {column} = {value}");
        }
    }
}

/// Names that are none, in the tables of figures and workers.
#[tokio::test]
async fn f49_figures_and_workers_are_told_but_for_the_rows_that_cannot_be_read() {
    let place = Place::new().await;
    let backend = place.open().await;
    let (w, bad) = (worker(&backend).await, worker(&backend).await);
    backend.insert(&[job()]).await.unwrap();
    for values in ["'an odd queue', 'kind', 2", "'queue', 'an odd kind', 2", "'queue', 'kind', 99"]
    {
        place.execute(&format!("INSERT INTO windlass.counts VALUES ({values}, 1)")).await;
    }
    let stats = backend.stats(&StatsQuery::default()).await.unwrap();
    assert_eq!(stats.counts.iter().map(|count| count.jobs).collect::<Vec<_>>(), [1]);
    for queues in ["'{a b}'", "'{NULL}'", "'{{a},{b}}'"] {
        let sql = format!("UPDATE windlass.workers SET queues = {queues} WHERE id = '{bad}'");
        place.execute(&sql).await;
        let workers = backend.workers().await.unwrap();
        assert_eq!(workers.iter().map(|one| one.id).collect::<Vec<_>>(), [w], "{queues}");
    }
    place.execute("INSERT INTO windlass.queues VALUES ('an odd queue', true)").await;
    assert!(backend.queue_settings(&[]).await.unwrap().is_empty());
}

async fn changed(backend: &PostgresBackend, target: Selector) -> windlass_core::Result<u64> {
    let request = ChangeRequest::new(target, Change::Cancel { reason: None });
    Ok(backend.change(&request).await?.count)
}

#[tokio::test]
async fn f07_others_are_changed() {
    each!(|place, backend, column, value| {
        let jobs = [tagged(), tagged(), tagged(), tagged()];
        backend.insert(&jobs).await.unwrap();
        for job in [&jobs[0], &jobs[2]] {
            damage(&place, job.id, column, value).await;
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
        let request = ChangeRequest::new(
            Selector::Ids(jobs.iter().map(|job| job.id).collect()),
            Change::Delete,
        );
        assert!(backend.change(&request).await.unwrap().count >= 2, "{column} = {value}");
    });
}

#[tokio::test]
async fn f07_a_unique_key_whose_holder_cannot_be_read_stops_only_itself() {
    each!(|place, backend, column, value| {
        let unique = |name: &str, on_conflict| {
            let mut job = tagged();
            let key = UniqueKey::new(name).unwrap();
            job.unique = Some(Unique { key, until: UniqueUntil::Finished, on_conflict });
            job
        };
        let holder = unique("key", OnConflict::Keep);
        backend.insert(std::slice::from_ref(&holder)).await.unwrap();
        damage(&place, holder.id, column, value).await;
        let jobs = [unique("key", OnConflict::Keep), unique("other", OnConflict::Keep)];
        let answers = backend.insert(&jobs).await.unwrap();
        assert_eq!(answers.len(), 2, "{column} = {value}");
        backend.insert(&[unique("key", OnConflict::Replace)]).await.unwrap();
    });
}

#[tokio::test]
async fn f07_f49_a_feed_goes_on_behind_an_entry_that_cannot_be_read() {
    let place = Place::new().await;
    let backend = place.open().await;
    for value in [
        "'{secret'",
        "'{}'",
        "''",
        "replace(body, '\"kind\"', '\"an odd kind\"')",
        "replace(body, '\"c\":0', '\"c\":99')",
    ] {
        let first = job();
        backend.insert(std::slice::from_ref(&first)).await.unwrap();
        place.execute(&format!("UPDATE windlass.events SET body = {value}")).await;
        // Nothing but what can't be read: the last position is behind it, and nothing is to be waited for.
        let end = backend.tail().await.unwrap().expect("a feed that has an entry has an end");
        let page = backend.events(&Default::default(), None, 10).await.unwrap();
        assert_eq!((page.events.len(), page.next), (0, Some(end)), "{value}");
        let second = job();
        backend.insert(std::slice::from_ref(&second)).await.unwrap();
        for after in [None, Some(end)] {
            let page = backend.events(&Default::default(), after, 10).await.unwrap();
            let jobs: Vec<JobId> = page.events.iter().map(|event| event.job).collect();
            assert_eq!(jobs, [second.id], "{value}");
            assert_eq!(page.next, backend.tail().await.unwrap(), "{value}");
        }
    }
}

/// A note that can't be read does not hide the others, nor the job's own state changes.
#[tokio::test]
async fn f49_a_history_goes_on_behind_an_entry_that_cannot_be_read() {
    let place = Place::new().await;
    let backend = place.open().await;
    let job = job();
    backend.insert(std::slice::from_ref(&job)).await.unwrap();
    let note = || Note::Log { level: LogLevel::Info, message: "line".into() };
    for _ in 0..3 {
        backend.append(job.id, &[note()]).await.unwrap();
    }
    let all = backend.history(job.id, None, 10).await.unwrap();
    assert_eq!(all.events.len(), 4);
    place
        .execute(
            "UPDATE windlass.events SET body = '{secret' WHERE seq = (
                SELECT min(seq) FROM windlass.events WHERE job IS NOT NULL)",
        )
        .await;
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let page = backend.history(job.id, after, 1).await.unwrap();
        seen.extend(page.events);
        after = page.next;
        if !page.more {
            break;
        }
    }
    assert_eq!(seen, [all.events[0].clone(), all.events[2].clone(), all.events[3].clone()]);
}
