//! Worker leases: granted, listed, ended, never revived.

use super::Harness;
use super::support::*;
use crate::{Backend, Error, Heartbeat, Queue, Result, State, Store, WorkerId, WorkerInfo};

fn is_expired<T: std::fmt::Debug>(answer: Result<T>, id: WorkerId) {
    match answer {
        Err(Error::WorkerExpired { worker }) => assert_eq!(worker, id),
        other => panic!("the lease has run out, so the call fails with it, not {other:?}"),
    }
}

async fn expired(h: &impl Harness) -> WorkerInfo {
    let info = WorkerInfo::new("brief", HOUR, vec![queue(Q)]);
    h.backend().register(&info).await.unwrap();
    h.expire(info.id).await;
    info
}

pub async fn a_new_worker_gets_the_lease_it_asks_for<H: Harness>(h: H) {
    let b = &*h.backend();
    let info = WorkerInfo::new("host:42", HOUR, vec![queue("a"), queue("b")]);
    let lease = b.register(&info).await.unwrap();
    assert_eq!((lease.worker, lease.lease), (info.id, HOUR));
}

pub async fn workers_are_listed<H: Harness>(h: H) {
    let b = &*h.backend();
    assert!(b.workers().await.unwrap().is_empty());
    let info = WorkerInfo::new("näme 'with' odd text", HOUR, vec![queue("b"), queue("a")]);
    b.register(&info).await.unwrap();
    let other = worker(b).await;
    insert_all(b, jobs(3)).await;
    claim(b, info.id, 2).await;
    let listed = b.workers().await.unwrap();
    assert_eq!(listed.len(), 2);
    let one = listed.iter().find(|w| w.id == info.id).unwrap();
    assert_eq!((&one.name, &one.queues, one.running), (&info.name, &info.queues, 2));
    let lease = one.expires_at.duration_since(one.started_at).as_secs();
    assert!((3_599..3_660).contains(&lease), "{lease} s");
    assert_eq!(listed.iter().find(|w| w.id == other).unwrap().running, 0);
}

pub async fn registering_again_extends_the_lease<H: Harness>(h: H) {
    let b = &*h.backend();
    let info = WorkerInfo::new("one", HOUR, vec![queue(Q)]);
    b.register(&info).await.unwrap();
    let before = b.workers().await.unwrap().remove(0);
    let lease = run_new(b, info.id, job()).await;
    h.advance(ms(20)).await;
    b.register(&info).await.unwrap();
    let after = b.workers().await.unwrap();
    assert_eq!(after.len(), 1, "one row per worker");
    assert!(after[0].expires_at > before.expires_at);
    assert_eq!(beat(b, info.id, &[lease.key]).await.0, [], "its jobs stay with it");
}

pub async fn an_expired_worker_claims_nothing<H: Harness>(h: H) {
    let b = &*h.backend();
    let info = expired(&h).await;
    let id = insert(b, job()).await;
    is_expired(b.claim(&request(info.id, 9)).await, info.id);
    let kept = get(b, id).await;
    assert_eq!((kept.state, kept.attempt), (State::Available, 0), "nothing is claimed");
}

pub async fn an_unknown_worker_claims_nothing<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, job()).await;
    let stranger = WorkerId::new();
    is_expired(b.claim(&request(stranger, 9)).await, stranger);
    assert_eq!(state(b, id).await, State::Available);
}

/// An expired lease never revives, whether or not anybody has noticed.
pub async fn an_expired_lease_is_not_revived<H: Harness>(h: H) {
    let b = &*h.backend();
    let info = expired(&h).await;
    assert_eq!(b.heartbeat(info.id, &[]).await.unwrap(), Heartbeat::Expired);
    is_expired(b.register(&info).await, info.id);
    is_expired(b.claim(&request(info.id, 9)).await, info.id);
    maintain(b).await;
    assert_eq!(b.heartbeat(info.id, &[]).await.unwrap(), Heartbeat::Expired);
    is_expired(b.claim(&request(info.id, 9)).await, info.id);
}

pub async fn an_unknown_worker_has_no_heartbeat<H: Harness>(h: H) {
    let b = &*h.backend();
    assert_eq!(b.heartbeat(WorkerId::new(), &[]).await.unwrap(), Heartbeat::Expired);
}

/// The fence decides, not the lease: what a worker finished before anybody took it is finished.
pub async fn an_expired_worker_may_still_settle_what_nobody_took<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    b.deregister(w).await.unwrap();
    complete(b, &lease).await;
    assert!(maintain(b).await.rescued.is_empty());
    assert_eq!(state(b, lease.key.job).await, State::Completed);
}

pub async fn expired_workers_are_listed_until_they_are_removed<H: Harness>(h: H) {
    let b = &*h.backend();
    let info = expired(&h).await;
    let alive = worker(b).await;
    assert!(b.workers().await.unwrap().iter().any(|w| w.id == info.id));
    assert_eq!(maintain(b).await.workers_removed, 1);
    let left: Vec<_> = b.workers().await.unwrap().iter().map(|w| w.id).collect();
    assert_eq!(left, [alive]);
    assert_eq!(maintain(b).await.workers_removed, 0);
}

pub async fn a_deregistered_worker_is_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    b.deregister(w).await.unwrap();
    assert_eq!(b.heartbeat(w, &[lease.key]).await.unwrap(), Heartbeat::Expired);
    is_expired(b.claim(&request(w, 1)).await, w);
    assert_eq!(maintain(b).await.rescued, [lease.key.job]);
    assert!(b.workers().await.unwrap().is_empty());
}

pub async fn deregistering_again_or_a_stranger_is_no_error<H: Harness>(h: H) {
    let b = &*h.backend();
    let (w, other) = (worker(b).await, worker(b).await);
    for id in [w, w, WorkerId::new()] {
        b.deregister(id).await.unwrap();
    }
    assert_eq!(beat(b, other, &[]).await, (vec![], vec![], vec![]));
}

/// F6: a restarted worker of the same name is another one, so its predecessor's jobs are not hidden.
pub async fn f06_workers_of_one_name_are_told_apart<H: Harness>(h: H) {
    let b = &*h.backend();
    let [old, new] = [(); 2].map(|()| WorkerInfo::new("same name", HOUR, vec![queue(Q)]));
    b.register(&old).await.unwrap();
    let lease = run_new(b, old.id, job()).await;
    b.register(&new).await.unwrap();
    assert_eq!(b.workers().await.unwrap().len(), 2);
    assert!(beat(b, new.id, &[]).await.2.is_empty(), "the new one owns nothing");
    let rescued = lose(b, old.id).await.rescued;
    assert_eq!(rescued, [lease.key.job], "though a worker of that name lives");
}

pub async fn a_worker_may_register_while_others_come_and_go<H: Harness>(h: H) {
    let b = h.backend();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let b = b.clone();
            tokio::spawn(async move {
                for _ in 0..5 {
                    let w = worker(&*b).await;
                    assert_eq!(beat(&*b, w, &[]).await.0, []);
                    b.deregister(w).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    maintain(&*b as &dyn Backend).await;
    assert!(b.workers().await.unwrap().is_empty());
}
