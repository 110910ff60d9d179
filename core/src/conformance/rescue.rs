//! `Queue::maintain` takes jobs from workers that are lost, and from nobody else.

use super::Harness;
use super::support::*;
use crate::{Epoch, FailureKind, Lane, NewJob, Queue, State, Store};

pub async fn jobs_of_a_lost_worker_are_available_again<H: Harness>(h: H) {
    let b = &*h.backend();
    let lost = worker(b).await;
    let lease = run_new(b, lost, job()).await;
    let done = lose(b, lost).await;
    assert_eq!(done.rescued, [lease.key.job]);
    let kept = get(b, lease.key.job).await;
    assert_eq!(kept.state, State::Available);
    assert_eq!((kept.attempt, kept.crashes), (1, 1), "the attempt stays counted");
    assert_eq!(kept.epoch, Epoch(2), "a rescue raises the epoch");
    assert_eq!((kept.worker, kept.claim_id, kept.finished_at), (None, None, None));
    assert_eq!(kept.errors.len(), 1);
    assert_eq!((kept.errors[0].kind, kept.errors[0].attempt), (FailureKind::Crash, 1));
    let again = claim_one(b, worker(b).await).await;
    assert_eq!((again.key.job, again.attempt, again.crashes), (lease.key.job, 2, 1));
}

pub async fn an_expired_lease_makes_a_worker_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let lost = worker(b).await;
    let id = run_new(b, lost, job()).await.key.job;
    assert!(maintain(b).await.rescued.is_empty());
    h.expire(lost).await;
    assert_eq!(maintain(b).await.rescued, [id]);
    assert_eq!((state(b, id).await, get(b, id).await.crashes), (State::Available, 1));
}

/// F2: how long a job runs is no reason to take it from a live worker.
pub async fn f02_jobs_of_live_workers_are_left_alone<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let before = get(b, lease.key.job).await;
    h.advance(ms(100)).await;
    for _ in 0..3 {
        assert!(maintain(b).await.rescued.is_empty());
    }
    assert_eq!(get(b, lease.key.job).await, before);
    complete(b, &lease).await;
}

/// F10: a crash is an attempt; at the maximum there is no other.
pub async fn f10_a_job_at_its_last_attempt_is_discarded<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, NewJob { max_attempts: 1, ..job() }).await;
    crash_once(b, Lane::Normal).await;
    let kept = get(b, id).await;
    assert_eq!((kept.state, kept.attempt, kept.crashes), (State::Discarded, 1, 1));
    assert!(kept.finished_at.is_some());
    assert_eq!(kept.errors.last().unwrap().kind, FailureKind::Crash);
}

/// F8, F7: many lost jobs are worked off page by page, whatever becomes of each.
pub async fn f07_f08_many_lost_jobs_are_rescued_in_pages<H: Harness>(h: H) {
    let b = &*h.backend();
    let lost = worker(b).await;
    let mixed = (0..60).map(|n| NewJob { max_attempts: 1 + n % 2, ..job() }).collect::<Vec<_>>();
    let inserted = insert_all(b, mixed).await;
    claim(b, lost, 60).await;
    b.deregister(lost).await.unwrap();
    let step = b.maintain(7).await.unwrap();
    assert!(step.rescued.len() <= 7 && step.more, "bounded, and it says that there is more");
    let mut rescued = step.rescued;
    rescued.extend(maintain_by(b, 7).await.rescued);
    assert_eq!(sorted(rescued), sorted(inserted), "each job once");
    let stats = b.stats(&Default::default()).await.unwrap();
    assert_eq!((stats.in_state(State::Available), stats.in_state(State::Discarded)), (30, 30));
}

/// F9: whoever maintains need not know the kind.
pub async fn f09_a_rescue_is_blind_to_kinds<H: Harness>(h: H) {
    let b = &*h.backend();
    let lost = worker(b).await;
    insert_all(b, vec![job_of(Q, "known"), job_of("else", "unknown")]).await;
    let queues = slots(&[(Q, 1), ("else", 1)]);
    let both = kinds(&[("known", None), ("unknown", None)]);
    claim_with(b, &crate::ClaimRequest::new(lost, queues, both)).await;
    assert_eq!(lose(b, lost).await.rescued.len(), 2);
    assert_eq!(b.stats(&Default::default()).await.unwrap().in_state(State::Available), 2);
}

/// F18: a worker's row goes only after its jobs, so that no job is ever left without one and forgotten.
pub async fn f18_the_worker_goes_after_its_jobs<H: Harness>(h: H) {
    let b = &*h.backend();
    insert_all(b, jobs(5)).await;
    let lost = worker(b).await;
    assert_eq!(claim(b, lost, 5).await.len(), 5);
    h.expire(lost).await;
    loop {
        let step = b.maintain(1).await.unwrap();
        let running = b.stats(&Default::default()).await.unwrap().in_state(State::Running);
        let listed = b.workers().await.unwrap().iter().any(|w| w.id == lost);
        assert!(listed || running == 0, "the worker is gone and {running} of its jobs still run");
        if !step.more {
            break;
        }
    }
    assert!(b.workers().await.unwrap().is_empty());
    assert_eq!(b.stats(&Default::default()).await.unwrap().in_state(State::Available), 5);
}

pub async fn a_rescue_happens_once<H: Harness>(h: H) {
    let b = h.backend();
    let lost = worker(&*b).await;
    let inserted = insert_all(&*b, jobs(40)).await;
    claim(&*b, lost, 40).await;
    b.deregister(lost).await.unwrap();
    let other = h.second().await.unwrap_or_else(|| h.backend());
    let tasks: Vec<_> = (0..6)
        .map(|n| {
            let b = if n % 2 == 0 { b.clone() } else { other.clone() };
            tokio::spawn(async move { maintain_by(&*b, 9).await.rescued })
        })
        .collect();
    let mut rescued = Vec::new();
    for task in tasks {
        rescued.extend(task.await.unwrap());
    }
    assert_eq!(sorted(rescued), sorted(inserted), "each job by one of them");
    for job in all(&*b, Default::default()).await {
        assert_eq!((job.crashes, job.epoch), (1, Epoch(2)), "counted once");
    }
}

pub async fn only_running_jobs_are_rescued<H: Harness>(h: H) {
    let b = &*h.backend();
    let lost = worker(b).await;
    let mut before = Vec::new();
    for outcome in [completed(), discarded(), cancelled(), retry(HOUR), snoozed(HOUR)] {
        let lease = run_new(b, lost, job()).await;
        settled(b, lease.key, outcome).await;
        before.push(get(b, lease.key.job).await);
    }
    assert!(lose(b, lost).await.rescued.is_empty());
    for job in before {
        assert_eq!(get(b, job.id).await, job);
    }
}

/// Whoever maintains can tell how many share the work.
pub async fn maintenance_counts_the_workers_with_a_lease<H: Harness>(h: H) {
    let b = &*h.backend();
    assert_eq!(b.maintain(99).await.unwrap().workers, 0);
    let one = worker(b).await;
    let other = worker(b).await;
    assert_eq!(b.maintain(99).await.unwrap().workers, 2);
    run_new(b, one, job()).await;
    b.deregister(one).await.unwrap();
    let done = b.maintain(99).await.unwrap();
    assert_eq!((done.rescued.len(), done.workers), (1, 1), "also when there is something to do");
    h.expire(other).await;
    assert_eq!(b.maintain(99).await.unwrap().workers, 0);
}

pub async fn the_history_names_the_lost_worker<H: Harness>(h: H) {
    let b = &*h.backend();
    let lost = worker(b).await;
    let lease = run_new(b, lost, job()).await;
    lose(b, lost).await;
    let last = history(b, lease.key.job).await.pop().unwrap();
    let crate::EventBody::State { from, to, attempt, cause, worker, error } = last.body else {
        panic!("a rescue is a change of state");
    };
    assert_eq!((from, to), (Some(State::Running), State::Available));
    assert_eq!((attempt, cause, worker), (1, crate::Cause::Rescued, Some(lost)));
    assert_eq!(error.unwrap().kind, FailureKind::Crash);
}
