//! Rows that can't be read stand in nobody's way.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::path::Path;
use std::time::Duration;

use common::{HOUR, claim, completed, host, job, kind, open, place, queue, worker};
use sqlx::AssertSqlSafe;
use windlass_core::{
    ClaimRequest, JobId, Kind, KindSlots, NewJob, Queue, QueueSlots, Settled, Start, State, Store,
};

/// Writes a value into a column of a job, past the backend.
async fn damage(path: &Path, job: JobId, assignment: &str) {
    let sql = format!("UPDATE windlass_jobs SET {assignment} WHERE id = ?");
    let query = sqlx::query(AssertSqlSafe(sql)).bind(job.as_bytes().to_vec());
    let done = query.execute(&mut host(path).await).await.unwrap();
    assert_eq!(done.rows_affected(), 1);
}

async fn column(path: &Path, job: JobId, column: &str) -> String {
    let sql = format!(
        "SELECT CAST({column} AS TEXT) FROM (SELECT id, state, errors FROM windlass_jobs \
         UNION ALL SELECT id, state, errors FROM windlass_finished) WHERE id = ?"
    );
    let query = sqlx::query_scalar(AssertSqlSafe(sql)).bind(job.as_bytes().to_vec());
    query.fetch_one(&mut host(path).await).await.unwrap()
}

#[tokio::test]
async fn f07_f31_f49_a_damaged_job_at_the_head_is_discarded_and_the_others_are_claimed() {
    for assignment in [
        "meta = '{'",
        "meta = '[]'",
        "tags = 'tags'",
        "progress = '{\"secret\"'",
        "max_attempts = -1",
        "timeout = 'secret'",
    ] {
        for other_kind in [false, true] {
            let (_folder, path) = place();
            let backend = open(&path).await;
            let w = worker(&backend).await;
            let good = if other_kind { Kind::new("other").unwrap() } else { kind() };
            let (bad, good) = (job(), NewJob::new(good, queue(), job().args));
            backend.insert(&[bad.clone(), good.clone()]).await.unwrap();
            damage(&path, bad.id, assignment).await;
            let kinds = [kind(), Kind::new("other").unwrap()];
            let kinds = kinds.map(|kind| KindSlots { kind, limit: None }).to_vec();
            let slots = vec![QueueSlots { queue: queue(), limit: 1 }];
            let claimed = backend.claim(&ClaimRequest::new(w, slots, kinds)).await.unwrap();
            let jobs: Vec<JobId> = claimed.leases.iter().map(|lease| lease.key.job).collect();
            assert_eq!(jobs, [good.id], "{assignment}");
            let state = column(&path, bad.id, "state").await;
            assert_eq!(state, State::Discarded.code().to_string(), "{assignment}");
            let errors = column(&path, bad.id, "errors").await;
            assert!(errors.contains("can't be read"), "{errors}");
            assert!(!errors.contains("secret"), "{errors}");
        }
    }
}

/// Nothing is lost: a newer library, or this one once the row is mended, runs the job.
#[tokio::test]
async fn f07_f31_f49_a_job_in_an_unknown_encoding_waits_and_is_in_nobodys_way() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    let jobs: Vec<NewJob> = (0..50).map(|_| job()).collect();
    backend.insert(&jobs).await.unwrap();
    let (newer, known) = jobs.split_at(45);
    for job in newer {
        damage(&path, job.id, "encoding = 99").await;
    }
    let mut claimed = Vec::new();
    for _ in 0..3 {
        claimed.extend(claim(&backend, w, 2).await.into_iter().map(|lease| lease.key.job));
    }
    assert_eq!(claimed, known.iter().map(|job| job.id).collect::<Vec<_>>());
    for job in newer {
        assert_eq!(column(&path, job.id, "state").await, State::Available.code().to_string());
        damage(&path, job.id, "encoding = 1").await;
    }
    assert_eq!(claim(&backend, w, 100).await.len(), 45);
}

/// More damaged jobs than one claim discards: each claim goes on, and an end comes.
#[tokio::test]
async fn f07_many_damaged_jobs_are_discarded_in_bounded_steps() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    let jobs: Vec<NewJob> = (0..31).map(|_| job()).collect();
    backend.insert(&jobs).await.unwrap();
    for job in &jobs[..30] {
        damage(&path, job.id, "tags = '?'").await;
    }
    let mut claimed = Vec::new();
    for _ in 0..5 {
        claimed.extend(claim(&backend, w, 1).await.into_iter().map(|lease| lease.key.job));
    }
    assert_eq!(claimed, [jobs[30].id]);
}

/// Not even its state can be changed: it stays, and the others are claimed.
#[tokio::test]
async fn f07_a_job_that_cannot_even_be_discarded_is_passed_over() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    let jobs: Vec<NewJob> = (0..3).map(|_| job()).collect();
    backend.insert(&jobs).await.unwrap();
    damage(&path, jobs[0].id, "meta = '?', attempt = 'x'").await;
    let claimed: Vec<JobId> =
        claim(&backend, w, 2).await.into_iter().map(|lease| lease.key.job).collect();
    assert_eq!(claimed, [jobs[1].id, jobs[2].id]);
}

#[tokio::test]
async fn f07_maintenance_passes_over_jobs_that_cannot_be_read() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    let mut later: Vec<NewJob> = (0..3).map(|_| job()).collect();
    for job in &mut later {
        job.start = Start::In(Duration::from_secs(60));
    }
    let running: Vec<NewJob> = (0..3).map(|_| job()).collect();
    backend.insert(&running).await.unwrap();
    assert_eq!(claim(&backend, w, 3).await.len(), 3);
    backend.insert(&later).await.unwrap();
    damage(&path, running[0].id, "snoozes = 'x'").await;
    damage(&path, later[0].id, "snoozes = 'x'").await;
    backend.advance_clock(HOUR * 2);
    let (mut promoted, mut rescued) = (0, Vec::new());
    for _ in 0..4 {
        let done = backend.maintain(1).await.unwrap();
        promoted += done.promoted;
        rescued.extend(done.rescued);
    }
    rescued.sort_unstable();
    let mut expected = [running[1].id, running[2].id];
    expected.sort_unstable();
    assert_eq!((promoted, rescued), (2, expected.to_vec()));
}

#[tokio::test]
async fn f07_a_settlement_is_applied_beside_one_whose_job_cannot_be_read() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    backend.insert(&[job(), job()]).await.unwrap();
    let leases = claim(&backend, w, 2).await;
    damage(&path, leases[0].key.job, "snoozes = 'x'").await;
    let answers = backend.settle(&[completed(&leases[0]), completed(&leases[1])]).await.unwrap();
    assert_eq!(answers, [Settled::Lost, Settled::Applied { state: State::Completed }]);
}

/// Arithmetic goes no further than numbers do.
#[tokio::test]
async fn f07_numbers_at_their_end_stand_in_nobodys_way() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    let w = worker(&backend).await;
    let mut later: Vec<NewJob> = (0..2).map(|_| job()).collect();
    later.iter_mut().for_each(|job| job.start = Start::In(HOUR));
    backend.insert(&later).await.unwrap();
    for job in &later {
        damage(&path, job.id, "due_at = -9223372036854775808").await;
    }
    assert_eq!(backend.maintain(1).await.unwrap().promoted, 1);
    let jobs = [job(), job()];
    backend.insert(&jobs).await.unwrap();
    damage(&path, jobs[0].id, "changes = 9223372036854775807").await;
    let leases = claim(&backend, w, 10).await;
    assert_eq!(leases.len(), 3);
    let done: Vec<_> = leases.iter().map(completed).collect();
    for answer in backend.settle(&done).await.unwrap() {
        assert_eq!(answer, Settled::Applied { state: State::Completed });
    }
}

#[tokio::test]
async fn f52_what_is_wrong_with_a_worker_is_told_without_its_content() {
    let (_folder, path) = place();
    let backend = open(&path).await;
    worker(&backend).await;
    let spoil = sqlx::query("UPDATE windlass_workers SET queues = '\"secret\"'");
    spoil.execute(&mut host(&path).await).await.unwrap();
    let error = backend.workers().await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert!(!format!("{error} {error:?} {source}").contains("secret"), "{error:?}");
}
