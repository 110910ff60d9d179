//! Jobs that start later, and how they become available.

use super::Harness;
use super::support::*;
use crate::{Backend, Error, NewJob, Queue, Start, State, Store, Timestamp};

fn after(n: u64) -> NewJob {
    NewJob { start: Start::In(ms(n)), ..job() }
}

fn at(time: Timestamp) -> NewJob {
    NewJob { start: Start::At(time), ..job() }
}

pub async fn a_delayed_job_waits<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let kept = get(b, insert(b, later()).await).await;
    assert_eq!(kept.state, State::Scheduled);
    let wait = kept.due_at.duration_since(kept.created_at).as_micros();
    assert!((3_600_000_000..=3_600_000_001).contains(&wait), "due after {wait} µs, not an hour");
    assert!(claim(b, w, 9).await.is_empty());
    assert_eq!(maintain(b).await.promoted, 0);
    assert!(claim(b, w, 9).await.is_empty());
}

pub async fn a_due_job_becomes_available<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let id = insert(b, after(20)).await;
    h.advance(ms(30)).await;
    assert_eq!(maintain(b).await.promoted, 1);
    let kept = get(b, id).await;
    assert_eq!((kept.state, kept.attempt), (State::Available, 0));
    assert_eq!(ids(&claim(b, w, 9).await), [id]);
    assert_eq!(maintain(b).await.promoted, 0, "once");
}

pub async fn a_time_in_the_past_is_now<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let past = ["1970-01-01T00:00:00Z", "2001-09-09T01:46:40Z", "1815-12-10T00:00:00Z"];
    for time in past {
        let id = insert(b, at(time.parse().unwrap())).await;
        assert_eq!(state(b, id).await, State::Available);
    }
    assert_eq!(claim(b, w, 9).await.len(), past.len());
}

pub async fn a_time_to_come_is_kept<H: Harness>(h: H) {
    let b = &*h.backend();
    let now = Timestamp::now().as_microsecond();
    let time = Timestamp::from_microsecond(now + 90 * 24 * 3_600_000_000).unwrap();
    let kept = get(b, insert(b, at(time)).await).await;
    assert_eq!((kept.state, kept.due_at), (State::Scheduled, time));
}

pub async fn no_delay_is_now<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, after(0)).await;
    assert_eq!(state(b, id).await, State::Available);
}

pub async fn the_least_delay_is_still_one<H: Harness>(h: H) {
    let b = &*h.backend();
    let start = Start::In(std::time::Duration::from_nanos(1));
    let id = insert(b, NewJob { start, ..job() }).await;
    h.advance(ms(2)).await;
    maintain(b).await;
    assert_eq!(state(b, id).await, State::Available);
}

/// F28: a long delay is no lease that could run out.
pub async fn f28_maintenance_leaves_long_delays_alone<H: Harness>(h: H) {
    let b = &*h.backend();
    let limit = b.limits().delay;
    let id = insert(b, NewJob { start: Start::In(limit), ..job() }).await;
    let before = get(b, id).await;
    h.advance(ms(20)).await;
    let done = maintain(b).await;
    assert_eq!((done.promoted, done.rescued.len()), (0, 0));
    assert_eq!(get(b, id).await, before);
}

pub async fn a_delay_above_the_limit_is_an_error<H: Harness>(h: H) {
    let b = &*h.backend();
    let start = Start::In(b.limits().delay + std::time::Duration::from_secs(1));
    for new in [NewJob { start, ..job() }, at(Timestamp::MAX)] {
        let error = b.insert(&[job(), new]).await.unwrap_err();
        assert!(matches!(error, Error::LimitExceeded { .. }), "{error}");
        assert_eq!(count(b).await, 0);
    }
}

pub async fn promotion_is_bounded_and_says_that_there_is_more<H: Harness>(h: H) {
    let b = &*h.backend();
    insert_all(b, (0..7).map(|_| after(5)).collect()).await;
    h.advance(ms(10)).await;
    let step = b.maintain(3).await.unwrap();
    assert_eq!((step.promoted, step.more), (3, true));
    assert_eq!(maintain_by(b, 3).await.promoted, 4);
    assert!(!b.maintain(3).await.unwrap().more);
}

pub async fn the_next_due_time_is_told<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    assert_eq!(b.maintain(9).await.unwrap().next_due, None);
    insert(b, job()).await;
    assert_eq!(b.maintain(9).await.unwrap().next_due, None, "an available job is not due later");
    insert(b, NewJob { start: Start::In(2 * HOUR), ..job() }).await;
    let next = b.maintain(9).await.unwrap().next_due.expect("a job is scheduled");
    assert!(next <= 2 * HOUR && next > HOUR, "{next:?}");
    let lease = claim_one(b, w).await;
    settled(b, lease.key, retry(HOUR)).await;
    let next = b.maintain(9).await.unwrap().next_due.expect("a job is retryable");
    assert!(next <= HOUR && next > HOUR / 2, "{next:?}");
}

pub async fn only_due_jobs_are_promoted<H: Harness>(h: H) {
    let b = &*h.backend();
    let due = insert_all(b, (0..3).map(|_| after(5)).collect()).await;
    let not_due = insert_all(b, (0..3).map(|_| later()).collect()).await;
    h.advance(ms(10)).await;
    assert_eq!(maintain(b).await.promoted, 3);
    for (id, wanted) in due
        .into_iter()
        .map(|id| (id, State::Available))
        .chain(not_due.into_iter().map(|id| (id, State::Scheduled)))
    {
        assert_eq!(state(b, id).await, wanted);
    }
}
