//! A paused queue gives nothing; what runs goes on.

use super::Harness;
use super::support::*;
use crate::{Backend, ClaimRequest, NewJob, QueueChange, Start, State};

async fn pause(b: &dyn Backend, paused: bool) {
    let change = QueueChange::default().paused(paused);
    let settings = b.configure_queue(&queue(Q), &change).await.unwrap();
    assert_eq!(settings.paused, paused);
}

pub async fn a_paused_queue_gives_nothing<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let inserted = insert_all(b, jobs(3)).await;
    pause(b, true).await;
    assert!(claim(b, w, 9).await.is_empty(), "a claim after the pause finds nothing");
    pause(b, false).await;
    assert_eq!(ids(&claim(b, w, 9).await), inserted, "resumed, it gives what waited, in order");
}

pub async fn a_queue_can_be_paused_before_its_first_job<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    pause(b, true).await;
    let id = insert(b, job()).await;
    assert_eq!(state(b, id).await, State::Available, "paused is no state of a job");
    assert!(claim(b, w, 9).await.is_empty());
}

pub async fn other_queues_of_the_claim_are_served<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert(b, job()).await;
    let other = insert(b, job_of("other", K)).await;
    pause(b, true).await;
    let request = ClaimRequest::new(w, slots(&[(Q, 5), ("other", 5)]), kinds(&[(K, None)]));
    assert_eq!(ids(&claim_with(b, &request).await), [other]);
}

pub async fn a_running_job_of_a_paused_queue_goes_on<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    pause(b, true).await;
    let (lost, cancel, _) = beat(b, w, &[lease.key]).await;
    assert!(lost.is_empty() && cancel.is_empty());
    assert!(maintain(b).await.rescued.is_empty());
    complete(b, &lease).await;
}

pub async fn due_jobs_of_a_paused_queue_become_available_and_stay<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let id = insert(b, NewJob { start: Start::In(ms(10)), ..job() }).await;
    pause(b, true).await;
    h.advance(ms(20)).await;
    maintain(b).await;
    assert_eq!(state(b, id).await, State::Available);
    assert!(claim(b, w, 9).await.is_empty());
}

pub async fn the_quarantine_lane_is_paused_too<H: Harness>(h: H) {
    let b = &*h.backend();
    insert(b, job()).await;
    for _ in 0..crate::machine::QUARANTINE_CRASHES {
        crash_once(b, crate::Lane::Normal).await;
    }
    pause(b, true).await;
    let w = worker(b).await;
    assert!(claim_quarantined(b, w, 9).await.is_empty());
    pause(b, false).await;
    assert_eq!(claim_quarantined(b, w, 9).await.len(), 1);
}

pub async fn a_claim_with_kind_limits_heeds_the_pause<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(3)).await;
    pause(b, true).await;
    let request = ClaimRequest::new(w, slots(&[(Q, 5)]), kinds(&[(K, Some(2)), ("x", None)]));
    assert!(claim_with(b, &request).await.is_empty());
}
