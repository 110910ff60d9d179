//! The history of one job: complete, ordered, kept as long as the job.

use super::Harness;
use super::support::*;
use crate::{
    Backend, Cause, Event, EventBody, FailureKind, JobId, Limits, NewJob, Position, Retention,
    Start, State, Store, machine,
};

fn assert_consistent(events: &[Event]) {
    assert!(events.windows(2).all(|p| p[0].position < p[1].position), "positions grow");
    assert!(events.windows(2).all(|p| p[0].at <= p[1].at), "time does not run back");
    let mut last = None;
    for event in events {
        if let EventBody::State { from, to, .. } = event.body {
            assert_eq!(from, last, "each change starts where the one before ended");
            if let Some(from) = from {
                assert!(machine::can_become(from, to), "no step leads from {from} to {to}");
            }
            last = Some(to);
        }
    }
}

pub async fn a_whole_life_is_told<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let id = insert(b, NewJob { start: Start::In(ms(5)), ..job() }).await;
    h.advance(ms(10)).await;
    maintain(b).await;
    settled(b, claim_one(b, w).await.key, retry(ms(5))).await;
    h.advance(ms(10)).await;
    maintain(b).await;
    complete(b, &claim_one(b, w).await).await;
    assert!(change_one(b, id, crate::Change::Retry).await);
    let events = history(b, id).await;
    assert_consistent(&events);
    let steps: Vec<_> = events
        .iter()
        .map(|e| match &e.body {
            EventBody::State { to, attempt, cause, worker, .. } => (*to, *attempt, *cause, *worker),
            other => panic!("only changes of state happened, not {other:?}"),
        })
        .collect();
    assert_eq!(
        steps,
        [
            (State::Scheduled, 0, Cause::Inserted, None),
            (State::Available, 0, Cause::Promoted, None),
            (State::Running, 1, Cause::Claimed, Some(w)),
            (State::Retryable, 1, Cause::Settled, Some(w)),
            (State::Available, 1, Cause::Promoted, None),
            (State::Running, 2, Cause::Claimed, Some(w)),
            (State::Completed, 2, Cause::Settled, Some(w)),
            (State::Available, 2, Cause::Changed, None),
        ]
    );
    for event in &events {
        assert_eq!((event.job, &event.kind, &event.queue), (id, &kind(K), &queue(Q)));
    }
}

pub async fn failures_are_told_where_they_led<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let id = insert(b, job()).await;
    settled(b, claim_one(b, w).await.key, retry(ms(0))).await;
    settled(b, claim_one(b, w).await.key, discarded()).await;
    let errors: Vec<_> = history(b, id)
        .await
        .into_iter()
        .filter_map(|e| match e.body {
            EventBody::State { to, error: Some(e), .. } => Some((to, e.attempt, e.kind, e.message)),
            _ => None,
        })
        .collect();
    let error = |n, text: &str| (n, FailureKind::Error, text.to_owned());
    let (first, second) = (error(1, "boom"), error(2, "hopeless"));
    assert_eq!(
        errors,
        [
            (State::Available, first.0, first.1, first.2),
            (State::Discarded, second.0, second.1, second.2),
        ]
    );
}

pub async fn an_unknown_job_has_none<H: Harness>(h: H) {
    let b = &*h.backend();
    insert(b, job()).await;
    let page = b.history(JobId::new(), None, 99).await.unwrap();
    assert!(page.events.is_empty() && !page.more);
}

pub async fn it_is_read_in_pages<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let id = insert(b, job()).await;
    for _ in 0..6 {
        settled(b, claim_one(b, w).await.key, retry(ms(0))).await;
    }
    let whole = history(b, id).await;
    assert_eq!(whole.len(), 13);
    for limit in [1, 2, 5, 13, 14] {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = b.history(id, after, limit).await.unwrap();
            assert!(page.events.len() <= limit);
            found.extend(page.events);
            if !page.more {
                break;
            }
            after = page.next;
        }
        assert_eq!(found, whole, "by {limit}");
    }
    for limit in [0, b.limits().batch + 1] {
        assert!(b.history(id, None, limit).await.is_err(), "a page of {limit}");
    }
    for (n, event) in whole.iter().enumerate() {
        let page = b.history(id, Some(event.position), 99).await.unwrap();
        assert_eq!(page.events, whole[n + 1..], "what comes after that position");
    }
}

pub async fn a_position_survives_as_text<H: Harness>(h: H) {
    let b = &*h.backend();
    let id = insert(b, job()).await;
    claim_one(b, worker(b).await).await;
    let events = history(b, id).await;
    let position: Position = events[0].position.to_string().parse().unwrap();
    let page = b.history(id, Some(position), 99).await.unwrap();
    assert_eq!(page.events, events[1..]);
}

pub async fn jobs_of_one_batch_have_their_own<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let inserted = insert_all(b, jobs(20)).await;
    let leases = claim(b, w, 20).await;
    settled(b, leases[3].key, discarded()).await;
    for (n, id) in inserted.iter().enumerate() {
        let events = history(b, *id).await;
        assert_consistent(&events);
        assert!(events.iter().all(|e| e.job == *id));
        let mut wanted = vec![State::Available, State::Running];
        if n == 3 {
            wanted.push(State::Discarded);
        }
        assert_eq!(states_of(&events), wanted);
    }
}

pub async fn only_the_first_and_the_latest_changes_are_kept<H: Harness>(_: H) {
    let h = H::open(Limits { state_events_per_job: 6, ..Limits::default() }).await;
    let b = &*h.backend();
    let w = worker(b).await;
    let id = insert(b, job()).await;
    let first = history(b, id).await.remove(0);
    for _ in 0..10 {
        settled(b, claim_one(b, w).await.key, retry(ms(0))).await;
    }
    settled(b, claim_one(b, w).await.key, discarded()).await;
    let events = history(b, id).await;
    assert!(events.windows(2).all(|p| p[0].position < p[1].position));
    assert_eq!(events.len(), 6);
    assert_eq!(events[0], first, "the insert is never forgotten");
    assert_eq!(*states_of(&events).last().unwrap(), State::Discarded);
    assert_eq!(states_of(&events)[1..4], [State::Available, State::Running, State::Available]);
}

pub async fn it_outlives_the_feed<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    let lease = run_new(b, w, job()).await;
    complete(b, &lease).await;
    let before = history(b, lease.key.job).await;
    h.advance(ms(20)).await;
    let retention = Retention { events: Some(ms(5)), ..Retention::keep_all() };
    b.prune(&retention, 100).await.unwrap();
    assert_eq!(history(b, lease.key.job).await, before, "kept as long as the job");
}

pub async fn every_way_through_is_consistent<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    for outcome in every_outcome() {
        let lease = run_new(b, w, job()).await;
        settled(b, lease.key, outcome).await;
        let id = lease.key.job;
        change_one(b, id, crate::Change::Reschedule { start: Start::In(HOUR) }).await;
        change_one(b, id, crate::Change::Retry).await;
        change_one(b, id, CANCEL).await;
        let events = history(b, id).await;
        assert_consistent(&events);
        assert_eq!(states_of(&events).last(), Some(&state(b, id).await));
    }
    let doomed = worker(b).await;
    let lease = run_new(b, doomed, job()).await;
    cancel(b, lease.key.job).await;
    lose(b, doomed).await;
    assert_consistent(&history(b, lease.key.job).await);
}
