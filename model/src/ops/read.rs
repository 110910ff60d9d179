//! Reads what is stored, so that it can be compared.

use std::collections::{BTreeMap, BTreeSet};

use windlass_core::{
    Backend, Event, EventBody, EventFilter, JobId, JobQuery, JobRecord, Maintained, Position,
    Result, WorkerId,
};

use super::compare::by_job;

/// More than any run inserts.
pub(super) const ALL: usize = 10_000;

pub(super) async fn all_jobs(on: &dyn Backend) -> Result<Vec<JobRecord>> {
    let query = JobQuery::default().oldest_first().limit(ALL);
    Ok(on.list(&query).await?.items)
}

pub(super) async fn workers(
    on: &dyn Backend,
    left: &[WorkerId],
) -> Result<Vec<windlass_core::WorkerRecord>> {
    let mut workers = on.workers().await?;
    workers.retain(|worker| !left.contains(&worker.id));
    workers.sort_by_key(|worker| worker.id);
    Ok(workers)
}

/// `uncounted`: the rows of workers that left may be there still, or not.
pub(super) async fn maintain(on: &dyn Backend, uncounted: bool) -> Result<Maintained> {
    let mut done = on.maintain(1_000).await?;
    if uncounted {
        done.workers_removed = 0;
    }
    Ok(done)
}

pub(super) async fn history(on: &dyn Backend, job: JobId, most: usize) -> Result<Vec<Event>> {
    let (mut events, mut after): (Vec<Event>, Option<Position>) = (Vec::new(), None);
    loop {
        let page = on.history(job, after, most).await?;
        events.extend(page.events);
        if !page.more || page.next == after {
            break;
        }
        after = page.next;
    }
    if let Some((kind, queue)) = events.last().map(|last| (last.kind.clone(), last.queue.clone())) {
        for event in &mut events {
            (event.kind, event.queue) = (kind.clone(), queue.clone());
        }
    }
    Ok(events)
}

/// Whether there is an end, and what stands after it: nothing.
pub(super) async fn after_tail(on: &dyn Backend) -> Result<Vec<Event>> {
    let tail = on.tail().await?;
    Ok(match tail {
        Some(tail) => on.events(&EventFilter::default(), Some(tail), ALL).await?.events,
        None => on.events(&EventFilter::default(), None, ALL).await?.events,
    })
}

pub(super) async fn feed(on: &dyn Backend) -> Result<Vec<Event>> {
    let (mut events, mut after): (Vec<Event>, Option<Position>) = (Vec::new(), None);
    loop {
        let page = on.events(&EventFilter::default(), after, ALL).await?;
        events.extend(page.events);
        if !page.more || page.next == after {
            let kept: BTreeSet<_> = all_jobs(on).await?.into_iter().map(|job| job.id).collect();
            let is_note = |event: &Event| !matches!(event.body, EventBody::State { .. });
            // A job may have been inserted anew under the id of one that was removed: of one that was pruned, only that tells.
            let removed: BTreeMap<_, _> = (events.iter().enumerate())
                .filter(|(_, event)| {
                    matches!(event.body, EventBody::Deleted | EventBody::State { from: None, .. })
                })
                .map(|(n, event)| (event.job, n))
                .collect();
            let mut n = 0;
            events.retain(|event| {
                n += 1;
                let stays = removed.get(&event.job).is_none_or(|last| *last < n);
                !is_note(event) || kept.contains(&event.job) && stays
            });
            return Ok(by_job(events));
        }
        after = page.next;
    }
}
