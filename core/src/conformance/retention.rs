//! `Store::prune` removes final jobs past their retention, and nothing else.

use std::time::Duration;

use super::Harness;
use super::support::*;
use crate::{
    AttemptOutcome, Backend, Inserted, JobId, NewJob, Pruned, Retention, State, Store, Unique,
    UniqueUntil,
};

fn keep(completed: Option<Duration>) -> Retention {
    Retention { completed, ..Retention::keep_all() }
}

async fn finished(b: &dyn Backend, outcome: AttemptOutcome) -> JobId {
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    settled(b, lease.key, outcome).await;
    lease.key.job
}

async fn prune(b: &dyn Backend, retention: &Retention) -> Pruned {
    let mut sum = Pruned::default();
    loop {
        let step = b.prune(retention, 100).await.unwrap();
        sum.jobs += step.jobs;
        sum.events += step.events;
        if !step.more {
            return sum;
        }
    }
}

pub async fn each_final_state_has_its_own_time<H: Harness>(h: H) {
    let b = &*h.backend();
    let ends = [
        finished(b, completed()).await,
        finished(b, cancelled()).await,
        finished(b, discarded()).await,
    ];
    h.advance(ms(20)).await;
    let brief = Some(ms(5));
    let steps = [
        (Retention { cancelled: brief, ..Retention::keep_all() }, [true, false, true]),
        (Retention { discarded: brief, ..Retention::keep_all() }, [true, false, false]),
        (Retention { completed: brief, ..Retention::keep_all() }, [false, false, false]),
    ];
    for (retention, left) in steps {
        assert_eq!(prune(b, &retention).await.jobs, 1);
        for (id, left) in ends.iter().zip(left) {
            assert_eq!(b.get(*id).await.unwrap().is_some(), left, "{retention:?}");
        }
    }
}

pub async fn jobs_within_their_time_stay<H: Harness>(h: H) {
    let b = &*h.backend();
    for outcome in [completed(), cancelled(), discarded()] {
        finished(b, outcome).await;
    }
    h.advance(ms(20)).await;
    let hours = Retention {
        completed: Some(HOUR),
        cancelled: Some(HOUR),
        discarded: Some(HOUR),
        events: None,
    };
    for retention in [hours, Retention::keep_all(), Retention::default()] {
        assert_eq!(prune(b, &retention).await, Pruned::default());
    }
    assert_eq!(count(b).await, 3);
}

pub async fn jobs_that_are_not_final_stay<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for outcome in [retry(HOUR), snoozed(HOUR)] {
        let lease = run_new(b, w, job()).await;
        settled(b, lease.key, outcome).await;
    }
    let running = run_new(b, w, job()).await;
    insert_all(b, vec![job(), later()]).await;
    let before = all(b, Default::default()).await;
    h.advance(ms(20)).await;
    let now = Some(Duration::ZERO);
    let retention = Retention { completed: now, cancelled: now, discarded: now, events: now };
    assert_eq!(prune(b, &retention).await.jobs, 0);
    assert_eq!(all(b, Default::default()).await, before);
    complete(b, &running).await;
}

/// The time counts from the finish, however old the job is.
pub async fn the_time_counts_from_the_finish<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    h.advance(ms(400)).await;
    complete(b, &lease).await;
    let kept = get(b, lease.key.job).await;
    let life =
        Duration::try_from(kept.finished_at.unwrap().duration_since(kept.created_at)).unwrap();
    assert_eq!(prune(b, &keep(Some(HOUR))).await.jobs, 0);
    assert!(life >= ms(400));
    h.advance(ms(20)).await;
    assert_eq!(prune(b, &keep(Some(ms(10)))).await.jobs, 1);
}

pub async fn oldest_finishes_go_first_and_by_the_limit<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(5)).await;
    let mut leases = claim(b, w, 5).await;
    // Finished in another order than inserted.
    leases.rotate_left(2);
    for lease in &leases {
        complete(b, lease).await;
        h.advance(ms(3)).await;
    }
    h.advance(ms(10)).await;
    let step = b.prune(&keep(Some(ms(5))), 2).await.unwrap();
    assert_eq!((step.jobs, step.more), (2, true));
    for (n, lease) in leases.iter().enumerate() {
        assert_eq!(b.get(lease.key.job).await.unwrap().is_some(), n >= 2);
    }
    let step = b.prune(&keep(Some(ms(5))), 100).await.unwrap();
    assert_eq!((step.jobs, step.more), (3, false));
}

pub async fn the_history_goes_with_the_job<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = finished(b, completed()).await;
    let other = finished(b, discarded()).await;
    let past = history(b, other).await;
    h.advance(ms(20)).await;
    prune(b, &keep(Some(ms(5)))).await;
    assert!(history(b, id).await.is_empty());
    assert_eq!(history(b, other).await, past);
    assert_eq!(b.stats(&Default::default()).await.unwrap().in_state(State::Completed), 0);
}

pub async fn a_retried_job_is_not_pruned<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = finished(b, completed()).await;
    assert!(change_one(b, id, crate::Change::Retry).await);
    h.advance(ms(20)).await;
    assert_eq!(prune(b, &keep(Some(ms(5)))).await.jobs, 0);
    assert_eq!(state(b, id).await, State::Available);
}

pub async fn a_stale_owner_of_a_pruned_job_has_lost_it<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    complete(b, &lease).await;
    h.advance(ms(20)).await;
    prune(b, &keep(Some(ms(5)))).await;
    assert_eq!(settle(b, lease.key, completed()).await, crate::Settled::Lost);
}

/// A job pruned inside its own window must not leave a key that is held for ever.
pub async fn a_window_ends_though_its_job_was_pruned<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let unique = Unique { until: UniqueUntil::For(ms(50)), ..unique("a") };
    let lease = run_new(b, w, NewJob { unique: Some(unique), ..job() }).await;
    complete(b, &lease).await;
    h.advance(ms(20)).await;
    prune(b, &keep(Some(ms(5)))).await;
    h.advance(ms(60)).await;
    maintain(b).await;
    let next = unique_job("a");
    assert_eq!(b.insert(std::slice::from_ref(&next)).await.unwrap(), [Inserted::New(next.id)]);
}
