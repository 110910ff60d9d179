//! `Queue::heartbeat` extends the lease and compares what the worker holds with what the store says.

use super::Harness;
use super::support::*;
use crate::{Beat, Heartbeat, Queue, Store, WorkerId};

pub async fn a_heartbeat_extends_the_lease_by_its_full_length<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let before = b.workers().await.unwrap().remove(0);
    h.advance(ms(50)).await;
    beat(b, w, &[]).await;
    let after = b.workers().await.unwrap().remove(0);
    let gained = after.expires_at.duration_since(before.expires_at).as_millis();
    assert!(gained >= 50, "{gained} ms");
    assert_eq!(after.started_at, before.started_at);
}

pub async fn nothing_to_tell<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(5)).await;
    let keys: Vec<_> = claim(b, w, 5).await.iter().map(|l| l.key).collect();
    assert_eq!(beat(b, w, &keys).await, (vec![], vec![], vec![]));
}

pub async fn rescued_jobs_are_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let (slow, quick) = (worker(b).await, worker(b).await);
    let lease = run_new(b, slow, job()).await;
    lose(b, slow).await;
    let beating = worker(b).await;
    assert_eq!(beat(b, beating, &[lease.key]).await.0, [lease.key], "available again");
    let fresh = claim_one(b, quick).await;
    assert_eq!(beat(b, beating, &[lease.key]).await.0, [lease.key], "another runs it");
    assert_eq!(beat(b, quick, &[fresh.key]).await, (vec![], vec![], vec![]));
}

/// A claim whose reply was lost shows as jobs that run under a worker which does not know of them.
pub async fn jobs_the_worker_does_not_know_of_are_orphaned<H: Harness>(h: H) {
    let b = &*h.backend();
    let (w, other) = (worker(b).await, worker(b).await);
    insert_all(b, jobs(5)).await;
    let keys: Vec<_> = claim(b, w, 3).await.iter().map(|l| l.key).collect();
    claim(b, other, 2).await;
    let (lost, cancel, orphaned) = beat(b, w, &keys[..1]).await;
    assert_eq!(sorted(orphaned), sorted(keys[1..].to_vec()), "and none of other workers");
    assert!(lost.is_empty() && cancel.is_empty());
    let all_orphaned = beat(b, w, &[]).await.2;
    assert_eq!(sorted(all_orphaned), sorted(keys.clone()));
    for key in keys {
        settled(b, key, completed()).await;
    }
    assert!(beat(b, w, &[]).await.2.is_empty());
}

/// An old key of a job that the same worker holds under a new one is lost; the new one is an orphan.
pub async fn a_worker_is_told_its_newer_key<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let old = run_new(b, w, job()).await;
    settled(b, old.key, retry(ms(0))).await;
    let new = claim_one(b, w).await;
    assert_eq!(beat(b, w, &[old.key]).await, (vec![old.key], vec![], vec![new.key]));
    assert_eq!(beat(b, w, &[new.key]).await, (vec![], vec![], vec![]));
}

/// A key is its worker's own: for another it holds nothing.
pub async fn a_key_of_another_worker_is_lost<H: Harness>(h: H) {
    let b = &*h.backend();
    let (w, other) = (worker(b).await, worker(b).await);
    let lease = run_new(b, w, job()).await;
    assert_eq!(beat(b, other, &[lease.key]).await, (vec![lease.key], vec![], vec![]));
    assert_eq!(beat(b, w, &[lease.key]).await, (vec![], vec![], vec![]));
}

pub async fn a_heartbeat_changes_no_job<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(6)).await;
    let leases = claim(b, w, 4).await;
    complete(b, &leases[0]).await;
    cancel(b, leases[1].key.job).await;
    let before = all(b, Default::default()).await;
    let keys: Vec<_> = leases.iter().map(|l| l.key).collect();
    beat(b, w, &keys[..3]).await;
    assert_eq!(all(b, Default::default()).await, before);
}

pub async fn thousands_of_keys_fit_in_one<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(3_000)).await;
    let keys: Vec<_> = claim(b, w, 3_000).await.iter().map(|l| l.key).collect();
    assert_eq!(keys.len(), 3_000);
    assert_eq!(beat(b, w, &keys).await, (vec![], vec![], vec![]));
    settled(b, keys[2_999], completed()).await;
    assert_eq!(beat(b, w, &keys).await.0, [keys[2_999]]);
}

/// A worker that is past its lease learns that and nothing else: its answers would be out of date.
pub async fn a_worker_past_its_lease_is_told_so<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    b.deregister(w).await.unwrap();
    for _ in 0..2 {
        assert_eq!(b.heartbeat(w, &[lease.key]).await.unwrap(), Heartbeat::Expired);
    }
}

/// Each as if it were alone, though the lease of one has run out and another is unknown.
pub async fn those_of_several_workers_go_in_one_call<H: Harness>(h: H) {
    let b = &*h.backend();
    assert_eq!(b.heartbeats(&[]).await.unwrap(), []);
    let (gone, stranger) = (worker(b).await, WorkerId::new());
    h.expire(gone).await;
    let (one, other) = (worker(b).await, worker(b).await);
    insert_all(b, jobs(4)).await;
    let ones: Vec<_> = claim(b, one, 2).await.iter().map(|lease| lease.key).collect();
    let others: Vec<_> = claim(b, other, 2).await.iter().map(|lease| lease.key).collect();
    assert!(cancel(b, others[0].job).await);
    settled(b, ones[0], completed()).await;
    let ends = async || -> Vec<_> {
        let all = b.workers().await.unwrap();
        [one, other].map(|id| all.iter().find(|w| w.id == id).unwrap().expires_at).into()
    };
    let before = ends().await;
    h.advance(ms(20)).await;
    let beats = [
        Beat::new(gone, vec![]),
        Beat::new(other, vec![others[0]]),
        Beat::new(stranger, vec![others[1]]),
        Beat::new(one, ones.clone()),
    ];
    let answers = b.heartbeats(&beats).await.unwrap();
    let alive = |lost, cancel, orphaned| Heartbeat::Alive { lost, cancel, orphaned };
    assert_eq!(
        answers,
        [
            Heartbeat::Expired,
            alive(vec![], vec![others[0]], vec![others[1]]),
            Heartbeat::Expired,
            alive(vec![ones[0]], vec![], vec![]),
        ]
    );
    let after = ends().await;
    assert!(before.iter().zip(&after).all(|(before, after)| before < after), "both are extended");
}
