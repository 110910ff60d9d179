//! A backend that writes down what goes through it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use windlass::{
    AttemptOutcome, Backend, BlobKey, Capabilities, ChangeRequest, Changed, ClaimRequest, Claimed,
    EventFilter, EventPage, Heartbeat, Inserted, JobId, JobQuery, JobRecord, LeaseKey, Limits,
    Maintained, NewJob, Note, Page, Position, Pruned, Queue, QueueChange, QueueName, QueueSettings,
    Record, Recorded, Result, Retention, Settled, Settlement, Stats, StatsQuery, Storage, Store,
    Transactional, Wake, WorkerId, WorkerInfo, WorkerLease, WorkerRecord,
};

use crate::history::{Ending, History, Taken, Verdict, What, now};
use crate::keys::Keys;

/// A backend, and the history of what was asked of it as a queue.
#[derive(Debug)]
pub struct Recorder<B> {
    inner: B,
    history: History,
    keys: Keys,
}

impl<B> Recorder<B> {
    /// Records what goes through a backend.
    pub fn new(inner: B, history: History, keys: Keys) -> Self {
        Self { inner, history, keys }
    }

    fn settling(&self, settlement: &Settlement, in_host: bool) {
        let (key, ending) = (settlement.key, ending(&settlement.outcome));
        self.history.record(What::Settling { key, ending, in_host });
    }

    fn settled(&self, settlement: &Settlement, verdict: Verdict, in_host: bool) {
        let (key, ending) = (settlement.key, ending(&settlement.outcome));
        let gone = matches!(verdict, Verdict::Applied(_) | Verdict::Already(_) | Verdict::Lost);
        self.history.record(What::Settled { key, ending, verdict, in_host });
        if gone && !in_host {
            self.keys.settled(key);
        }
    }
}

fn ending(outcome: &AttemptOutcome) -> Ending {
    match outcome {
        AttemptOutcome::Completed { .. } => Ending::Completed,
        AttemptOutcome::Retry { .. } => Ending::Retry,
        AttemptOutcome::Cancelled { .. } => Ending::Cancelled,
        AttemptOutcome::Snoozed { .. } => Ending::Snoozed,
        AttemptOutcome::Released => Ending::Released,
        // And whatever else there may come to be.
        _ => Ending::Discarded,
    }
}

fn verdict(settled: &Settled) -> Verdict {
    match settled {
        Settled::Applied { state } => Verdict::Applied(*state),
        Settled::Already { state } => Verdict::Already(*state),
        Settled::Lost => Verdict::Lost,
        Settled::Refused { .. } => Verdict::Refused,
        Settled::Busy => Verdict::Busy,
        other => Verdict::Unknown(format!("{other:?}")),
    }
}

#[async_trait]
impl<B: Backend> Queue for Recorder<B> {
    async fn register(&self, info: &WorkerInfo) -> Result<WorkerLease> {
        let sent = now();
        let lease = self.inner.register(info).await?;
        self.history.record(What::Registered { worker: lease.worker, sent });
        // Under another id before: the lease is lost, with all that was held under it.
        self.keys.lose();
        Ok(lease)
    }

    async fn heartbeat(&self, worker: WorkerId, owned: &[LeaseKey]) -> Result<Heartbeat> {
        let sent = now();
        let beat = self.inner.heartbeat(worker, owned).await?;
        let (expired, lost) = match &beat {
            Heartbeat::Alive { lost, .. } => (false, lost.clone()),
            _ => (true, Vec::new()),
        };
        self.history.record(What::Beat { worker, sent, expired, lost });
        Ok(beat)
    }

    async fn deregister(&self, worker: WorkerId) -> Result<()> {
        self.inner.deregister(worker).await
    }

    async fn claim(&self, r: &ClaimRequest) -> Result<Claimed> {
        let (worker, claim) = (r.worker, r.claim_id);
        self.history.record(What::Claiming { worker, claim, resend: r.resend });
        let claimed = self.inner.claim(r).await?;
        if !claimed.leases.is_empty() {
            let taken = claimed.leases.iter();
            let leases = taken.map(|l| Taken { key: l.key, attempt: l.attempt }).collect();
            self.history.record(What::Claimed { worker, claim, leases });
            let leases = claimed.leases.iter();
            leases.for_each(|lease| self.keys.claimed(lease.key, lease.kind.as_str()));
        }
        Ok(claimed)
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        settlements.iter().for_each(|one| self.settling(one, false));
        let answers = self.inner.settle(settlements).await;
        for (n, one) in settlements.iter().enumerate() {
            let verdict = match &answers {
                Ok(answers) => answers.get(n).map_or(Verdict::Missing, verdict),
                Err(error) => Verdict::Unknown(error.to_string()),
            };
            self.settled(one, verdict, false);
        }
        answers
    }

    async fn record(&self, records: &[Record]) -> Result<Vec<Recorded>> {
        self.inner.record(records).await
    }

    async fn maintain(&self, limit: u32) -> Result<Maintained> {
        let done = self.inner.maintain(limit).await?;
        if !done.rescued.is_empty() {
            self.history.record(What::Rescued { jobs: done.rescued.clone() });
        }
        Ok(done)
    }

    async fn wait(&self, queues: &[QueueName], timeout: Duration) -> Result<Wake> {
        self.inner.wait(queues, timeout).await
    }
}

#[async_trait]
impl<B: Backend> Store for Recorder<B> {
    async fn insert(&self, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
        self.inner.insert(jobs).await
    }

    async fn get(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.inner.get(id).await
    }

    async fn list(&self, query: &JobQuery) -> Result<Page<JobRecord>> {
        self.inner.list(query).await
    }

    async fn change(&self, request: &ChangeRequest) -> Result<Changed> {
        self.inner.change(request).await
    }

    async fn history(&self, id: JobId, after: Option<Position>, limit: usize) -> Result<EventPage> {
        self.inner.history(id, after, limit).await
    }

    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<Position>,
        limit: usize,
    ) -> Result<EventPage> {
        self.inner.events(filter, after, limit).await
    }

    async fn tail(&self) -> Result<Option<Position>> {
        self.inner.tail().await
    }

    async fn watch(&self, after: Option<Position>, timeout: Duration) -> Result<()> {
        self.inner.watch(after, timeout).await
    }

    async fn append(&self, id: JobId, notes: &[Note]) -> Result<()> {
        self.inner.append(id, notes).await
    }

    async fn stats(&self, query: &StatsQuery) -> Result<Stats> {
        self.inner.stats(query).await
    }

    async fn queue_settings(&self, names: &[QueueName]) -> Result<Vec<QueueSettings>> {
        self.inner.queue_settings(names).await
    }

    async fn configure_queue(
        &self,
        name: &QueueName,
        change: &QueueChange,
    ) -> Result<QueueSettings> {
        self.inner.configure_queue(name, change).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        self.inner.workers().await
    }

    async fn stage_blobs(&self, keys: &[BlobKey], ttl: Duration) -> Result<()> {
        self.inner.stage_blobs(keys, ttl).await
    }

    async fn prune(&self, retention: &Retention, limit: u32) -> Result<Pruned> {
        self.inner.prune(retention, limit).await
    }

    async fn blobs_deleted(&self, keys: &[BlobKey]) -> Result<()> {
        self.inner.blobs_deleted(keys).await
    }
}

#[async_trait]
impl<B: Backend> Backend for Recorder<B> {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn limits(&self) -> &Limits {
        self.inner.limits()
    }

    fn storage(&self) -> Arc<dyn Storage> {
        self.inner.storage()
    }

    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

impl<B: Transactional> Transactional for Recorder<B> {
    type Conn = B::Conn;

    async fn insert_in(&self, conn: &mut B::Conn, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
        self.inner.insert_in(conn, jobs).await
    }

    async fn settle_in(&self, conn: &mut B::Conn, settlement: &Settlement) -> Result<Settled> {
        self.settling(settlement, true);
        let answer = self.inner.settle_in(conn, settlement).await;
        let verdict = match &answer {
            Ok(settled) => verdict(settled),
            Err(error) => Verdict::Unknown(error.to_string()),
        };
        self.settled(settlement, verdict, true);
        answer
    }
}
