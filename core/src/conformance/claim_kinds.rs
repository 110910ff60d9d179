//! A claim names the kinds it can run, each with its own limit.

use super::Harness;
use super::support::*;
use crate::{ClaimRequest, Lease, NewJob, Priority, State};

fn of_kind(leases: &[Lease], name: &str) -> usize {
    leases.iter().filter(|l| l.kind.as_str() == name).count()
}

pub async fn only_the_kinds_asked_for_are_claimed<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let new = ["a", "b", "c", "a"].map(|name| job_of(Q, name));
    let inserted = insert_all(b, new.to_vec()).await;
    let request = ClaimRequest::new(w, slots(&[(Q, 9)]), kinds(&[("a", None), ("c", None)]));
    let wanted = [inserted[0], inserted[2], inserted[3]];
    assert_eq!(ids(&claim_with(b, &request).await), wanted);
    assert_eq!(state(b, inserted[1]).await, State::Available);
}

/// F9, F31: jobs nobody here knows neither hide a runnable one nor suffer from being passed over.
pub async fn f09_unknown_kinds_in_front_stay_untouched<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let unknown = |_| NewJob { priority: Priority::HIGH, ..job_of(Q, "unknown") };
    insert_all(b, (0..500).map(unknown).collect()).await;
    let before = all(b, Default::default()).await;
    let known = insert(b, job()).await;
    assert_eq!(ids(&claim(b, w, 1).await), [known]);
    let mut after = all(b, Default::default()).await;
    after.retain(|j| j.id != known);
    assert_eq!(after, before, "jobs of unknown kinds stay as they are");
}

/// F31: jobs whose time has not come don't stand in front of those that may run.
pub async fn f31_future_jobs_of_high_priority_hide_nothing<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let future = |_| NewJob { priority: Priority::HIGH, ..later() };
    insert_all(b, (0..500).map(future).collect()).await;
    let ready = insert(b, NewJob { priority: Priority::LOW, ..job() }).await;
    assert_eq!(ids(&claim(b, w, 1).await), [ready]);
}

pub async fn a_kind_limit_holds_over_all_queues<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for name in ["a", "b"] {
        insert_all(b, (0..5).map(|_| job_of(name, K)).collect()).await;
    }
    let request = ClaimRequest::new(w, slots(&[("a", 4), ("b", 4)]), kinds(&[(K, Some(6))]));
    let leases = claim_with(b, &request).await;
    let in_a = leases.iter().filter(|l| l.queue.as_str() == "a").count();
    assert_eq!((in_a, leases.len()), (4, 6), "the first queue is served first");
}

pub async fn a_full_kind_leaves_the_slots_to_others<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, (0..9).map(|_| job_of(Q, "slow")).collect()).await;
    insert_all(b, (0..9).map(|_| job_of(Q, "fast")).collect()).await;
    let limits = kinds(&[("slow", Some(2)), ("fast", None)]);
    let leases = claim_with(b, &ClaimRequest::new(w, slots(&[(Q, 6)]), limits)).await;
    assert_eq!((of_kind(&leases, "slow"), of_kind(&leases, "fast")), (2, 4));
}

pub async fn kind_limits_hold_side_by_side<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let new = (0..30).map(|n| job_of(Q, ["a", "b", "c"][n % 3])).collect();
    insert_all(b, new).await;
    let limits = kinds(&[("a", Some(1)), ("b", Some(0)), ("c", Some(3))]);
    let leases = claim_with(b, &ClaimRequest::new(w, slots(&[(Q, 20)]), limits)).await;
    let found = ["a", "b", "c"].map(|name| of_kind(&leases, name));
    assert_eq!(found, [1, 0, 3]);
}

pub async fn a_limited_kind_comes_in_order<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let mut wanted = insert_all(b, jobs(5)).await;
    wanted.truncate(3);
    let request = ClaimRequest::new(w, slots(&[(Q, 9)]), kinds(&[(K, Some(3))]));
    assert_eq!(ids(&claim_with(b, &request).await), wanted);
}
