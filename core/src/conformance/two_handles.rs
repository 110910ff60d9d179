//! Two processes on the same data: nothing lives only in one of them.

use super::Harness;
use super::support::*;
use crate::{Backend, Error, Queue, QueueChange, Settled, State, Store};

pub async fn a_job_crosses_from_one_to_the_other<H: Harness>(h: H) {
    let (one, two) = (h.backend(), second(&h).await);
    let (one, two) = (&*one, &*two);
    let w = worker(two).await;
    let id = insert(one, job()).await;
    assert_eq!(get(two, id).await, get(one, id).await);
    let lease = claim_one(two, w).await;
    assert_eq!(state(one, id).await, State::Running);
    assert!(claim(one, worker(one).await, 9).await.is_empty());
    assert!(cancel(one, id).await);
    assert_eq!(beat(two, w, &[lease.key]).await.1, [lease.key]);
    complete(two, &lease).await;
    assert_eq!(get(one, id).await, get(two, id).await);
    assert_eq!(history(one, id).await, history(two, id).await);
}

pub async fn a_key_is_good_through_either<H: Harness>(h: H) {
    let (one, two) = (h.backend(), second(&h).await);
    let w = worker(&*one).await;
    let lease = run_new(&*one, w, job()).await;
    assert_eq!(beat(&*two, w, &[lease.key]).await, (vec![], vec![], vec![]));
    complete(&*two, &lease).await;
    let already = Settled::Already { state: State::Completed };
    assert_eq!(settle(&*one, lease.key, completed()).await, already);
}

pub async fn one_rescues_what_the_other_lost<H: Harness>(h: H) {
    let (one, two) = (h.backend(), second(&h).await);
    let lost = worker(&*one).await;
    let lease = run_new(&*one, lost, job()).await;
    one.deregister(lost).await.unwrap();
    assert_eq!(maintain(&*two).await.rescued, [lease.key.job]);
    assert_eq!(settle(&*one, lease.key, completed()).await, Settled::Lost);
}

pub async fn a_pause_holds_for_both<H: Harness>(h: H) {
    let (one, two) = (h.backend(), second(&h).await);
    let w = worker(&*two).await;
    insert(&*two, job()).await;
    let pause = QueueChange::default().paused(true);
    one.configure_queue(&queue(Q), &pause).await.unwrap();
    assert!(claim(&*two, w, 9).await.is_empty(), "every claim after the pause");
}

pub async fn order_and_time_are_shared<H: Harness>(h: H) {
    let (one, two) = (h.backend(), second(&h).await);
    let w = worker(&*one).await;
    let mut wanted = Vec::new();
    for n in 0..10 {
        let b = if n % 2 == 0 { &*one } else { &*two };
        wanted.push(insert(b, job()).await);
    }
    assert_eq!(ids(&claim(&*one, w, 99).await), wanted, "in the order of the inserts");
    let jobs = all(&*two, Default::default()).await;
    let times: Vec<_> =
        wanted.iter().map(|id| jobs.iter().find(|j| j.id == *id).unwrap().created_at).collect();
    assert!(times.windows(2).all(|p| p[0] <= p[1]), "one clock, which never steps back");
}

pub async fn a_closed_handle_leaves_the_other_open<H: Harness>(h: H) {
    let (one, two) = (h.backend(), second(&h).await);
    if !one.capabilities().shared {
        return;
    }
    let id = insert(&*two, job()).await;
    two.close().await.unwrap();
    assert_eq!(state(&*one, id).await, State::Available);
    insert(&*one, job()).await;
    let error = two.insert(&[job()]).await.unwrap_err();
    assert!(matches!(error, Error::Closed(_)), "{error}");
}

/// What was acknowledged is there for the next process, however the last one ended.
pub async fn a_later_handle_finds_everything<H: Harness>(h: H) {
    let one = h.backend();
    if !one.capabilities().durable {
        return;
    }
    let w = worker(&*one).await;
    let done = run_new(&*one, w, job()).await;
    complete(&*one, &done).await;
    let running = run_new(&*one, w, job()).await;
    insert_all(&*one, vec![job(), later(), unique_job("a")]).await;
    let before = all(&*one, Default::default()).await;
    let past = history(&*one, done.key.job).await;
    one.close().await.unwrap();
    let two = second(&h).await;
    assert_eq!(all(&*two, Default::default()).await, before);
    assert_eq!(history(&*two, done.key.job).await, past);
    assert!(!two.insert(&[unique_job("a")]).await.unwrap()[0].is_new());
    complete(&*two, &running).await;
}
