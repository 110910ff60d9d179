//! Jobs that crash their workers run apart from others, and then no more. F10.

use super::Harness;
use super::support::*;
use crate::machine::{DISCARD_CRASHES, QUARANTINE_CRASHES};
use crate::{AttemptOutcome, Backend, Change, JobId, Lane, NewJob, State};

async fn quarantined(b: &dyn Backend) -> JobId {
    let id = insert(b, job()).await;
    for _ in 0..QUARANTINE_CRASHES {
        crash_once(b, Lane::Normal).await;
    }
    assert_eq!(get(b, id).await.crashes, QUARANTINE_CRASHES);
    id
}

pub async fn f10_a_poison_job_is_claimed_only_in_quarantine<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let id = quarantined(b).await;
    assert_eq!(state(b, id).await, State::Available);
    assert!(claim(b, w, 9).await.is_empty(), "not beside other jobs");
    let leases = claim_quarantined(b, w, 9).await;
    assert_eq!((ids(&leases), leases[0].attempt), (vec![id], QUARANTINE_CRASHES + 1));
    complete(b, &leases[0]).await;
}

pub async fn the_quarantine_lane_gives_nothing_else<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let poison = quarantined(b).await;
    insert_all(b, jobs(3)).await;
    assert_eq!(ids(&claim_quarantined(b, w, 9).await), [poison]);
    assert_eq!(claim(b, w, 9).await.len(), 3);
}

pub async fn f10_a_poison_job_is_given_up<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let id = quarantined(b).await;
    for _ in QUARANTINE_CRASHES..DISCARD_CRASHES {
        crash_once(b, Lane::Quarantine).await;
    }
    let kept = get(b, id).await;
    assert_eq!((kept.state, kept.crashes), (State::Discarded, DISCARD_CRASHES));
    assert!(kept.attempt < kept.max_attempts, "the crash budget ends it, not the attempts");
    assert!(claim(b, w, 9).await.is_empty() && claim_quarantined(b, w, 9).await.is_empty());
}

pub async fn quarantine_lasts_through_failures_and_delays<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let id = quarantined(b).await;
    let given_back =
        [retry(ms(0)), retry(ms(5)), snoozed(ms(5)), AttemptOutcome::Released, snoozed(ms(0))];
    for outcome in given_back {
        let lease = claim_quarantined(b, w, 9).await.pop().expect("it is in the quarantine lane");
        settled(b, lease.key, outcome.clone()).await;
        h.advance(ms(10)).await;
        maintain(b).await;
        assert_eq!(state(b, id).await, State::Available);
        assert!(claim(b, w, 9).await.is_empty(), "after {outcome:?} it is still apart");
    }
}

pub async fn ordinary_failures_do_not_lead_there<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert(b, job()).await;
    for _ in 0..5 {
        let lease = claim_one(b, w).await;
        assert_eq!(lease.crashes, 0);
        settled(b, lease.key, retry(ms(0))).await;
    }
}

pub async fn an_explicit_retry_gives_a_fresh_budget<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = quarantined(b).await;
    crash_once(b, Lane::Quarantine).await;
    assert_eq!(state(b, id).await, State::Discarded);
    assert!(change_one(b, id, Change::Retry).await);
    assert_eq!(get(b, id).await.crashes, 0);
    let lease = claim_one(b, worker(b).await).await;
    assert_eq!(lease.key.job, id, "in the normal lane");
}

pub async fn one_poison_job_does_not_lead_its_neighbours_there<H: Harness>(h: H) {
    let b = &*h.backend();
    quarantined(b).await;
    let neighbour = insert(b, NewJob { max_attempts: 3, ..job() }).await;
    crash_once(b, Lane::Quarantine).await;
    assert_eq!(get(b, neighbour).await.crashes, 0);
    assert_eq!(claim_one(b, worker(b).await).await.key.job, neighbour);
}
