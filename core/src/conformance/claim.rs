//! What a claim does to a job, and what it hands out.

use std::collections::BTreeMap;

use super::Harness;
use super::support::*;
use crate::{ClaimRequest, Epoch, LeaseKey, NewJob, Payload, Priority, Queue, State, Tag};

pub async fn a_claimed_job_runs_under_its_worker_and_claim<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let id = insert(b, job()).await;
    let request = request(w, 1);
    let lease = claim_with(b, &request).await.remove(0);
    assert_eq!(lease.key, LeaseKey { job: id, epoch: Epoch(1), claim_id: request.claim_id });
    let kept = get(b, id).await;
    assert_eq!(kept.state, State::Running);
    assert_eq!((kept.worker, kept.claim_id), (Some(w), Some(request.claim_id)));
    assert_eq!(kept.epoch, Epoch(1));
    assert!(kept.started_at.is_some_and(|at| at >= kept.created_at));
    assert_eq!(kept.finished_at, None);
}

/// F10, F51: an attempt counts from the claim, so that a crash counts.
pub async fn f10_the_attempt_counts_at_the_claim<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let id = insert(b, job()).await;
    for n in 1..=3 {
        let lease = claim_one(b, w).await;
        assert_eq!((lease.attempt, lease.key.epoch), (n, Epoch(n)));
        assert_eq!(get(b, id).await.attempt, n, "counted before the attempt ends");
        settled(b, lease.key, retry(ms(0))).await;
    }
}

pub async fn a_lease_has_all_that_a_handler_needs<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let new = NewJob {
        priority: Priority(9),
        max_attempts: 4,
        timeout: Some(HOUR),
        meta: BTreeMap::from([("a".into(), "b".into())]),
        tags: vec![Tag::new("t").unwrap()],
        args: Payload::json("args").unwrap(),
        ..job()
    };
    let lease = run_new(b, w, new.clone()).await;
    let kept = get(b, new.id).await;
    assert_eq!(lease, crate::Lease::of(&kept, lease.key), "the lease says what the record says");
    assert_eq!((lease.priority, lease.max_attempts), (Priority(9), 4));
    assert_eq!((lease.timeout, lease.attempt), (Some(HOUR), 1));
    assert_eq!((&lease.meta, &lease.tags, &lease.args), (&new.meta, &new.tags, &new.args));
}

pub async fn a_running_job_is_not_claimed_again<H: Harness>(h: H) {
    let b = &*h.backend();
    let (one, two) = (worker(b).await, worker(b).await);
    insert_all(b, jobs(3)).await;
    assert_eq!(claim(b, one, 2).await.len(), 2);
    assert_eq!(claim(b, two, 9).await.len(), 1, "only what is still available");
    assert!(claim(b, one, 9).await.is_empty());
}

pub async fn only_available_jobs_are_claimed<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for outcome in [completed(), discarded(), cancelled(), retry(HOUR), snoozed(HOUR)] {
        let lease = run_new(b, w, job()).await;
        let after = settled(b, lease.key, outcome).await;
        assert!(claim(b, w, 9).await.is_empty(), "a job that is {after} is not claimed");
    }
    insert(b, later()).await;
    assert!(claim(b, w, 9).await.is_empty(), "a job that is scheduled is not claimed");
}

/// Named first, though there is room for none of its jobs.
pub async fn a_queue_without_room_hides_no_other<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let [_, wanted] = insert_all(b, vec![job_of("full", K), job()]).await[..] else {
        unreachable!()
    };
    let request = ClaimRequest::new(w, slots(&[("full", 0), (Q, 1)]), kinds(&[(K, None)]));
    assert_eq!(ids(&claim_with(b, &request).await), [wanted]);
}

pub async fn a_claim_gives_no_more_than_the_queue_limit<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(10)).await;
    assert_eq!(claim(b, w, 4).await.len(), 4);
    assert_eq!(claim(b, w, 0).await.len(), 0);
    assert_eq!(claim(b, w, 100).await.len(), 6);
    assert_eq!(claim(b, w, 100).await.len(), 0);
}

pub async fn each_queue_has_its_own_limit<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for name in ["a", "b", "c"] {
        insert_all(b, (0..5).map(|_| job_of(name, K)).collect()).await;
    }
    let request = ClaimRequest::new(w, slots(&[("a", 2), ("b", 9), ("d", 9)]), kinds(&[(K, None)]));
    let leases = claim_with(b, &request).await;
    let of = |name| leases.iter().filter(|l| l.queue.as_str() == name).count();
    assert_eq!((of("a"), of("b"), of("c")), (2, 5, 0));
    assert_eq!(leases.len(), 7);
}

pub async fn jobs_of_one_claim_share_its_claim_id_and_of_two_do_not<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(4)).await;
    let (first, second) = (claim(b, w, 2).await, claim(b, w, 2).await);
    assert_eq!(first[0].key.claim_id, first[1].key.claim_id);
    assert_ne!(first[0].key.claim_id, second[0].key.claim_id);
}

pub async fn a_claim_of_no_queues_or_kinds_gives_nothing<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert(b, job()).await;
    let no_queues = ClaimRequest::new(w, Vec::new(), kinds(&[(K, None)]));
    let no_kinds = ClaimRequest::new(w, slots(&[(Q, 9)]), Vec::new());
    for request in [no_queues, no_kinds] {
        assert!(b.claim(&request).await.unwrap().leases.is_empty());
    }
}
