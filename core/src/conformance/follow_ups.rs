//! Follow-up jobs are inserted in the step that completes the job, or not at all.

use super::Harness;
use super::support::*;
use crate::{
    AttemptOutcome, Backend, Change, Inserted, LeaseKey, Limits, NewJob, Payload, Queue,
    QueueChange, Settled, Settlement, State, Store,
};

fn completion(key: LeaseKey, follow_ups: Vec<NewJob>) -> Settlement {
    Settlement { follow_ups, ..Settlement::new(key, completed()) }
}

async fn is_refused(b: &dyn Backend, settlement: Settlement) {
    let id = settlement.key.job;
    let (before, jobs) = (get(b, id).await, count(b).await);
    let answer = settle_whole(b, settlement).await;
    assert!(matches!(answer, Settled::Refused { .. }), "refused, not {answer:?}");
    assert_eq!(get(b, id).await, before, "the job still runs, untouched");
    assert_eq!(count(b).await, jobs, "none of the follow-ups was inserted");
}

pub async fn they_are_there_when_the_job_is_complete<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let follow = vec![job(), later(), job_of("other", K)];
    let wanted: Vec<_> = follow.iter().map(|j| j.id).collect();
    let answer = settle_whole(b, completion(lease.key, follow)).await;
    assert_eq!(answer, Settled::Applied { state: State::Completed });
    let mut states = Vec::new();
    for id in &wanted {
        states.push(state(b, *id).await);
    }
    assert_eq!(states, [State::Available, State::Scheduled, State::Available]);
    assert_eq!(ids(&claim(b, w, 9).await), wanted[..1]);
}

pub async fn a_duplicate_among_them_is_no_error<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let holder = insert(b, NewJob { start: later().start, ..unique_job("a") }).await;
    let lease = run_new(b, w, job()).await;
    let plain = job();
    let follow = vec![unique_job("a"), plain.clone()];
    let answer = settle_whole(b, completion(lease.key, follow)).await;
    assert_eq!(answer, Settled::Applied { state: State::Completed });
    let kept = sorted(all(b, Default::default()).await.iter().map(|j| j.id).collect());
    assert_eq!(kept, sorted(vec![holder, lease.key.job, plain.id]));
}

/// The completion frees the job's own key, so a follow-up may take it: a job that starts itself anew.
pub async fn a_follow_up_may_take_the_key_of_the_completed_job<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, unique_job("a")).await;
    let next = unique_job("a");
    settle_whole(b, completion(lease.key, vec![next.clone()])).await;
    assert_eq!(state(b, next.id).await, State::Available);
    let third = b.insert(&[unique_job("a")]).await.unwrap();
    assert_eq!(third, [Inserted::Duplicate { existing: next.id }]);
}

/// The fence alone decides: until somebody takes the job, its owner ends it, also after its lease ran out.
pub async fn a_follow_up_may_take_the_key_though_the_lease_ran_out<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let leases = [run_new(b, w, unique_job("a")).await, run_new(b, w, job()).await];
    b.deregister(w).await.unwrap();
    let next = unique_job("a");
    let batch = [
        completion(leases[0].key, vec![next.clone()]),
        Settlement::new(leases[1].key, completed()),
    ];
    let applied = Settled::Applied { state: State::Completed };
    assert_eq!(b.settle(&batch).await.unwrap(), [applied.clone(), applied]);
    assert_eq!(state(b, next.id).await, State::Available);
    assert!(maintain(b).await.rescued.is_empty());
}

pub async fn too_many_are_refused<H: Harness>(_: H) {
    let h = H::open(Limits { follow_ups: 2, ..Limits::default() }).await;
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    is_refused(b, completion(lease.key, jobs(3))).await;
    settle_whole(b, completion(lease.key, jobs(2))).await;
    assert_eq!(count(b).await, 3);
}

pub async fn one_above_a_limit_refuses_the_settlement<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let large = vec![b'1'; b.limits().inline_args + 1];
    let args = Payload { bytes: large.into(), ..job().args };
    is_refused(b, completion(lease.key, vec![job(), NewJob { args, ..job() }])).await;
    is_refused(b, completion(lease.key, vec![job(), NewJob { max_attempts: 0, ..job() }])).await;
    complete(b, &lease).await;
}

/// Else a success would be turned into another run, and a queue that feeds itself could never drain.
pub async fn a_full_queue_takes_them_all_the_same<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let full = QueueChange::default().max_depth(Some(1));
    b.configure_queue(&queue("full"), &full).await.unwrap();
    let two = vec![job_of("full", K), job_of("full", K)];
    let applied = Settled::Applied { state: State::Completed };
    assert_eq!(b.settle(&[completion(lease.key, two)]).await.unwrap(), [applied]);
    assert_eq!(count(b).await, 3);
}

pub async fn a_refusal_keeps_no_other_settlement_of_the_batch<H: Harness>(_: H) {
    let h = H::open(Limits { follow_ups: 1, ..Limits::default() }).await;
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(3)).await;
    let keys: Vec<_> = claim(b, w, 3).await.iter().map(|l| l.key).collect();
    let batch = [
        completion(keys[0], jobs(1)),
        completion(keys[1], jobs(2)),
        Settlement::new(keys[2], completed()),
    ];
    let answers = b.settle(&batch).await.unwrap();
    let applied = Settled::Applied { state: State::Completed };
    assert_eq!((&answers[0], &answers[2]), (&applied, &applied));
    assert!(matches!(answers[1], Settled::Refused { .. }));
    assert_eq!(state(b, keys[1].job).await, State::Running);
    assert_eq!(count(b).await, 4, "three jobs and the one follow-up of the first");
}

pub async fn only_a_completion_has_them<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for outcome in every_outcome() {
        if matches!(outcome, AttemptOutcome::Completed { .. }) {
            continue;
        }
        let lease = run_new(b, w, job()).await;
        let follow_ups = vec![job_of("follow", K)];
        let settlement = Settlement { follow_ups, ..Settlement::new(lease.key, outcome.clone()) };
        is_refused(b, settlement).await;
        settled(b, lease.key, outcome).await;
        change_one(b, lease.key.job, Change::Delete).await;
    }
}

/// A completion with a stored cancel request is still a completion, whole.
pub async fn they_come_though_a_cancel_was_requested<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    assert!(cancel(b, lease.key.job).await);
    settle_whole(b, completion(lease.key, jobs(1))).await;
    assert_eq!(count(b).await, 2);
}

pub async fn follow_ups_of_many_settlements_come_in_order<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(3)).await;
    let leases = claim(b, w, 3).await;
    let batch: Vec<_> = leases.iter().map(|l| completion(l.key, jobs(2))).collect();
    b.settle(&batch).await.unwrap();
    let wanted: Vec<_> = batch.iter().flat_map(|s| s.follow_ups.iter().map(|j| j.id)).collect();
    assert_eq!(ids(&claim(b, w, 9).await), wanted);
}
