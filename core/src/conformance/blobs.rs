//! The account of blobs: staged before they are written, owned by the jobs that refer to them, named for
//! deletion until that is confirmed.

use std::time::Duration;

use super::Harness;
use super::support::*;
use crate::{
    AttemptOutcome, Backend, BlobKey, Change, NewJob, OnConflict, Retention, Store, Unique,
};

fn blob(name: &str) -> BlobKey {
    BlobKey::new(name).unwrap()
}

fn referring(names: &[&str]) -> NewJob {
    NewJob { blobs: names.iter().map(|n| blob(n)).collect(), ..job() }
}

/// The keys that pruning names, sorted; with a retention that removes every final job at once.
async fn named<H: Harness>(h: &H) -> Vec<String> {
    h.advance(ms(10)).await;
    let now = Some(ms(1));
    let retention = Retention { completed: now, cancelled: now, discarded: now, events: None };
    named_by(&*h.backend(), &retention).await
}

async fn named_by(b: &dyn Backend, retention: &Retention) -> Vec<String> {
    let mut names = Vec::new();
    loop {
        let step = b.prune(retention, 100).await.unwrap();
        names.extend(step.blobs.iter().map(|k| k.to_string()));
        if !step.more {
            names.sort();
            names.dedup();
            return names;
        }
    }
}

pub async fn blobs_of_living_jobs_stay<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert(b, referring(&["a", "b"])).await;
    assert!(named(&h).await.is_empty(), "while the job waits");
    let lease = claim_one(b, w).await;
    assert!(named(&h).await.is_empty(), "while it runs");
    settled(b, lease.key, retry(HOUR)).await;
    assert!(named(&h).await.is_empty(), "while it is to be retried");
    change_one(b, lease.key.job, Change::Retry).await;
    complete(b, &claim_one(b, w).await).await;
    assert!(named_by(b, &Retention::keep_all()).await.is_empty(), "while it is kept");
}

pub async fn blobs_of_pruned_jobs_are_named<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, referring(&["a", "x/y"])).await;
    insert(b, NewJob { start: later().start, ..referring(&["b"]) }).await;
    complete(b, &lease).await;
    assert_eq!(named(&h).await, ["a", "x/y"]);
}

pub async fn blobs_of_deleted_jobs_are_named<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, referring(&["a"])).await;
    assert!(change_one(b, id, Change::Delete).await);
    assert_eq!(named(&h).await, ["a"]);
}

/// A crash between the naming and the deletion leaks nothing.
pub async fn they_are_named_until_confirmed<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, referring(&["a", "b"])).await;
    assert!(change_one(b, id, Change::Delete).await);
    for _ in 0..3 {
        assert_eq!(named(&h).await, ["a", "b"]);
    }
    b.blobs_deleted(&[blob("a")]).await.unwrap();
    assert_eq!(named(&h).await, ["b"]);
    for _ in 0..2 {
        b.blobs_deleted(&[blob("b"), blob("a"), blob("never")]).await.unwrap();
    }
    assert!(named(&h).await.is_empty());
}

pub async fn a_shared_blob_stays_until_the_last_job_is_gone<H: Harness>(h: H) {
    let b = &*h.backend();
    let [one, two] = insert_all(b, vec![referring(&["a"]), referring(&["a", "a"])]).await[..]
    else {
        unreachable!()
    };
    assert!(change_one(b, one, Change::Delete).await);
    assert!(named(&h).await.is_empty());
    assert!(change_one(b, two, Change::Delete).await);
    assert_eq!(named(&h).await, ["a"], "once, though one job named it twice");
}

pub async fn blobs_of_the_result_live_with_the_job<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, referring(&["args"])).await;
    b.stage_blobs(&[blob("result")], ms(1)).await.unwrap();
    let blobs = vec![blob("result")];
    settled(b, lease.key, AttemptOutcome::Completed { result: None, blobs }).await;
    h.advance(ms(20)).await;
    assert!(named_by(b, &Retention::keep_all()).await.is_empty(), "the job took it over");
    assert_eq!(named(&h).await, ["args", "result"]);
}

pub async fn a_staged_blob_that_no_job_took_is_named<H: Harness>(h: H) {
    let b = &*h.backend();
    b.stage_blobs(&[blob("a"), blob("b")], ms(20)).await.unwrap();
    b.stage_blobs(&[blob("c")], HOUR).await.unwrap();
    b.stage_blobs(&[], HOUR).await.unwrap();
    h.advance(ms(30)).await;
    assert_eq!(named(&h).await, ["a", "b"]);
    b.blobs_deleted(&[blob("a"), blob("b")]).await.unwrap();
    assert!(named(&h).await.is_empty(), "the other upload may still be under way");
}

/// Staged anew between being named and the confirmation that it is gone: the new upload has its own time.
pub async fn a_key_staged_again_stays_in_the_account<H: Harness>(h: H) {
    let b = &*h.backend();
    b.stage_blobs(&[blob("a")], ms(1)).await.unwrap();
    assert_eq!(named(&h).await, ["a"]);
    // Long enough for a slow machine to get to the next line.
    b.stage_blobs(&[blob("a")], ms(2_500)).await.unwrap();
    b.blobs_deleted(&[blob("a")]).await.unwrap();
    h.advance(ms(2_600)).await;
    assert_eq!(named(&h).await, ["a"], "nobody took the second upload");
}

/// The confirmation may come so late that the time of the new upload is over, too, or its job gone.
pub async fn only_what_was_named_since_is_confirmed<H: Harness>(h: H) {
    let b = &*h.backend();
    b.stage_blobs(&[blob("a"), blob("b"), blob("c")], Duration::ZERO).await.unwrap();
    b.blobs_deleted(&[blob("a"), blob("b"), blob("c")]).await.unwrap();
    assert_eq!(named(&h).await, ["a", "b", "c"], "nobody had named them");
    b.stage_blobs(&[blob("a")], Duration::ZERO).await.unwrap();
    let id = insert(b, referring(&["b"])).await;
    assert!(change_one(b, id, Change::Delete).await);
    b.blobs_deleted(&[blob("a"), blob("b"), blob("c")]).await.unwrap();
    assert_eq!(named(&h).await, ["a", "b"], "they may have been written again");
    b.blobs_deleted(&[blob("a"), blob("b")]).await.unwrap();
    assert!(named(&h).await.is_empty());
}

/// Two uploads under one key: the one that takes longer is not to lose its blob.
pub async fn of_two_stagings_the_later_end_counts<H: Harness>(h: H) {
    let b = &*h.backend();
    b.stage_blobs(&[blob("a")], HOUR).await.unwrap();
    b.stage_blobs(&[blob("a"), blob("b")], ms(1)).await.unwrap();
    assert_eq!(named(&h).await, ["b"]);
}

pub async fn a_job_takes_over_what_was_staged<H: Harness>(h: H) {
    let b = &*h.backend();
    b.stage_blobs(&[blob("a")], ms(20)).await.unwrap();
    let id = insert(b, referring(&["a"])).await;
    h.advance(ms(30)).await;
    assert!(named(&h).await.is_empty());
    assert!(change_one(b, id, Change::Delete).await);
    assert_eq!(named(&h).await, ["a"]);
}

/// An upload for a job that turned out a duplicate has no owner, and must go.
pub async fn a_duplicate_takes_over_nothing<H: Harness>(h: H) {
    let b = &*h.backend();
    insert(b, unique_job("a")).await;
    b.stage_blobs(&[blob("x")], ms(5)).await.unwrap();
    let duplicate = NewJob { unique: Some(unique("a")), ..referring(&["x"]) };
    assert!(!b.insert(&[duplicate]).await.unwrap()[0].is_new());
    assert_eq!(named(&h).await, ["x"]);
}

pub async fn a_replacement_exchanges_the_blobs<H: Harness>(h: H) {
    let b = &*h.backend();
    let replacing = |name: &str| {
        let rule = Unique { on_conflict: OnConflict::Replace, ..unique("a") };
        NewJob { unique: Some(rule), ..referring(&[name, "both"]) }
    };
    let id = insert(b, replacing("old")).await;
    b.stage_blobs(&[blob("new")], ms(1)).await.unwrap();
    b.insert(&[replacing("new")]).await.unwrap();
    assert_eq!(named(&h).await, ["old"]);
    b.blobs_deleted(&[blob("old")]).await.unwrap();
    assert!(change_one(b, id, Change::Delete).await);
    assert_eq!(named(&h).await, ["both", "new"]);
}

/// Named but not yet deleted, and wanted again: it must not be named any longer.
pub async fn a_named_blob_may_be_referred_to_again<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, referring(&["a"])).await;
    assert!(change_one(b, id, Change::Delete).await);
    assert_eq!(named(&h).await, ["a"]);
    insert(b, referring(&["a"])).await;
    assert!(named(&h).await.is_empty(), "a job refers to it");
}

pub async fn follow_ups_own_their_blobs<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, referring(&["a"])).await;
    let mut settlement = crate::Settlement::new(lease.key, completed());
    settlement.follow_ups = vec![referring(&["a", "b"])];
    settle_whole(b, settlement.clone()).await;
    assert!(named(&h).await.is_empty(), "the follow-up refers to both");
    assert!(change_one(b, settlement.follow_ups[0].id, Change::Delete).await);
    assert_eq!(named(&h).await, ["a", "b"]);
}

pub async fn a_retry_lets_go_of_the_result<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, referring(&["args"])).await;
    let blobs = vec![blob("result")];
    settled(b, lease.key, AttemptOutcome::Completed { result: None, blobs }).await;
    assert!(change_one(b, lease.key.job, Change::Retry).await);
    assert!(change_one(b, lease.key.job, Change::Delete).await);
    assert_eq!(named(&h).await, ["args", "result"], "nothing is leaked either way");
}

/// An upload that begins again under a doomed key must not be deleted under its writer's hands.
pub async fn a_named_blob_may_be_staged_again<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, referring(&["a"])).await;
    assert!(change_one(b, id, Change::Delete).await);
    assert_eq!(named(&h).await, ["a"]);
    b.stage_blobs(&[blob("a")], HOUR).await.unwrap();
    assert!(named(&h).await.is_empty());
}

/// Staging what a job refers to already changes nothing: the job keeps it.
pub async fn a_staged_blob_of_a_living_job_stays<H: Harness>(h: H) {
    let b = &*h.backend();
    insert(b, referring(&["a"])).await;
    b.stage_blobs(&[blob("a")], ms(1)).await.unwrap();
    h.advance(ms(10)).await;
    assert!(named(&h).await.is_empty());
}
