//! What cases are written with.

use std::time::Duration;

use crate::{
    AttemptOutcome, Backend, Change, ChangeRequest, ClaimRequest, Event, EventBody, Failure,
    FailureKind, Heartbeat, Inserted, JobFilter, JobId, JobQuery, JobRecord, Kind, KindSlots, Lane,
    Lease, LeaseKey, Maintained, NewJob, Order, Payload, QueueName, QueueSlots, Selector, Settled,
    Settlement, Start, State, Unique, UniqueKey, UniqueUntil, WorkerId, WorkerInfo,
};

/// Long enough never to pass during a case.
pub(super) const HOUR: Duration = Duration::from_secs(3_600);
/// A queue for cases that need only one.
pub(super) const Q: &str = "q";
/// A kind for cases that need only one.
pub(super) const K: &str = "k";

pub(super) fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub(super) fn queue(name: &str) -> QueueName {
    QueueName::new(name).unwrap()
}

pub(super) fn kind(name: &str) -> Kind {
    Kind::new(name).unwrap()
}

/// Another handle, for cases that say nothing without one.
pub(super) async fn second<H: super::Harness>(h: &H) -> std::sync::Arc<H::Backend> {
    let hint = "no second handle: implement `Harness::second`, or name this case in `skip:` with the reason";
    h.second().await.expect(hint)
}

/// A job of kind `k` in queue `q`.
pub(super) fn job() -> NewJob {
    job_of(Q, K)
}

pub(super) fn job_of(queue_name: &str, kind_name: &str) -> NewJob {
    NewJob::new(kind(kind_name), queue(queue_name), Payload::json(&1).unwrap())
}

pub(super) fn jobs(n: usize) -> Vec<NewJob> {
    (0..n).map(|_| job()).collect()
}

/// A job that is due in an hour.
pub(super) fn later() -> NewJob {
    NewJob { start: Start::In(HOUR), ..job() }
}

pub(super) fn key(text: &str) -> UniqueKey {
    UniqueKey::new(text).unwrap()
}

/// A rule that holds the key until the job is final and keeps the existing job.
pub(super) fn unique(text: &str) -> Unique {
    Unique { key: key(text), until: UniqueUntil::Finished, on_conflict: Default::default() }
}

pub(super) fn unique_job(text: &str) -> NewJob {
    NewJob { unique: Some(unique(text)), ..job() }
}

/// Inserts one job that must be new.
pub(super) async fn insert(b: &dyn Backend, new: NewJob) -> JobId {
    let id = new.id;
    assert_eq!(b.insert(&[new]).await.unwrap(), [Inserted::New(id)], "a fresh job is new");
    id
}

/// Inserts jobs that must all be new.
pub(super) async fn insert_all(b: &dyn Backend, new: Vec<NewJob>) -> Vec<JobId> {
    let ids: Vec<_> = new.iter().map(|j| j.id).collect();
    let answers = b.insert(&new).await.unwrap();
    assert_eq!(answers, ids.iter().copied().map(Inserted::New).collect::<Vec<_>>());
    ids
}

pub(super) async fn get(b: &dyn Backend, id: JobId) -> JobRecord {
    b.get(id).await.unwrap().expect("the job is kept")
}

pub(super) async fn state(b: &dyn Backend, id: JobId) -> State {
    get(b, id).await.state
}

/// Registers a worker whose lease does not end during the case.
pub(super) async fn worker(b: &dyn Backend) -> WorkerId {
    let info = WorkerInfo::new("host:1", HOUR, vec![queue(Q)]);
    b.register(&info).await.unwrap().worker
}

pub(super) fn slots(queues: &[(&str, u32)]) -> Vec<QueueSlots> {
    queues.iter().map(|&(name, limit)| QueueSlots { queue: queue(name), limit }).collect()
}

pub(super) fn kinds(kinds: &[(&str, Option<u32>)]) -> Vec<KindSlots> {
    kinds.iter().map(|&(name, limit)| KindSlots { kind: kind(name), limit }).collect()
}

/// A request for up to `limit` jobs of kind `k` in queue `q`.
pub(super) fn request(worker: WorkerId, limit: u32) -> ClaimRequest {
    ClaimRequest::new(worker, slots(&[(Q, limit)]), kinds(&[(K, None)]))
}

pub(super) async fn claim_with(b: &dyn Backend, request: &ClaimRequest) -> Vec<Lease> {
    b.claim(request).await.unwrap().leases
}

/// Claims up to `limit` jobs of kind `k` in queue `q`.
pub(super) async fn claim(b: &dyn Backend, worker: WorkerId, limit: u32) -> Vec<Lease> {
    claim_with(b, &request(worker, limit)).await
}

pub(super) async fn claim_quarantined(b: &dyn Backend, worker: WorkerId, limit: u32) -> Vec<Lease> {
    claim_with(b, &ClaimRequest { lane: Lane::Quarantine, ..request(worker, limit) }).await
}

/// Claims one job of kind `k` in queue `q`, which must be there.
pub(super) async fn claim_one(b: &dyn Backend, worker: WorkerId) -> Lease {
    claim(b, worker, 1).await.pop().expect("an available job is claimed")
}

/// Inserts a job of kind `k` in queue `q` and claims it; no other may be available there.
pub(super) async fn run_new(b: &dyn Backend, worker: WorkerId, new: NewJob) -> Lease {
    let id = insert(b, new).await;
    let lease = claim_one(b, worker).await;
    assert_eq!(lease.key.job, id, "the only available job is claimed");
    lease
}

pub(super) fn ids(leases: &[Lease]) -> Vec<JobId> {
    leases.iter().map(|l| l.key.job).collect()
}

pub(super) fn failure(message: &str) -> Failure {
    Failure { kind: FailureKind::Error, message: message.to_owned() }
}

pub(super) fn completed() -> AttemptOutcome {
    AttemptOutcome::Completed { result: None, blobs: Vec::new() }
}

pub(super) fn retry(delay: Duration) -> AttemptOutcome {
    AttemptOutcome::Retry { delay, failure: failure("boom") }
}

pub(super) fn discarded() -> AttemptOutcome {
    AttemptOutcome::Discarded { failure: failure("hopeless") }
}

pub(super) fn cancelled() -> AttemptOutcome {
    let failure = Failure { kind: FailureKind::Cancelled, message: "not wanted".to_owned() };
    AttemptOutcome::Cancelled { failure }
}

pub(super) fn snoozed(delay: Duration) -> AttemptOutcome {
    AttemptOutcome::Snoozed { delay }
}

/// One outcome of every sort.
pub(super) fn every_outcome() -> [AttemptOutcome; 6] {
    let released = AttemptOutcome::Released;
    [completed(), retry(HOUR), discarded(), cancelled(), snoozed(HOUR), released]
}

pub(super) async fn settle(b: &dyn Backend, key: LeaseKey, outcome: AttemptOutcome) -> Settled {
    settle_whole(b, Settlement::new(key, outcome)).await
}

pub(super) async fn settle_whole(b: &dyn Backend, settlement: Settlement) -> Settled {
    let mut answers = b.settle(&[settlement]).await.unwrap();
    assert_eq!(answers.len(), 1, "one answer per settlement");
    answers.remove(0)
}

/// Settles what must be applied, and answers the state.
pub(super) async fn settled(b: &dyn Backend, key: LeaseKey, outcome: AttemptOutcome) -> State {
    match settle(b, key, outcome).await {
        Settled::Applied { state } => state,
        other => panic!("the owner's settlement is applied, not {other:?}"),
    }
}

pub(super) async fn complete(b: &dyn Backend, lease: &Lease) {
    assert_eq!(settled(b, lease.key, completed()).await, State::Completed);
}

/// Calls [`Queue::maintain`](crate::Queue::maintain) until nothing is left to do, and adds up.
pub(super) async fn maintain(b: &dyn Backend) -> Maintained {
    maintain_by(b, 1_000).await
}

pub(super) async fn maintain_by(b: &dyn Backend, limit: u32) -> Maintained {
    let mut sum = Maintained::default();
    for _ in 0..100_000 {
        let step = b.maintain(limit).await.unwrap();
        sum.promoted += step.promoted;
        sum.rescued.extend(step.rescued);
        sum.workers_removed += step.workers_removed;
        sum.next_due = step.next_due;
        if !step.more {
            return sum;
        }
    }
    panic!("maintenance comes to an end");
}

/// Ends a worker as a crash would: its jobs are rescued.
pub(super) async fn lose(b: &dyn Backend, worker: WorkerId) -> Maintained {
    b.deregister(worker).await.unwrap();
    maintain(b).await
}

/// Claims the only available job under a worker of its own and loses that worker.
pub(super) async fn crash_once(b: &dyn Backend, lane: Lane) -> JobId {
    let lost = worker(b).await;
    let leases = claim_with(b, &ClaimRequest { lane, ..request(lost, 1) }).await;
    assert_eq!(leases.len(), 1, "the job is claimed in {lane:?}");
    lose(b, lost).await;
    leases[0].key.job
}

/// Calls [`Store::change`](crate::Store::change) until every job was looked at, and answers how many were changed.
pub(super) async fn change(b: &dyn Backend, target: Selector, change: Change) -> u64 {
    let mut count = 0;
    let mut request = ChangeRequest::new(target, change);
    for _ in 0..100_000 {
        let step = b.change(&request).await.unwrap();
        count += step.count;
        request.after = step.next;
        if request.after.is_none() {
            return count;
        }
    }
    panic!("a change comes to an end");
}

pub(super) async fn change_one(b: &dyn Backend, id: JobId, what: Change) -> bool {
    match change(b, Selector::Ids(vec![id]), what).await {
        0 => false,
        1 => true,
        n => panic!("one job counts as one, not {n}"),
    }
}

pub(super) const CANCEL: Change = Change::Cancel { reason: None };

pub(super) async fn cancel(b: &dyn Backend, id: JobId) -> bool {
    change_one(b, id, CANCEL).await
}

/// Every job that passes, oldest first.
pub(super) async fn all(b: &dyn Backend, filter: JobFilter) -> Vec<JobRecord> {
    let limit = b.limits().batch.min(500);
    let mut query = JobQuery { order: Order::OldestFirst, limit, ..filter.into() };
    let mut found = Vec::new();
    loop {
        let page = b.list(&query).await.unwrap();
        found.extend(page.items);
        match page.next {
            Some(next) => query.after = Some(next),
            None => return found,
        }
    }
}

pub(super) async fn count(b: &dyn Backend) -> usize {
    all(b, JobFilter::default()).await.len()
}

/// The whole history of a job.
pub(super) async fn history(b: &dyn Backend, id: JobId) -> Vec<Event> {
    let mut events = Vec::new();
    let mut after = None;
    loop {
        let page = b.history(id, after, 500).await.unwrap();
        after = page.next.or(after);
        events.extend(page.events);
        if !page.more {
            return events;
        }
    }
}

/// The states that a history leads through.
pub(super) fn states_of(events: &[Event]) -> Vec<State> {
    events
        .iter()
        .filter_map(|e| match e.body {
            EventBody::State { to, .. } => Some(to),
            _ => None,
        })
        .collect()
}

/// What a heartbeat of a live worker brings: lost, cancel, orphaned.
pub(super) async fn beat(
    b: &dyn Backend,
    worker: WorkerId,
    owned: &[LeaseKey],
) -> (Vec<LeaseKey>, Vec<LeaseKey>, Vec<LeaseKey>) {
    match b.heartbeat(worker, owned).await.unwrap() {
        Heartbeat::Alive { lost, cancel, orphaned } => (lost, cancel, orphaned),
        Heartbeat::Expired => panic!("the worker's lease lasts"),
    }
}

pub(super) fn sorted<T: Ord>(mut items: Vec<T>) -> Vec<T> {
    items.sort();
    items
}
