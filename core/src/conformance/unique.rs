//! Unique keys: what becomes of a second job, and when the key is free again. F21 to F23.

use std::sync::Arc;

use super::Harness;
use super::support::*;
use crate::{
    Backend, Change, Inserted, JobId, NewJob, OnConflict, Retention, Selector, State, Store,
    Unique, UniqueUntil,
};

fn rule(text: &str, until: UniqueUntil, on_conflict: OnConflict) -> NewJob {
    let unique = Some(Unique { key: key(text), until, on_conflict });
    NewJob { unique, ..job() }
}

async fn offer(b: &dyn Backend, new: NewJob) -> Inserted {
    b.insert(&[new]).await.unwrap()[0]
}

async fn held_by(b: &dyn Backend, text: &str, holder: JobId) {
    let answer = offer(b, unique_job(text)).await;
    assert_eq!(answer, Inserted::Duplicate { existing: holder }, "the key `{text}` is held");
}

/// Takes the key with a job that is removed again.
async fn free(b: &dyn Backend, text: &str, why: &str) {
    let new = unique_job(text);
    assert_eq!(offer(b, new.clone()).await, Inserted::New(new.id), "the key is free: {why}");
    assert!(change_one(b, new.id, Change::Delete).await);
}

pub async fn a_held_key_names_its_holder<H: Harness>(h: H) {
    let b = &*h.backend();
    let holder = insert(b, unique_job("a")).await;
    let before = get(b, holder).await;
    held_by(b, "a", holder).await;
    let second = NewJob { queue: queue("other"), kind: kind("other"), ..unique_job("a") };
    let answer = offer(b, second).await;
    assert_eq!(answer, Inserted::Duplicate { existing: holder }, "in every queue and kind");
    assert_eq!(get(b, holder).await, before, "the holder stays as it is");
    assert_eq!(count(b).await, 1);
}

pub async fn reject_is_told_apart<H: Harness>(h: H) {
    let b = &*h.backend();
    let holder = insert(b, unique_job("a")).await;
    let second = rule("a", UniqueUntil::Finished, OnConflict::Reject);
    assert_eq!(offer(b, second).await, Inserted::Rejected { existing: holder });
    assert_eq!(count(b).await, 1);
}

pub async fn different_keys_do_not_meet<H: Harness>(h: H) {
    let b = &*h.backend();
    for text in ["a", "A", "a ", "a%", "%", "ä"] {
        insert(b, unique_job(text)).await;
    }
    insert_all(b, jobs(2)).await;
    assert_eq!(count(b).await, 8);
}

pub async fn a_key_may_be_held_by_an_earlier_job_of_the_call<H: Harness>(h: H) {
    let b = &*h.backend();
    let (one, two) = (unique_job("a"), unique_job("b"));
    let new = [one.clone(), unique_job("a"), two.clone(), unique_job("b"), unique_job("a")];
    let answers = b.insert(&new).await.unwrap();
    let (first, second) = (one.id, two.id);
    assert_eq!(
        answers,
        [
            Inserted::New(first),
            Inserted::Duplicate { existing: first },
            Inserted::New(second),
            Inserted::Duplicate { existing: second },
            Inserted::Duplicate { existing: first },
        ]
    );
    assert_eq!(count(b).await, 2);
}

/// F23: two processes enqueue the same at once; one job comes of it.
pub async fn f23_of_concurrent_inserts_one_is_new<H: Harness>(h: H) {
    let second = h.second().await.unwrap_or_else(|| h.backend());
    let backends: [Arc<H::Backend>; 2] = [h.backend(), second];
    for round in 0..5 {
        let tasks: Vec<_> = (0..8)
            .map(|n| {
                let b = backends[n % 2].clone();
                tokio::spawn(async move {
                    b.insert(&[unique_job(&format!("round {round}"))]).await.unwrap()[0]
                })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        assert_eq!(answers.iter().filter(|a| a.is_new()).count(), 1, "one of them is new");
        let holder = answers[0].id();
        assert!(answers.iter().all(|a| a.id() == holder), "all name the same job");
    }
    assert_eq!(count(&*h.backend()).await, 5);
}

/// F22: the key goes in the very step that finishes the job.
pub async fn f22_until_finished_lasts_to_the_end<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for end in [completed(), discarded(), cancelled()] {
        let id = insert(b, unique_job("a")).await;
        held_by(b, "a", id).await;
        let lease = claim_one(b, w).await;
        held_by(b, "a", id).await;
        settled(b, lease.key, retry(ms(0))).await;
        held_by(b, "a", id).await;
        let lease = claim_one(b, w).await;
        settled(b, lease.key, snoozed(ms(0))).await;
        held_by(b, "a", id).await;
        let lease = claim_one(b, w).await;
        settled(b, lease.key, crate::AttemptOutcome::Released).await;
        held_by(b, "a", id).await;
        let lease = claim_one(b, w).await;
        let state = settled(b, lease.key, end).await;
        free(b, "a", &format!("its holder is {state}")).await;
    }
}

pub async fn f22_a_cancelled_or_deleted_job_frees_its_key<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, unique_job("a")).await;
    assert!(cancel(b, id).await);
    free(b, "a", "its holder was cancelled while it waited").await;

    let id = insert(b, unique_job("b")).await;
    assert!(change_one(b, id, Change::Delete).await);
    free(b, "b", "its holder was deleted").await;

    let w = worker(b).await;
    let lease = run_new(b, w, unique_job("c")).await;
    assert!(cancel(b, lease.key.job).await);
    held_by(b, "c", lease.key.job).await;
    settled(b, lease.key, retry(HOUR)).await;
    free(b, "c", "its holder was cancelled while it ran").await;
}

/// F22: an orphan must not block its key for ever.
pub async fn f22_a_rescued_job_keeps_its_key_and_a_given_up_one_frees_it<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, unique_job("a")).await;
    crash_once(b, crate::Lane::Normal).await;
    held_by(b, "a", id).await;
    assert!(change_one(b, id, Change::Delete).await);

    insert(b, NewJob { max_attempts: 1, ..unique_job("b") }).await;
    crash_once(b, crate::Lane::Normal).await;
    free(b, "b", "its holder was discarded by the rescue").await;
}

pub async fn until_started_is_free_at_the_claim<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let waiting = || rule("a", UniqueUntil::Started, OnConflict::Keep);
    let first = insert(b, waiting()).await;
    let answer = offer(b, waiting()).await;
    assert_eq!(answer, Inserted::Duplicate { existing: first }, "at most one waits");
    let lease = claim_one(b, w).await;
    let second = insert(b, waiting()).await;
    assert_eq!(offer(b, waiting()).await, Inserted::Duplicate { existing: second });
    settled(b, lease.key, retry(ms(0))).await;
    assert_eq!(offer(b, waiting()).await, Inserted::Duplicate { existing: second });
    assert_eq!(claim(b, w, 9).await.len(), 2, "both run; only waiting is limited");
}

/// The end of a job that gave its key up at the start leaves the key to its new holder.
pub async fn until_started_is_not_freed_by_the_end_of_an_earlier_holder<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let waiting = || rule("a", UniqueUntil::Started, OnConflict::Keep);
    let lease = run_new(b, w, waiting()).await;
    let second = insert(b, waiting()).await;
    complete(b, &lease).await;
    assert_eq!(offer(b, waiting()).await, Inserted::Duplicate { existing: second });
    assert!(change_one(b, lease.key.job, Change::Delete).await);
    assert_eq!(offer(b, waiting()).await, Inserted::Duplicate { existing: second });
}

pub async fn a_window_outlives_the_job<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, rule("a", UniqueUntil::For(HOUR), OnConflict::Keep)).await;
    held_by(b, "a", lease.key.job).await;
    complete(b, &lease).await;
    held_by(b, "a", lease.key.job).await;
}

pub async fn a_window_ends_whatever_becomes_of_the_job<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let brief = |text| rule(text, UniqueUntil::For(ms(20)), OnConflict::Keep);
    insert(b, brief("waiting")).await;
    let running = claim_one(b, w).await;
    insert(b, brief("still waiting")).await;
    h.advance(ms(30)).await;
    free(b, "waiting", "its window has passed while the job runs").await;
    free(b, "still waiting", "its window has passed while the job waits").await;
    complete(b, &running).await;
}

/// The end of a job whose window has passed leaves the key to its new holder.
pub async fn a_passed_window_is_not_freed_again<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let first = rule("a", UniqueUntil::For(ms(10)), OnConflict::Keep);
    let lease = run_new(b, w, first).await;
    h.advance(ms(20)).await;
    let second = insert(b, NewJob { start: later().start, ..unique_job("a") }).await;
    maintain(b).await;
    complete(b, &lease).await;
    held_by(b, "a", second).await;
    assert!(change_one(b, lease.key.job, Change::Delete).await);
    maintain(b).await;
    held_by(b, "a", second).await;
}

/// A window says "not again within this time", and pruning is not to cut that short.
pub async fn pruning_leaves_a_window<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, rule("a", UniqueUntil::For(HOUR), OnConflict::Keep)).await;
    complete(b, &lease).await;
    h.advance(ms(10)).await;
    let now = Some(ms(1));
    let retention = Retention { completed: now, ..Retention::keep_all() };
    assert_eq!(b.prune(&retention, 10).await.unwrap().jobs, 1);
    assert_eq!(b.get(lease.key.job).await.unwrap(), None);
    maintain(b).await;
    held_by(b, "a", lease.key.job).await;
}

pub async fn deleting_the_holder_ends_its_window<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, rule("a", UniqueUntil::For(HOUR), OnConflict::Keep)).await;
    assert!(change_one(b, id, Change::Delete).await);
    free(b, "a", "its holder is gone").await;
}

pub async fn a_retried_job_takes_its_key_again<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, unique_job("a")).await;
    settled(b, lease.key, discarded()).await;
    assert!(change_one(b, lease.key.job, Change::Retry).await);
    held_by(b, "a", lease.key.job).await;
    complete(b, &claim_one(b, w).await).await;
    free(b, "a", "the retried job has finished").await;
}

pub async fn a_job_whose_key_is_taken_is_not_retried<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, unique_job("a")).await;
    settled(b, lease.key, discarded()).await;
    let second = insert(b, unique_job("a")).await;
    let before = get(b, lease.key.job).await;
    assert!(!change_one(b, lease.key.job, Change::Retry).await, "untouched and not counted");
    assert_eq!(get(b, lease.key.job).await, before);
    held_by(b, "a", second).await;
}

/// Also a job that would not take the key again, as its window has passed, would run beside the holder.
pub async fn a_job_whose_key_is_taken_is_not_retried_after_its_window<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let older = run_new(b, w, unique_job("a")).await;
    complete(b, &older).await;
    let brief = run_new(b, w, rule("a", UniqueUntil::For(ms(10)), OnConflict::Keep)).await;
    complete(b, &brief).await;
    h.advance(ms(20)).await;
    let second = insert(b, unique_job("a")).await;
    assert!(!change_one(b, brief.key.job, Change::Retry).await, "another job holds the key");
    assert!(change_one(b, second, Change::Cancel { reason: None }).await);
    // In one call, too, the first of them has the key.
    let target = Selector::Ids(vec![older.key.job, brief.key.job]);
    assert_eq!(change(b, target, Change::Retry).await, 1);
    assert_eq!(get(b, brief.key.job).await.state, State::Completed);
    held_by(b, "a", older.key.job).await;
}
