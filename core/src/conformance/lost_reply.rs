//! Every call may be sent again after its reply was lost.

use super::Harness;
use super::support::*;
use crate::{
    AttemptOutcome, Backend, ClaimRequest, Error, LogLevel, Note, Payload, Queue, Settled,
    Settlement, State,
};

async fn resend(b: &dyn Backend, request: &ClaimRequest) -> Vec<crate::Lease> {
    claim_with(b, &ClaimRequest { resend: true, ..request.clone() }).await
}

pub async fn a_resent_claim_gives_the_same_jobs<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(5)).await;
    let request = request(w, 3);
    let first = claim_with(b, &request).await;
    let again = resend(b, &request).await;
    assert_eq!(sorted(ids(&again)), sorted(ids(&first)), "these and no more");
    for lease in &again {
        let before = first.iter().find(|l| l.key == lease.key).expect("under the same key");
        assert_eq!(lease, before, "neither attempt nor epoch grew");
    }
    assert_eq!(claim(b, w, 9).await.len(), 2, "the others are still there");
}

pub async fn a_resent_claim_that_never_arrived_claims<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let inserted = insert_all(b, jobs(2)).await;
    assert_eq!(ids(&resend(b, &request(w, 9)).await), inserted);
}

pub async fn a_resent_claim_gives_only_what_still_runs<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(3)).await;
    let request = request(w, 3);
    let first = claim_with(b, &request).await;
    complete(b, &first[0]).await;
    settled(b, first[1].key, retry(HOUR)).await;
    assert_eq!(ids(&resend(b, &request).await), [first[2].key.job]);
}

pub async fn a_resent_claim_takes_no_more_while_it_has_some<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let first = insert(b, job()).await;
    let request = request(w, 9);
    claim_with(b, &request).await;
    let second = insert(b, job()).await;
    assert_eq!(ids(&resend(b, &request).await), [first]);
    assert_eq!(state(b, second).await, State::Available);
}

pub async fn a_resent_claim_sees_no_jobs_of_other_claims<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(2)).await;
    claim(b, w, 1).await;
    let second = request(w, 1);
    let leases = claim_with(b, &second).await;
    assert_eq!(resend(b, &second).await, leases);
}

/// What was rescued in between is not the claim's any more, even if it is claimed again by the same worker.
pub async fn a_resent_claim_does_not_revive_what_was_rescued<H: Harness>(h: H) {
    let b = &*h.backend();
    let (lost, other) = (worker(b).await, worker(b).await);
    insert(b, job()).await;
    let old = request(lost, 1);
    let stale = claim_with(b, &old).await.remove(0);
    lose(b, lost).await;
    let fresh = claim_one(b, other).await;
    let again = b.claim(&ClaimRequest { worker: other, resend: true, ..old }).await.unwrap();
    assert!(again.leases.is_empty(), "job {:?} runs under another claim", stale.key.job);
    complete(b, &fresh).await;
}

/// A lease that has ended gives nothing any more, not even what was taken under it and runs still.
pub async fn a_resent_claim_of_an_ended_lease_is_refused<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let id = insert(b, job()).await;
    let request = request(w, 1);
    claim_with(b, &request).await;
    b.deregister(w).await.unwrap();
    let again = b.claim(&ClaimRequest { resend: true, ..request }).await;
    assert!(matches!(again, Err(Error::WorkerExpired { worker }) if worker == w), "{again:?}");
    assert_eq!(state(b, id).await, State::Running, "until maintenance");
}

pub async fn a_repeated_end_is_already_there<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for outcome in [completed(), discarded(), cancelled()] {
        let lease = run_new(b, w, job()).await;
        let end = settled(b, lease.key, outcome.clone()).await;
        let (before, past) = (get(b, lease.key.job).await, history(b, lease.key.job).await);
        for _ in 0..2 {
            let answer = settle(b, lease.key, outcome.clone()).await;
            assert_eq!(answer, Settled::Already { state: end });
        }
        assert_eq!(get(b, lease.key.job).await, before, "the repeat writes nothing");
        assert_eq!(history(b, lease.key.job).await, past, "the repeat leaves no event");
    }
}

pub async fn a_repeated_give_back_is_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for outcome in [retry(HOUR), snoozed(HOUR), AttemptOutcome::Released] {
        let lease = run_new(b, w, job()).await;
        settled(b, lease.key, outcome.clone()).await;
        let before = get(b, lease.key.job).await;
        assert_eq!(settle(b, lease.key, outcome).await, Settled::Lost, "the job has moved on");
        assert_eq!(get(b, lease.key.job).await, before, "counted once");
        assert!(change_one(b, lease.key.job, crate::Change::Delete).await);
    }
}

pub async fn a_repeat_adds_neither_follow_ups_nor_notes<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let note = Note::Log { level: LogLevel::Warn, message: "once".to_owned() };
    let mut settlement = Settlement::new(lease.key, completed());
    settlement.follow_ups = vec![job_of("follow", K)];
    settlement.notes = vec![note];
    settle_whole(b, settlement.clone()).await;
    let past = history(b, lease.key.job).await;
    // The same, and the same with other follow-ups, as a worker that ran the handler twice would send.
    settle_whole(b, settlement.clone()).await;
    settlement.follow_ups = vec![job_of("follow", K)];
    settle_whole(b, settlement).await;
    assert_eq!(history(b, lease.key.job).await, past);
    assert_eq!(count(b).await, 2, "the job and its one follow-up");
}

pub async fn a_repeat_does_not_replace_the_result<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let with = |n| {
        let result = Some(Payload::json(&n).unwrap());
        AttemptOutcome::Completed { result, blobs: Vec::new() }
    };
    settled(b, lease.key, with(1)).await;
    settle(b, lease.key, with(2)).await;
    assert_eq!(get(b, lease.key.job).await.result, Some(Payload::json(&1).unwrap()));
}
