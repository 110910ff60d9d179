//! Joining the host's transaction: its writes and the jobs commit or roll back together.

use super::TransactionalHarness;
use super::support::*;
use crate::{
    ClaimId, Error, Inserted, LeaseKey, NewJob, Payload, Queue, Settled, Settlement, State, Store,
    Transactional, Wake,
};

async fn insert_in<H: TransactionalHarness>(
    h: &H,
    tx: &mut H::Tx,
    new: &[NewJob],
) -> Vec<Inserted> {
    h.backend().insert_in(H::conn(tx), new).await.unwrap()
}

async fn settle_in<H: TransactionalHarness>(h: &H, tx: &mut H::Tx, s: &Settlement) -> Settled {
    h.backend().settle_in(H::conn(tx), s).await.unwrap()
}

const DONE: Settled = Settled::Applied { state: State::Completed };

pub async fn a_commit_makes_jobs_and_rows_visible<H: TransactionalHarness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let new = jobs(3);
    let mut tx = h.begin().await;
    h.put_row(&mut tx, "before").await;
    let answers = insert_in(&h, &mut tx, &new).await;
    assert!(answers.iter().all(Inserted::is_new));
    h.put_row(&mut tx, "after").await;
    assert_eq!(b.get(new[0].id).await.unwrap(), None, "nothing is seen before the commit");
    assert_eq!(count(b).await, 0);
    h.commit(tx).await;
    assert_eq!(sorted(h.rows().await), ["after", "before"]);
    assert_eq!(claim(b, w, 9).await.len(), 3, "claimable after the commit");
}

pub async fn a_rollback_leaves_no_trace<H: TransactionalHarness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let kept = insert(b, later()).await;
    let tail = b.tail().await.unwrap();
    let mut tx = h.begin().await;
    let new = unique_job("a");
    insert_in(&h, &mut tx, &[new.clone(), later()]).await;
    h.put_row(&mut tx, "row").await;
    h.rollback(tx).await;
    assert!(h.rows().await.is_empty());
    assert_eq!(all(b, Default::default()).await.len(), 1);
    assert!(history(b, new.id).await.is_empty());
    assert!(b.events(&Default::default(), tail, 99).await.unwrap().events.is_empty());
    assert!(claim(b, w, 9).await.is_empty());
    assert_eq!(b.stats(&Default::default()).await.unwrap().in_state(State::Scheduled), 1);
    assert_eq!(state(b, kept).await, State::Scheduled);
}

pub async fn a_dropped_transaction_is_rolled_back<H: TransactionalHarness>(h: H) {
    let b = &*h.backend();
    let mut tx = h.begin().await;
    insert_in(&h, &mut tx, &jobs(2)).await;
    h.put_row(&mut tx, "row").await;
    drop(tx);
    insert(b, job()).await;
    assert_eq!(count(b).await, 1);
    assert!(h.rows().await.is_empty());
}

/// F23: a key taken in a transaction that rolls back is free, and its job is not lost silently.
pub async fn f23_a_rollback_frees_the_unique_key<H: TransactionalHarness>(h: H) {
    let b = &*h.backend();
    let mut tx = h.begin().await;
    insert_in(&h, &mut tx, &[unique_job("a")]).await;
    h.rollback(tx).await;
    let holder = insert(b, unique_job("a")).await;
    let mut tx = h.begin().await;
    let answers = insert_in(&h, &mut tx, &[unique_job("a")]).await;
    assert_eq!(answers, [Inserted::Duplicate { existing: holder }]);
    h.commit(tx).await;
    assert_eq!(count(b).await, 1);
}

pub async fn many_inserts_in_one_transaction_see_each_other<H: TransactionalHarness>(h: H) {
    let b = &*h.backend();
    let (first, again) = (unique_job("a"), unique_job("a"));
    let mut tx = h.begin().await;
    insert_in(&h, &mut tx, std::slice::from_ref(&first)).await;
    let answers = insert_in(&h, &mut tx, &[first.clone(), again, job()]).await;
    assert_eq!(answers[0], Inserted::Duplicate { existing: first.id });
    assert_eq!(answers[1], Inserted::Duplicate { existing: first.id });
    assert!(answers[2].is_new());
    h.commit(tx).await;
    assert_eq!(count(b).await, 2);
}

/// A refused insert takes nothing of the host's transaction with it.
pub async fn a_failed_insert_leaves_the_transaction_usable<H: TransactionalHarness>(h: H) {
    let b = &*h.backend();
    let mut tx = h.begin().await;
    h.put_row(&mut tx, "before").await;
    let bad = [job(), NewJob { max_attempts: 0, ..job() }];
    let error = b.insert_in(H::conn(&mut tx), &bad).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    h.put_row(&mut tx, "after").await;
    insert_in(&h, &mut tx, &jobs(1)).await;
    h.commit(tx).await;
    assert_eq!(h.rows().await.len(), 2);
    assert_eq!(count(b).await, 1, "of the failed call nothing stayed");
}

pub async fn a_full_queue_leaves_the_transaction_usable<H: TransactionalHarness>(h: H) {
    let b = &*h.backend();
    let full = crate::QueueChange::default().max_depth(Some(2));
    b.configure_queue(&queue(Q), &full).await.unwrap();
    let mut tx = h.begin().await;
    insert_in(&h, &mut tx, &jobs(1)).await;
    let error = b.insert_in(H::conn(&mut tx), &jobs(2)).await.unwrap_err();
    assert!(matches!(error, Error::QueueFull { .. }), "{error}");
    h.put_row(&mut tx, "row").await;
    h.commit(tx).await;
    assert_eq!((count(b).await, h.rows().await.len()), (1, 1));
}

pub async fn a_completion_commits_with_the_rows<H: TransactionalHarness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, unique_job("a")).await;
    let result = Payload::json("done").unwrap();
    let outcome =
        crate::AttemptOutcome::Completed { result: Some(result.clone()), blobs: Vec::new() };
    let follow = job();
    let settlement =
        Settlement { follow_ups: vec![follow.clone()], ..Settlement::new(lease.key, outcome) };
    let mut tx = h.begin().await;
    h.put_row(&mut tx, "effect").await;
    assert_eq!(settle_in(&h, &mut tx, &settlement).await, DONE);
    assert_eq!(state(b, lease.key.job).await, State::Running, "until the commit");
    h.commit(tx).await;
    let kept = get(b, lease.key.job).await;
    assert_eq!((kept.state, kept.result), (State::Completed, Some(result)));
    assert_eq!(h.rows().await, ["effect"]);
    assert_eq!(state(b, follow.id).await, State::Available);
    insert(b, unique_job("a")).await;
}

/// The worker settles after `complete_in` as after any handler, and must learn that it is done.
pub async fn a_completion_after_the_commit_is_already_there<H: TransactionalHarness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let settlement = Settlement::new(lease.key, completed());
    let mut tx = h.begin().await;
    settle_in(&h, &mut tx, &settlement).await;
    h.commit(tx).await;
    let already = Settled::Already { state: State::Completed };
    assert_eq!(settle(b, lease.key, completed()).await, already);
    let mut tx = h.begin().await;
    assert_eq!(settle_in(&h, &mut tx, &settlement).await, already, "not `Applied`: roll back");
    h.rollback(tx).await;
}

pub async fn a_rolled_back_completion_leaves_the_job_running<H: TransactionalHarness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let before = get(b, lease.key.job).await;
    let past = history(b, lease.key.job).await;
    let settlement = Settlement { follow_ups: jobs(2), ..Settlement::new(lease.key, completed()) };
    let mut tx = h.begin().await;
    h.put_row(&mut tx, "effect").await;
    assert_eq!(settle_in(&h, &mut tx, &settlement).await, DONE);
    h.rollback(tx).await;
    assert_eq!(get(b, lease.key.job).await, before);
    assert_eq!(history(b, lease.key.job).await, past);
    assert!(h.rows().await.is_empty());
    assert_eq!(count(b).await, 1, "the follow-ups are gone");
    complete(b, &lease).await;
}

/// F1: the effect of a stale holder must not commit. Each part of the fence alone is enough to stop it.
pub async fn f01_a_stale_holder_is_told_to_roll_back<H: TransactionalHarness>(h: H) {
    let b = &*h.backend();
    let (slow, quick) = (worker(b).await, worker(b).await);
    let stale = run_new(b, slow, job()).await.key;
    lose(b, slow).await;
    let fresh = claim_one(b, quick).await.key;
    let wrong = [
        stale,
        LeaseKey { epoch: stale.epoch, ..fresh },
        LeaseKey { claim_id: ClaimId::new(), ..fresh },
        LeaseKey { job: crate::JobId::new(), ..fresh },
    ];
    let before = get(b, fresh.job).await;
    for key in wrong {
        for outcome in every_outcome() {
            let mut tx = h.begin().await;
            let settlement = Settlement::new(key, outcome);
            assert_eq!(settle_in(&h, &mut tx, &settlement).await, Settled::Lost);
            // Even a host that ignores the answer and commits changes nothing of the job.
            h.commit(tx).await;
            assert_eq!(get(b, fresh.job).await, before);
        }
    }
    assert_eq!(settle(b, fresh, completed()).await, DONE);
}

pub async fn a_refused_completion_leaves_the_transaction_usable<H: TransactionalHarness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let bad = vec![job(), NewJob { max_attempts: 0, ..job() }];
    let settlement = Settlement { follow_ups: bad, ..Settlement::new(lease.key, completed()) };
    let mut tx = h.begin().await;
    let answer = settle_in(&h, &mut tx, &settlement).await;
    assert!(matches!(answer, Settled::Refused { .. }), "{answer:?}");
    h.put_row(&mut tx, "row").await;
    h.commit(tx).await;
    assert_eq!(state(b, lease.key.job).await, State::Running);
    assert_eq!((count(b).await, h.rows().await.len()), (1, 1), "no follow-up stayed");
}

pub async fn a_retry_may_commit_with_the_rows<H: TransactionalHarness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let mut tx = h.begin().await;
    h.put_row(&mut tx, "partial").await;
    let answer = settle_in(&h, &mut tx, &Settlement::new(lease.key, retry(ms(0)))).await;
    assert_eq!(answer, Settled::Applied { state: State::Available });
    h.commit(tx).await;
    assert_eq!(claim_one(b, w).await.attempt, 2);
}

pub async fn an_enqueue_and_a_completion_share_a_transaction<H: TransactionalHarness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let next = job();
    let mut tx = h.begin().await;
    insert_in(&h, &mut tx, std::slice::from_ref(&next)).await;
    settle_in(&h, &mut tx, &Settlement::new(lease.key, completed())).await;
    h.commit(tx).await;
    assert_eq!(state(b, lease.key.job).await, State::Completed);
    assert_eq!(ids(&claim(b, w, 9).await), [next.id]);
}

/// Both kinds of enqueue count in the order of their commits.
pub async fn jobs_of_a_transaction_come_in_order<H: TransactionalHarness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let first = insert(b, job()).await;
    let new = jobs(2);
    let mut tx = h.begin().await;
    insert_in(&h, &mut tx, &new).await;
    h.commit(tx).await;
    let last = insert(b, job()).await;
    assert_eq!(ids(&claim(b, w, 9).await), [first, new[0].id, new[1].id, last]);
}

pub async fn the_history_of_a_transaction_is_seen_after_the_commit<H: TransactionalHarness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    let tail = b.tail().await.unwrap();
    let mut tx = h.begin().await;
    settle_in(&h, &mut tx, &Settlement::new(lease.key, completed())).await;
    h.commit(tx).await;
    let page = b.events(&Default::default(), tail, 99).await.unwrap();
    assert_eq!(states_of(&page.events), [State::Completed]);
    let wanted = [State::Available, State::Running, State::Completed];
    assert_eq!(states_of(&history(b, lease.key.job).await), wanted);
}

/// Hints may be lost, so the host goes on committing until one comes through.
pub async fn a_commit_wakes_waiters<H: TransactionalHarness>(h: H) {
    let b = h.backend();
    let waiter = tokio::spawn(async move { b.wait(&[queue(Q)], HOUR).await.unwrap() });
    while !waiter.is_finished() {
        let mut tx = h.begin().await;
        insert_in(&h, &mut tx, &jobs(1)).await;
        h.commit(tx).await;
        tokio::time::sleep(ms(20)).await;
    }
    assert_eq!(waiter.await.unwrap(), Wake::Hint);
}
