//! F19: every operation changes what it names, and nothing else.

use std::collections::BTreeMap;

use super::Harness;
use super::support::*;
use crate::{
    Backend, Change, ClaimRequest, Event, JobFilter, JobId, JobRecord, LogLevel, NewJob, Note,
    Queue, QueueChange, QueueSettings, Record, Retention, Selector, Start, Store, WorkerId,
};

/// Everything that can be read of jobs and queues.
#[derive(Debug, PartialEq)]
struct Snapshot {
    jobs: BTreeMap<JobId, (JobRecord, Vec<Event>)>,
    settings: Vec<QueueSettings>,
}

impl Snapshot {
    async fn of(b: &dyn Backend) -> Self {
        let mut jobs = BTreeMap::new();
        for job in all(b, JobFilter::default()).await {
            jobs.insert(job.id, (job.clone(), history(b, job.id).await));
        }
        let mut settings = b.queue_settings(&[]).await.unwrap();
        settings.sort_by(|a, b| a.name.cmp(&b.name));
        Self { jobs, settings }
    }

    fn without(mut self, ids: &[JobId]) -> Self {
        self.jobs.retain(|id, _| !ids.contains(id));
        self
    }
}

/// Jobs in every state, alike in all but their ids: two queues, tags, keys and errors; and the worker that runs some.
async fn crowd(b: &dyn Backend) -> WorkerId {
    let w = worker(b).await;
    for name in ["crowd", "other"] {
        insert_all(b, (0..10).map(|_| job_of(name, K)).collect()).await;
        let request = ClaimRequest::new(w, slots(&[(name, 9)]), kinds(&[(K, None)]));
        let leases = claim_with(b, &request).await;
        for (lease, outcome) in leases.iter().zip(every_outcome()) {
            settled(b, lease.key, outcome).await;
        }
        cancel(b, leases[7].key.job).await;
        let start = Start::In(HOUR);
        insert(b, NewJob { start, unique: Some(unique(name)), ..job_of(name, K) }).await;
    }
    let change = QueueChange::default().concurrency(Some(3));
    b.configure_queue(&queue("crowd"), &change).await.unwrap();
    w
}

/// Expects that nothing but the jobs in `$touched` differs after `$act`.
macro_rules! only {
    ($b:expr, $touched:expr, $act:expr) => {{
        let before = Snapshot::of($b).await;
        let _ = $act;
        let touched: &[JobId] = &$touched;
        assert_eq!(Snapshot::of($b).await.without(touched), before.without(touched));
    }};
}

pub async fn f19_insert_and_claim<H: Harness>(h: H) {
    let b = &*h.backend();
    crowd(b).await;
    let w = worker(b).await;
    let new = job();
    only!(b, [new.id], insert(b, new.clone()).await);
    only!(b, [new.id], claim_one(b, w).await);
    let more = jobs(3);
    let ids: Vec<_> = more.iter().map(|j| j.id).collect();
    only!(b, ids, insert_all(b, more.clone()).await);
    only!(b, ids, claim(b, w, 9).await);
    only!(b, [], b.insert(&[new]).await.unwrap());
}

pub async fn f19_settle<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = crowd(b).await;
    for outcome in every_outcome() {
        let lease = run_new(b, w, unique_job("a")).await;
        only!(b, [lease.key.job], settled(b, lease.key, outcome).await);
        only!(b, [], settle(b, lease.key, completed()).await);
        change_one(b, lease.key.job, Change::Delete).await;
    }
}

pub async fn f19_record_append_and_heartbeat<H: Harness>(h: H) {
    let b = &*h.backend();
    let w = crowd(b).await;
    let lease = run_new(b, w, job()).await;
    let note = || Note::Log { level: LogLevel::Info, message: "line".into() };
    let progress = Note::Progress(crate::Progress { done: 1, ..Default::default() });
    let record = Record::new(lease.key, vec![note(), progress]);
    only!(b, [lease.key.job], b.record(&[record]).await.unwrap());
    only!(b, [lease.key.job], b.append(lease.key.job, &[note()]).await.unwrap());
    only!(b, [], beat(b, w, &[lease.key]).await);
}

/// The users' changes, by id, on a job of each sort.
pub async fn f19_changes_by_id<H: Harness>(h: H) {
    let b = &*h.backend();
    crowd(b).await;
    let start = Start::In(2 * HOUR);
    for what in [CANCEL, Change::Retry, Change::Reschedule { start }, Change::Delete] {
        for job in all(b, JobFilter::default().queue(queue("crowd"))).await {
            only!(b, [job.id], change_one(b, job.id, what.clone()).await);
        }
    }
    only!(b, [], change_one(b, JobId::new(), Change::Delete).await);
}

/// The retry of one job that made a whole table run again was an `UPDATE` without its condition.
pub async fn f19_changes_by_filter<H: Harness>(h: H) {
    let b = &*h.backend();
    crowd(b).await;
    let start = Start::In(2 * HOUR);
    for what in [CANCEL, Change::Retry, Change::Reschedule { start }, Change::Delete] {
        let filter = JobFilter::default().queue(queue("crowd"));
        let hit: Vec<_> = all(b, filter.clone()).await.iter().map(|j| j.id).collect();
        only!(b, hit, change(b, Selector::Filter(filter), what.clone()).await);
    }
}

pub async fn f19_maintenance<H: Harness>(h: H) {
    let b = &*h.backend();
    crowd(b).await;
    only!(b, [], maintain(b).await);
    let lost = worker(b).await;
    let lease = run_new(b, lost, job()).await;
    only!(b, [lease.key.job], assert_eq!(lose(b, lost).await.rescued, [lease.key.job]));
    let due = insert(b, NewJob { start: Start::In(ms(5)), ..job() }).await;
    h.advance(ms(10)).await;
    only!(b, [due], assert_eq!(maintain(b).await.promoted, 1));
}

pub async fn f19_pruning<H: Harness>(h: H) {
    let b = &*h.backend();
    crowd(b).await;
    h.advance(ms(10)).await;
    only!(b, [], b.prune(&Retention::default(), 100).await.unwrap());
    let ends: Vec<_> = all(b, JobFilter::default().states([crate::State::Discarded])).await;
    let ends: Vec<_> = ends.iter().map(|j| j.id).collect();
    assert_eq!(ends.len(), 2);
    let retention = Retention { discarded: Some(ms(1)), ..Retention::keep_all() };
    only!(b, ends, assert_eq!(b.prune(&retention, 100).await.unwrap().jobs, 2));
}

pub async fn f19_workers<H: Harness>(h: H) {
    let b = &*h.backend();
    crowd(b).await;
    let other = worker(b).await;
    only!(b, [], b.deregister(other).await.unwrap());
    only!(b, [], maintain(b).await);
    only!(b, [], worker(b).await);
}

pub async fn f19_queue_settings<H: Harness>(h: H) {
    let b = &*h.backend();
    crowd(b).await;
    let before = Snapshot::of(b).await;
    let change = QueueChange::default().paused(true).max_depth(Some(1));
    b.configure_queue(&queue("other"), &change).await.unwrap();
    let after = Snapshot::of(b).await;
    assert_eq!(after.jobs, before.jobs, "a pause changes no job");
    let crowd = |s: &Snapshot| s.settings.iter().find(|s| s.name == queue("crowd")).cloned();
    assert_eq!(crowd(&after), crowd(&before));
}

pub async fn f19_reading<H: Harness>(h: H) {
    let b = &*h.backend();
    crowd(b).await;
    only!(b, [], b.stats(&Default::default()).await.unwrap());
    only!(b, [], b.events(&Default::default(), None, 99).await.unwrap());
    only!(b, [], b.workers().await.unwrap());
    only!(b, [], b.wait(&[queue(Q)], ms(1)).await.unwrap());
    only!(b, [], b.ping().await.unwrap());
}
