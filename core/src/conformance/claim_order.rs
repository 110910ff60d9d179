//! In which order jobs are claimed.

use super::Harness;
use super::support::*;
use crate::{AttemptOutcome, Change, ClaimRequest, NewJob, Priority, Start};

fn of_priority(n: i16) -> NewJob {
    NewJob { priority: Priority(n), ..job() }
}

pub async fn lower_priority_runs_first<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let mut wanted = Vec::new();
    for n in [5, i16::MIN, 0, i16::MAX, -100, 4] {
        wanted.push((n, insert(b, of_priority(n)).await));
    }
    wanted.sort_unstable();
    let wanted: Vec<_> = wanted.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids(&claim(b, w, 2).await), wanted[..2]);
    assert_eq!(ids(&claim(b, w, 9).await), wanted[2..]);
}

pub async fn equal_priority_runs_in_the_order_of_insertion<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let mut wanted = Vec::new();
    // Ids made in the opposite order: not they decide, but when jobs became available.
    let mut new = jobs(30);
    new.reverse();
    for chunk in new.chunks(7) {
        wanted.extend(insert_all(b, chunk.to_vec()).await);
    }
    for chunk in wanted.chunks(4) {
        assert_eq!(ids(&claim(b, w, 4).await), chunk);
    }
}

/// F29: ids made by a client whose clock is a year ahead or behind change neither order nor time.
pub async fn f29_the_clocks_of_clients_play_no_part<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let year = 365 * 24 * 3_600_000_u64;
    let now = u64::try_from(crate::Timestamp::now().as_millisecond()).unwrap();
    let mut wanted = Vec::new();
    for (n, millis) in [now + year, now - year, now].into_iter().enumerate() {
        let rest = [u8::try_from(n).unwrap(); 10];
        let id = uuid::Builder::from_unix_timestamp_millis(millis, &rest).into_uuid();
        wanted.push(insert(b, NewJob { id: crate::JobId::from_uuid(id), ..job() }).await);
    }
    let leases = claim(b, w, 3).await;
    assert_eq!(ids(&leases), wanted, "all at once, in the order of insertion");
    for pair in leases.windows(2) {
        assert!(pair[0].created_at <= pair[1].created_at, "by the database's clock");
        assert!(pair[1].created_at.duration_since(pair[0].created_at).as_hours() < 1);
    }
}

pub async fn jobs_given_back_queue_up_behind_those_that_waited<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for outcome in [AttemptOutcome::Released, retry(ms(0)), snoozed(ms(0))] {
        let [first, second] = insert_all(b, jobs(2)).await[..] else { unreachable!() };
        let lease = claim_one(b, w).await;
        assert_eq!(lease.key.job, first);
        settled(b, lease.key, outcome).await;
        let leases = claim(b, w, 9).await;
        assert_eq!(ids(&leases), [second, first], "the order in which they became available");
        for lease in leases {
            complete(b, &lease).await;
        }
    }
}

pub async fn a_priority_comes_before_the_time_of_waiting<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let normal = insert_all(b, jobs(3)).await;
    let urgent = insert(b, of_priority(-1)).await;
    assert_eq!(ids(&claim(b, w, 1).await), [urgent]);
    assert_eq!(ids(&claim(b, w, 9).await), normal);
}

pub async fn due_jobs_become_available_in_the_order_of_their_time<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let after = |n| NewJob { start: Start::In(ms(n)), ..job() };
    let [third, first, second] = insert_all(b, vec![after(30), after(10), after(20)]).await[..]
    else {
        unreachable!()
    };
    h.advance(ms(40)).await;
    maintain(b).await;
    assert_eq!(ids(&claim(b, w, 9).await), [first, second, third]);
}

pub async fn a_job_hurried_up_queues_behind_those_that_waited<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let hurried = insert(b, later()).await;
    let waited = insert(b, job()).await;
    assert!(change_one(b, hurried, Change::Retry).await);
    assert_eq!(ids(&claim(b, w, 9).await), [waited, hurried]);
}

pub async fn queues_are_served_in_the_order_of_the_request<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let low = NewJob { priority: Priority::LOW, ..job_of("b", K) };
    let high = NewJob { priority: Priority::HIGH, ..job_of("a", K) };
    let [a, b_low] = insert_all(b, vec![high, low]).await[..] else { unreachable!() };
    let request = ClaimRequest::new(w, slots(&[("b", 9), ("a", 9)]), kinds(&[(K, None)]));
    assert_eq!(ids(&claim_with(b, &request).await), [b_low, a]);
}

pub async fn kinds_do_not_change_the_order<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let new = ["z", "a", "m", "a", "z", "m"].map(|name| job_of(Q, name));
    let wanted = insert_all(b, new.to_vec()).await;
    let all = kinds(&[("a", None), ("m", None), ("z", None)]);
    let request = ClaimRequest::new(w, slots(&[(Q, 5)]), all);
    assert_eq!(ids(&claim_with(b, &request).await), wanted[..5]);
}
