//! A unique key whose holder runs under a worker without a lease: what maintenance has not come to yet does not stand against others. F22.

use super::Harness;
use super::support::*;
use crate::{
    Backend, Change, Error, Inserted, JobFilter, JobId, NewJob, OnConflict, Queue, QueueChange,
    Selector, Settled, Settlement, Start, State, Store, Unique, UniqueUntil,
};

fn rule(text: &str, until: UniqueUntil, on_conflict: OnConflict) -> NewJob {
    let unique = Some(Unique { key: key(text), until, on_conflict });
    NewJob { unique, ..job() }
}

fn replacing(text: &str) -> NewJob {
    rule(text, UniqueUntil::Finished, OnConflict::Replace)
}

fn rejecting(text: &str) -> NewJob {
    rule(text, UniqueUntil::Finished, OnConflict::Reject)
}

/// A start beyond every limit, which shows only where the time is known.
fn too_late() -> NewJob {
    NewJob { start: Start::At(jiff::Timestamp::MAX), ..job() }
}

async fn offer(b: &dyn Backend, new: NewJob) -> Inserted {
    b.insert(&[new]).await.unwrap()[0]
}

async fn held_by(b: &dyn Backend, text: &str, holder: JobId) {
    let answer = offer(b, unique_job(text)).await;
    assert_eq!(answer, Inserted::Duplicate { existing: holder }, "the key `{text}` is held");
}

/// A job that runs under a worker that has left.
async fn lost(b: &dyn Backend, new: NewJob) -> JobId {
    let w = worker(b).await;
    let key = run_new(b, w, new).await.key;
    b.deregister(w).await.unwrap();
    key.job
}

/// One that is given up when it is rescued.
async fn lost_at_last(b: &dyn Backend, new: NewJob) -> JobId {
    lost(b, NewJob { max_attempts: 1, ..new }).await
}

/// A job that has ended and let its key go.
async fn ended(b: &dyn Backend, new: NewJob) -> JobId {
    let w = worker(b).await;
    let lease = run_new(b, w, new).await;
    complete(b, &lease).await;
    lease.key.job
}

pub async fn f22_a_lost_holder_is_rescued_before_it_refuses_another<H: Harness>(h: H) {
    let b = &*h.backend();
    let given_up = lost_at_last(b, unique_job("a")).await;
    let (first, second) = (unique_job("a"), unique_job("a"));
    let new = first.id;
    let answers = b.insert(&[first, second]).await.unwrap();
    assert_eq!(answers, [Inserted::New(new), Inserted::Duplicate { existing: new }]);
    assert_eq!(state(b, given_up).await, State::Discarded);
    held_by(b, "a", new).await;
    assert!(change_one(b, new, Change::Delete).await);

    let waits = lost(b, unique_job("b")).await;
    held_by(b, "b", waits).await;
    assert_eq!(state(b, waits).await, State::Available);
    assert!(change_one(b, waits, Change::Delete).await);

    let replaced = lost(b, unique_job("c")).await;
    assert_eq!(offer(b, replacing("c")).await, Inserted::Replaced { existing: replaced });
}

pub async fn a_rejection_looks_first_as_well<H: Harness>(h: H) {
    let b = &*h.backend();
    let waits = lost(b, unique_job("a")).await;
    assert_eq!(offer(b, rejecting("a")).await, Inserted::Rejected { existing: waits });
    assert_eq!(state(b, waits).await, State::Available);
    assert!(change_one(b, waits, Change::Delete).await);

    let given_up = lost_at_last(b, unique_job("b")).await;
    insert(b, rejecting("b")).await;
    assert_eq!(state(b, given_up).await, State::Discarded);
}

pub async fn a_window_outlasts_a_holder_that_is_given_up<H: Harness>(h: H) {
    let b = &*h.backend();
    let window = || rule("a", UniqueUntil::For(HOUR), OnConflict::Keep);
    let given_up = lost_at_last(b, window()).await;
    held_by(b, "a", given_up).await;
    assert_eq!(state(b, given_up).await, State::Discarded);
    assert_eq!(offer(b, replacing("a")).await, Inserted::Duplicate { existing: given_up });
}

/// It gave its key up at the start: nobody asks for it.
pub async fn a_job_that_holds_no_key_by_now_is_left_to_maintenance<H: Harness>(h: H) {
    let b = &*h.backend();
    let runs = lost(b, rule("a", UniqueUntil::Started, OnConflict::Keep)).await;
    let next = insert(b, unique_job("a")).await;
    assert_eq!(state(b, runs).await, State::Running);
    held_by(b, "a", next).await;
}

pub async fn a_rescued_holder_may_be_replaced_in_another_queue<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = lost(b, unique_job("a")).await;
    let new = NewJob { queue: queue("other"), ..replacing("a") };
    assert_eq!(offer(b, new).await, Inserted::Replaced { existing: id });
    let kept = get(b, id).await;
    assert_eq!((kept.state, kept.queue, kept.attempt), (State::Available, queue("other"), 1));
    let w = worker(b).await;
    assert!(claim(b, w, 9).await.is_empty(), "it left its old queue");
    assert!(maintain(b).await.rescued.is_empty());
}

/// Who is told of himself is in nobody's way.
pub async fn a_job_that_is_known_rescues_nobody<H: Harness>(h: H) {
    let b = &*h.backend();
    let known = NewJob { id: JobId::new(), ..unique_job("a") };
    ended(b, known.clone()).await;
    let holder = lost(b, unique_job("a")).await;
    let answer = offer(b, known.clone()).await;
    assert_eq!(answer, Inserted::Duplicate { existing: known.id });
    assert_eq!(state(b, holder).await, State::Running, "nobody wanted its key");

    let first = job();
    let again = NewJob { id: first.id, ..unique_job("a") };
    let answers = b.insert(&[first.clone(), again]).await.unwrap();
    let existing = first.id;
    assert_eq!(answers, [Inserted::New(existing), Inserted::Duplicate { existing }]);
    assert_eq!(state(b, holder).await, State::Running, "nor here");
}

/// A holder that was put back waits before the new ones come.
pub async fn a_rescued_holder_takes_its_room<H: Harness>(h: H) {
    let b = &*h.backend();
    let holder = lost(b, unique_job("a")).await;
    let one = QueueChange::default().max_depth(Some(1));
    b.configure_queue(&queue(Q), &one).await.unwrap();
    let moved = NewJob { queue: queue("other"), ..replacing("a") };
    for new in [vec![unique_job("a"), job()], vec![moved.clone(), job(), job()]] {
        let refused = b.insert(&new).await;
        assert!(matches!(refused, Err(Error::QueueFull { .. })), "one waits: {refused:?}");
        assert_eq!(count(b).await, 1, "nothing was written");
        assert_eq!(state(b, holder).await, State::Running, "nor was the holder rescued");
    }
    held_by(b, "a", holder).await;
    assert_eq!(state(b, holder).await, State::Available);
    let plain = job();
    let answers = b.insert(&[moved, plain.clone()]).await.unwrap();
    assert_eq!(answers, [Inserted::Replaced { existing: holder }, Inserted::New(plain.id)]);
}

pub async fn what_is_refused_rescues_nobody<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let parent = run_new(b, w, job()).await;
    let holder = lost(b, unique_job("a")).await;
    let new = vec![unique_job("a"), too_late()];
    let refused = b.insert(&new).await;
    assert!(matches!(refused, Err(Error::LimitExceeded { .. })), "{refused:?}");
    assert_eq!(state(b, holder).await, State::Running);
    let follow_ups = Settlement { follow_ups: new, ..Settlement::new(parent.key, completed()) };
    let answer = settle_whole(b, follow_ups).await;
    assert!(matches!(answer, Settled::Refused { .. }), "{answer:?}");
    assert_eq!(state(b, holder).await, State::Running);
}

/// The holder may have run under the very worker that settles after its lease.
pub async fn a_follow_up_looks_first_as_well<H: Harness>(h: H) {
    let b = &*h.backend();
    for (text, max_attempts, wanted) in [("a", 2, State::Available), ("b", 1, State::Discarded)] {
        let w = worker(b).await;
        let parent = run_new(b, w, job()).await;
        let holder = run_new(b, w, NewJob { max_attempts, ..unique_job(text) }).await;
        b.deregister(w).await.unwrap();
        let next = unique_job(text);
        let follow_ups = vec![next.clone()];
        let whole = Settlement { follow_ups, ..Settlement::new(parent.key, completed()) };
        let applied = Settled::Applied { state: State::Completed };
        assert_eq!(settle_whole(b, whole).await, applied);
        assert_eq!(state(b, holder.key.job).await, wanted);
        assert_eq!(b.get(next.id).await.unwrap().is_some(), wanted.is_final());
        assert_eq!(settle(b, holder.key, completed()).await, Settled::Lost);
        let waiting = JobFilter::default().states([State::Available]);
        assert_eq!(change(b, Selector::Filter(waiting), Change::Delete).await, 1);
    }
}

/// Which of the two comes first is the backend's, and so is whether the holder is still its own then: but each is whole, and no refusal beside
/// them keeps them.
pub async fn a_follow_up_may_want_the_key_of_another_settlement<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let new = [job(), unique_job("a"), job()];
    let mut keys = Vec::new();
    for new in new {
        keys.push(run_new(b, w, new).await.key);
    }
    b.deregister(w).await.unwrap();
    let next = unique_job("a");
    let completion =
        |n: usize, follow_ups| Settlement { follow_ups, ..Settlement::new(keys[n], completed()) };
    let batch = [
        completion(0, vec![next.clone()]),
        completion(1, Vec::new()),
        completion(2, vec![too_late()]),
    ];
    let answers = b.settle(&batch).await.unwrap();
    let applied = Settled::Applied { state: State::Completed };
    assert_eq!(answers[0], applied);
    assert!(matches!(answers[2], Settled::Refused { .. }), "{answers:?}");
    let follows = b.get(next.id).await.unwrap().is_some();
    assert_eq!(answers[1], if follows { applied } else { Settled::Lost });
    let wanted = if follows { State::Completed } else { State::Available };
    assert_eq!(state(b, keys[1].job).await, wanted);
}

pub async fn a_retry_looks_first_as_well<H: Harness>(h: H) {
    let b = &*h.backend();
    let final_one = ended(b, unique_job("a")).await;
    let given_up = lost_at_last(b, unique_job("a")).await;
    assert!(change_one(b, final_one, Change::Retry).await, "the holder is given up");
    assert_eq!(state(b, given_up).await, State::Discarded);
    held_by(b, "a", final_one).await;
    assert!(change_one(b, final_one, Change::Delete).await);

    let final_one = ended(b, unique_job("b")).await;
    let waits = lost(b, unique_job("b")).await;
    assert!(!change_one(b, final_one, Change::Retry).await, "the holder runs again");
    assert_eq!(state(b, waits).await, State::Available);
    assert_eq!(state(b, final_one).await, State::Completed);
}

/// In whatever order a backend looks at them, and whatever it was before.
pub async fn a_job_that_a_retry_rescues_is_not_changed_by_it<H: Harness>(h: H) {
    let b = &*h.backend();
    let retry = async |target| change(b, target, Change::Retry).await;
    let window = |text, length| rule(text, UniqueUntil::For(length), OnConflict::Keep);

    let first = ended(b, unique_job("a")).await;
    let holder = lost_at_last(b, window("a", HOUR)).await;
    assert_eq!(retry(Selector::Ids(vec![first, holder])).await, 0, "its window holds the key");
    assert_eq!(state(b, first).await, State::Completed);
    assert_eq!(state(b, holder).await, State::Discarded);

    let first = ended(b, unique_job("b")).await;
    let holder = lost_at_last(b, window("b", HOUR)).await;
    let finals = JobFilter::default().states([State::Completed, State::Discarded]);
    let filter = JobFilter { unique_key: Some(key("b")), ..finals };
    assert_eq!(retry(Selector::Filter(filter)).await, 0);
    assert_eq!(state(b, first).await, State::Completed);
    assert_eq!(state(b, holder).await, State::Discarded);

    let first = ended(b, window("c", ms(10))).await;
    h.advance(ms(20)).await;
    let holder = lost_at_last(b, unique_job("c")).await;
    assert_eq!(retry(Selector::Ids(vec![first, holder])).await, 1);
    assert_eq!(state(b, first).await, State::Available);
    assert_eq!(state(b, holder).await, State::Discarded);
}

pub async fn a_job_that_stays_completed_rescues_nobody<H: Harness>(h: H) {
    let b = &*h.backend();
    let stays = ended(b, unique_job("a")).await;
    let holder = lost(b, unique_job("a")).await;
    assert!(!change_one(b, stays, Change::RetryUnlessCompleted).await);
    assert_eq!(state(b, holder).await, State::Running, "nobody wanted its key");
}
