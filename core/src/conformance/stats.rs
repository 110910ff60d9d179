//! `Store::stats`: counts by queue, kind and state, and ages.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Harness;
use super::support::*;
use crate::{
    Backend, Change, Count, JobFilter, NewJob, Priority, Queue, QueueAge, Retention, Start, State,
    Stats, StatsQuery, Store,
};

async fn stats(b: &dyn Backend) -> Stats {
    b.stats(&StatsQuery::default()).await.unwrap()
}

/// Counts made from the listing, to compare with.
async fn counted(b: &dyn Backend) -> Vec<Count> {
    let mut counts = BTreeMap::new();
    for job in all(b, JobFilter::default()).await {
        *counts.entry((job.queue, job.kind, job.state)).or_insert(0) += 1;
    }
    let counts = counts.into_iter();
    counts.map(|((queue, kind, state), jobs)| Count { queue, kind, state, jobs }).collect()
}

async fn agrees(b: &dyn Backend, after: &str) {
    assert_eq!(stats(b).await.counts, counted(b).await, "after {after}: sorted, without zeros");
}

pub async fn an_empty_store_counts_nothing<H: Harness>(h: H) {
    assert_eq!(stats(&*h.backend()).await, Stats::default());
}

pub async fn counts_agree_with_the_jobs_at_every_step<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert_all(b, jobs(12)).await;
    insert_all(b, vec![job_of("b", "x"), job_of("b", "y"), job_of("a", "x"), later()]).await;
    insert(b, unique_job("a")).await;
    b.insert(&[unique_job("a")]).await.unwrap();
    agrees(b, "inserts").await;
    let leases = claim(b, w, 12).await;
    agrees(b, "a claim").await;
    for (lease, outcome) in leases.iter().zip(every_outcome()) {
        settled(b, lease.key, outcome).await;
        settle(b, lease.key, completed()).await;
    }
    agrees(b, "settlements").await;
    let finals = JobFilter::default().states(State::FINAL);
    change(b, crate::Selector::Filter(finals.clone()), Change::Retry).await;
    agrees(b, "retries").await;
    change(b, crate::Selector::Filter(JobFilter::default().queue(queue("b"))), CANCEL).await;
    agrees(b, "cancelling").await;
    change(b, crate::Selector::Filter(finals), Change::Delete).await;
    agrees(b, "deleting").await;
    lose(b, w).await;
    agrees(b, "a rescue").await;
    h.advance(ms(10)).await;
    let w = worker(b).await;
    for lease in claim(b, w, 3).await {
        complete(b, &lease).await;
    }
    h.advance(ms(10)).await;
    let retention = Retention { completed: Some(ms(1)), ..Retention::keep_all() };
    b.prune(&retention, 2).await.unwrap();
    agrees(b, "pruning").await;
}

pub async fn totals_per_state<H: Harness>(h: H) {
    let b = &*h.backend();
    insert_all(b, vec![job_of("a", "x"), job_of("b", "x"), job_of("b", "y"), later()]).await;
    let stats = stats(b).await;
    assert_eq!(stats.in_state(State::Available), 3);
    assert_eq!(stats.in_state(State::Scheduled), 1);
    assert_eq!(stats.in_state(State::Completed), 0);
}

pub async fn queues_can_be_chosen<H: Harness>(h: H) {
    let b = &*h.backend();
    insert_all(b, ["a", "b", "c", "a"].map(|q| job_of(q, K)).to_vec()).await;
    let query = StatsQuery { queues: vec![queue("c"), queue("a"), queue("none")] };
    let stats = b.stats(&query).await.unwrap();
    let found: Vec<_> = stats.counts.iter().map(|c| (c.queue.as_str(), c.jobs)).collect();
    assert_eq!(found, [("a", 2), ("c", 1)]);
    let aged: Vec<_> = stats.ages.iter().map(|a| a.queue.as_str()).collect();
    assert_eq!(aged, ["a", "c"]);
}

fn age<'a>(stats: &'a Stats, name: &str) -> Option<&'a QueueAge> {
    stats.ages.iter().find(|a| a.queue.as_str() == name)
}

/// F12: how long the oldest job has been running is there to be watched.
pub async fn f12_ages_of_the_oldest<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = worker(b).await;
    insert(b, job()).await;
    insert(b, job()).await;
    h.advance(ms(40)).await;
    insert(b, job()).await;
    insert(b, NewJob { start: Start::In(HOUR), ..job_of("scheduled-only", K) }).await;
    let now = stats(b).await;
    let oldest = age(&now, Q).unwrap();
    assert!(oldest.oldest_available.is_some_and(|d| d >= ms(40) && d < HOUR));
    assert_eq!(oldest.oldest_running, None);
    assert!(age(&now, "scheduled-only").is_none(), "neither available nor running jobs");

    for lease in claim(b, w, 2).await {
        assert_eq!(lease.attempt, 1);
    }
    h.advance(ms(40)).await;
    let now = stats(b).await;
    let oldest = age(&now, Q).unwrap();
    assert!(oldest.oldest_running.is_some_and(|d| d >= ms(40) && d < HOUR));
    assert!(oldest.oldest_available.is_some_and(|d| d >= ms(40) && d < HOUR));
    claim_one(b, w).await;
    assert_eq!(age(&stats(b).await, Q).unwrap().oldest_available, None);
}

/// A job that waited an hour for its time has been available only since then.
pub async fn availability_counts_from_the_due_time<H: Harness>(h: H) {
    let b = &*h.backend();
    insert(b, NewJob { start: Start::In(ms(200)), ..job() }).await;
    h.advance(ms(210)).await;
    maintain(b).await;
    let created = all(b, JobFilter::default()).await[0].clone();
    let waited = Duration::try_from(created.due_at.duration_since(created.created_at)).unwrap();
    assert!(waited >= ms(200), "it became available {waited:?} after its insert");
    let now = stats(b).await;
    assert!(age(&now, Q).unwrap().oldest_available.is_some());
    b.maintain(9).await.unwrap();
}

/// One that was promoted late stands behind those that came meanwhile, though it has been due for longer.
pub async fn of_jobs_that_are_claimed_in_turn_the_next_one_counts<H: Harness>(h: H) {
    let b = &*h.backend();
    let late = || NewJob { start: Start::In(ms(20)), ..job() };
    insert(b, late()).await;
    h.advance(ms(500)).await;
    let begun = Instant::now();
    insert(b, job()).await;
    maintain(b).await;
    let next = age(&stats(b).await, Q).unwrap().oldest_available.unwrap();
    // For clocks that are read a little early, and rounded.
    assert!(next <= begun.elapsed() + ms(100), "{next:?}");
    insert(b, NewJob { priority: Priority::LOW, ..late() }).await;
    h.advance(ms(500)).await;
    maintain(b).await;
    let other = age(&stats(b).await, Q).unwrap().oldest_available.unwrap();
    assert!(other >= ms(400), "one of another priority is not behind it: {other:?}");
}
