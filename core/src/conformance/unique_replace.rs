//! `OnConflict::Replace`: the waiting holder of a key takes over the new job's contents.

use std::collections::BTreeMap;

use super::Harness;
use super::support::*;
use crate::{
    Backend, Cause, EventBody, Inserted, NewJob, OnConflict, Payload, Priority, Start, State,
    Store, Tag, Unique, UniqueUntil,
};

fn replacing(text: &str) -> NewJob {
    let unique = Unique { on_conflict: OnConflict::Replace, ..unique(text) };
    NewJob { unique: Some(unique), ..job() }
}

fn rich(text: &str) -> NewJob {
    NewJob {
        kind: kind("other.kind"),
        queue: queue("other.queue"),
        args: Payload::json("new args").unwrap(),
        meta: BTreeMap::from([("new".into(), "meta".into())]),
        tags: vec![Tag::new("new").unwrap()],
        priority: Priority(-3),
        timeout: Some(HOUR),
        max_attempts: 7,
        start: Start::In(HOUR),
        ..replacing(text)
    }
}

async fn offer(b: &dyn Backend, new: NewJob) -> Inserted {
    b.insert(&[new]).await.unwrap()[0]
}

pub async fn the_holder_takes_over_the_contents<H: Harness>(h: H) {
    let b = &*h.backend();
    let tags = vec![Tag::new("old").unwrap()];
    let meta = BTreeMap::from([("old".to_owned(), "meta".to_owned())]);
    let id = insert(b, NewJob { tags, meta, timeout: Some(ms(9)), ..unique_job("a") }).await;
    let new = rich("a");
    assert_eq!(offer(b, new.clone()).await, Inserted::Replaced { existing: id });
    let kept = get(b, id).await;
    assert_eq!(kept.state, State::Scheduled);
    assert!(kept.due_at.duration_since(kept.created_at).as_secs() >= 3_600);
    assert_eq!((&kept.kind, &kept.queue, &kept.args), (&new.kind, &new.queue, &new.args));
    assert_eq!((&kept.meta, &kept.tags), (&new.meta, &new.tags));
    assert_eq!((kept.priority, kept.timeout), (new.priority, new.timeout));
    assert_eq!(kept.max_attempts, 7);
    assert_eq!(kept.unique_key, Some(key("a")));
    assert_eq!(count(b).await, 1);
    assert_eq!(b.get(new.id).await.unwrap(), None, "the new id is not used");
}

pub async fn what_was_replaced_is_claimed_by_its_new_contents<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let id = insert(b, unique_job("a")).await;
    offer(b, NewJob { start: Start::Now, ..rich("a") }).await;
    assert!(claim(b, w, 9).await.is_empty(), "it left its old queue and kind");
    let request =
        crate::ClaimRequest::new(w, slots(&[("other.queue", 1)]), kinds(&[("other.kind", None)]));
    let leases = claim_with(b, &request).await;
    assert_eq!(ids(&leases), [id]);
    assert_eq!(leases[0].args, rich("a").args);
}

pub async fn the_id_and_the_attempts_so_far_stay<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, unique_job("a")).await;
    settled(b, lease.key, retry(HOUR)).await;
    let answer = offer(b, replacing("a")).await;
    assert_eq!(answer, Inserted::Replaced { existing: lease.key.job });
    let kept = get(b, lease.key.job).await;
    assert_eq!(kept.state, State::Available, "it starts when the new one would");
    assert_eq!((kept.attempt, kept.errors.len()), (1, 1));
    assert_eq!(claim_one(b, w).await.attempt, 2);
}

pub async fn a_scheduled_holder_may_be_brought_forward<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let id = insert(b, NewJob { start: Start::In(HOUR), ..unique_job("a") }).await;
    offer(b, replacing("a")).await;
    assert_eq!(ids(&claim(b, w, 9).await), [id]);
}

pub async fn a_running_holder_is_kept<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, unique_job("a")).await;
    let before = get(b, lease.key.job).await;
    let answer = offer(b, rich("a")).await;
    assert_eq!(answer, Inserted::Duplicate { existing: lease.key.job }, "as `Keep`");
    assert_eq!(get(b, lease.key.job).await, before);
    complete(b, &lease).await;
}

pub async fn a_final_holder_is_kept<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let unique = Unique { until: UniqueUntil::For(HOUR), ..unique("a") };
    let lease = run_new(b, w, NewJob { unique: Some(unique), ..job() }).await;
    complete(b, &lease).await;
    let before = get(b, lease.key.job).await;
    assert_eq!(offer(b, rich("a")).await, Inserted::Duplicate { existing: lease.key.job });
    assert_eq!(get(b, lease.key.job).await, before, "final rows stay as they are");
}

pub async fn a_free_key_gives_a_new_job<H: Harness>(h: H) {
    let b = &*h.backend();
    insert(b, replacing("a")).await;
}

pub async fn an_earlier_job_of_the_call_is_replaced<H: Harness>(h: H) {
    let b = &*h.backend();
    let (first, last) = (replacing("a"), rich("a"));
    let answers = b.insert(&[first.clone(), replacing("a"), last.clone()]).await.unwrap();
    let replaced = Inserted::Replaced { existing: first.id };
    assert_eq!(answers, [Inserted::New(first.id), replaced, replaced]);
    let kept = get(b, first.id).await;
    assert_eq!((kept.args, kept.priority), (last.args, last.priority), "the last one wins");
    assert_eq!(count(b).await, 1);
}

/// Within one call, too: what stood before under this id was stored nowhere.
pub async fn an_id_that_was_not_used_is_new_when_it_comes_again<H: Harness>(h: H) {
    let b = &*h.backend();
    let holder = insert(b, unique_job("a")).await;
    let first = replacing("a");
    let free = NewJob { id: first.id, ..replacing("b") };
    let call = [first.clone(), first.clone(), free.clone(), free];
    let answers = b.insert(&call).await.unwrap();
    let replaced = Inserted::Replaced { existing: holder };
    let (id, existing) = (first.id, first.id);
    assert_eq!(answers, [replaced, replaced, Inserted::New(id), Inserted::Duplicate { existing }]);
    assert_eq!(get(b, id).await.unique_key, Some(key("b")));
    assert_eq!(count(b).await, 2);
}

pub async fn the_history_tells<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, unique_job("a")).await;
    offer(b, rich("a")).await;
    let events = history(b, id).await;
    let EventBody::State { from, to, cause, .. } = &events.last().unwrap().body else {
        panic!("a replacement is a change of state");
    };
    assert_eq!((*from, *to), (Some(State::Available), State::Scheduled));
    assert_eq!(*cause, Cause::Replaced);
    assert_eq!(events.len(), 2);
}
