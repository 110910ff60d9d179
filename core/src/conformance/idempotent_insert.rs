//! Inserting again under the same id: safe after a lost reply, for as long as the job is kept.

use super::Harness;
use super::support::*;
use crate::{Change, Inserted, NewJob, OnConflict, Payload, Priority, State, Store, Unique};

async fn again(b: &dyn crate::Backend, new: &NewJob) {
    let answer = b.insert(std::slice::from_ref(new)).await.unwrap();
    assert_eq!(
        answer,
        [Inserted::Duplicate { existing: new.id }],
        "an id that exists gives a duplicate of itself"
    );
}

pub async fn a_repeated_insert_changes_nothing<H: Harness>(h: H) {
    let b = &*h.backend();
    let new = job();
    insert(b, new.clone()).await;
    let (before, past) = (get(b, new.id).await, history(b, new.id).await);
    again(b, &new).await;
    let other = NewJob {
        args: Payload::json("other").unwrap(),
        priority: Priority::HIGH,
        kind: kind("other"),
        queue: queue("other"),
        ..new.clone()
    };
    again(b, &other).await;
    assert_eq!(get(b, new.id).await, before, "the id decides, whatever else differs");
    assert_eq!(history(b, new.id).await, past, "a repeated insert leaves no event");
    assert_eq!(count(b).await, 1);
}

pub async fn a_repeated_insert_does_not_disturb_a_running_job<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let new = job();
    let lease = run_new(b, w, new.clone()).await;
    again(b, &new).await;
    assert!(claim(b, w, 1).await.is_empty(), "the job runs already");
    complete(b, &lease).await;
}

pub async fn a_repeated_insert_does_not_run_a_finished_job_again<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for outcome in [completed(), discarded(), cancelled()] {
        let new = job();
        let lease = run_new(b, w, new.clone()).await;
        let end = settled(b, lease.key, outcome).await;
        again(b, &new).await;
        assert_eq!(state(b, new.id).await, end);
        assert!(claim(b, w, 1).await.is_empty());
    }
}

/// The id is looked at before the key: a repeat is no conflict of the job with itself.
pub async fn a_repeated_insert_of_a_unique_job_is_a_duplicate_of_itself<H: Harness>(h: H) {
    let b = &*h.backend();
    for (on_conflict, name) in
        [(OnConflict::Keep, "a"), (OnConflict::Replace, "b"), (OnConflict::Reject, "c")]
    {
        let new = NewJob { unique: Some(Unique { on_conflict, ..unique(name) }), ..job() };
        insert(b, new.clone()).await;
        let before = get(b, new.id).await;
        again(b, &new).await;
        assert_eq!(get(b, new.id).await, before);
    }
}

pub async fn a_repeated_insert_takes_no_unique_key<H: Harness>(h: H) {
    let b = &*h.backend();
    let plain = job();
    insert(b, plain.clone()).await;
    again(b, &NewJob { unique: Some(unique("a")), ..plain }).await;
    insert(b, unique_job("a")).await;
}

pub async fn a_repeated_batch_inserts_only_what_is_missing<H: Harness>(h: H) {
    let b = &*h.backend();
    let new = jobs(6);
    insert_all(b, new[..4].to_vec()).await;
    let answers = b.insert(&new).await.unwrap();
    let added: Vec<_> = answers.iter().map(Inserted::is_new).collect();
    assert_eq!(added, [false, false, false, false, true, true]);
    assert_eq!(count(b).await, 6);
}

pub async fn the_id_of_a_deleted_job_is_free<H: Harness>(h: H) {
    let b = &*h.backend();
    let new = job();
    insert(b, new.clone()).await;
    assert!(change_one(b, new.id, Change::Delete).await);
    insert(b, new.clone()).await;
    assert_eq!(state(b, new.id).await, State::Available);
}
