//! Single inserts that go together.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod common;

use std::pin::pin;

use common::blocks::{Counted, server};
use common::{Place, job, until};
use futures_util::future::join_all;
use sqlx::Row as _;
use windlass_core::{Backend, Error, Inserted, Store};

#[tokio::test]
async fn those_that_come_at_once_share_statements() {
    let server = server().await;
    let mut bench = Counted::open(&server).await;
    let backend = bench.backend.clone();
    let jobs: Vec<_> = std::iter::repeat_with(job).take(64).collect();
    bench.count(async {}).await;
    let inserts = jobs.iter().map(|job| backend.insert(std::slice::from_ref(job)));
    let answers = join_all(inserts).await;
    for (job, answer) in jobs.iter().zip(answers) {
        assert_eq!(answer.unwrap(), [Inserted::New(job.id)]);
    }
    let query = "SELECT sum(calls)::bigint FROM pg_stat_statements WHERE query LIKE '-- Jobs without unique key%'
        OR query LIKE '-- One job as insert_plain%'";
    let calls: i64 = sqlx::query(query).fetch_one(&mut bench.admin).await.unwrap().get(0);
    assert!((1..=4).contains(&calls), "{calls} statements for 64 jobs");
}

/// One that can't be stored as it is takes the others to where each is decided by itself.
#[tokio::test]
async fn one_that_is_stored_already_changes_nothing_for_the_others() {
    let place = Place::new().await;
    let backend = place.open().await;
    let known = job();
    backend.insert(std::slice::from_ref(&known)).await.unwrap();
    let others: Vec<_> = std::iter::repeat_with(job).take(8).collect();
    let jobs: Vec<_> = others.iter().chain([&known]).collect();
    let inserts = jobs.iter().map(|job| backend.insert(std::slice::from_ref(job)));
    let mut answers = join_all(inserts).await;
    let last = answers.pop().unwrap().unwrap();
    assert_eq!(last, [Inserted::Duplicate { existing: known.id }]);
    for (job, answer) in others.iter().zip(answers) {
        assert_eq!(answer.unwrap(), [Inserted::New(job.id)]);
    }
}

#[tokio::test]
async fn a_caller_who_goes_away_leaves_the_others_unharmed() {
    let place = Place::new().await;
    let backend = place.open().await;
    let (lone, gone, stays) = (job(), job(), job());
    {
        // The first one sends for itself; the second one is sent, though its caller doesn't wait.
        let mut first = pin!(backend.insert(std::slice::from_ref(&lone)));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        let mut second = pin!(backend.insert(std::slice::from_ref(&gone)));
        assert!(futures_util::poll!(second.as_mut()).is_pending());
    }
    let answer = backend.insert(std::slice::from_ref(&stays)).await.unwrap();
    assert_eq!(answer, [Inserted::New(stays.id)]);
    until(async || backend.get(gone.id).await.unwrap().is_some()).await;
}

/// A statement that fails fails for all of its jobs, by an error that says so and whether it may pass.
#[tokio::test]
async fn all_are_told_of_a_failure() {
    let place = Place::new().await;
    let backend = place.open().await;
    place.execute("ALTER TABLE windlass.jobs RENAME TO away").await;
    let jobs: Vec<_> = std::iter::repeat_with(job).take(8).collect();
    let insert = || join_all(jobs.iter().map(|job| backend.insert(std::slice::from_ref(job))));
    for answer in insert().await {
        assert!(matches!(answer.unwrap_err(), Error::Backend { .. }));
    }
    place.execute("ALTER TABLE windlass.away RENAME TO jobs").await;
    backend.close().await.unwrap();
    for answer in insert().await {
        assert!(matches!(answer.unwrap_err(), Error::Closed(_)));
    }
}

/// A runtime that ends takes along what it was sending: who waits elsewhere is told, and the next ones are sent by another.
#[test]
fn inserts_go_on_when_the_runtime_that_sent_is_gone() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let lasting = runtime();
    let (_place, backend) = lasting.block_on(async {
        let place = Place::new().await;
        let backend = place.open().await;
        (place, backend)
    });
    let brief = runtime();
    let left = job();
    brief.block_on(async {
        let mut insert = pin!(backend.insert(std::slice::from_ref(&left)));
        assert!(futures_util::poll!(insert.as_mut()).is_pending());
    });
    let waiting = lasting.spawn({
        let (backend, job) = (backend.clone(), job());
        async move { backend.insert(&[job]).await }
    });
    drop(brief);
    lasting.block_on(async {
        // It was sent by its own task, or was told.
        match waiting.await.unwrap() {
            Ok(answer) => assert!(matches!(answer[..], [Inserted::New(_)])),
            Err(error) => assert!(error.is_transient(), "{error:?}"),
        }
        let next = job();
        let answer = backend.insert(std::slice::from_ref(&next)).await.unwrap();
        assert_eq!(answer, [Inserted::New(next.id)]);
    });
}
