//! A backend that writes down what goes through it: the same for real servers, for the memory backend and in a simulation.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use windlass_core::{
    Backend, Beat, BlobKey, Capabilities, Change, ChangeRequest, Changed, ClaimRequest, Claimed,
    EventFilter, EventPage, Heartbeat, Inserted, JobId, JobQuery, JobRecord, Lease, LeaseKey,
    Limits, Maintained, NewJob, Note, Page, Position, Pruned, Queue, QueueChange, QueueName,
    QueueSettings, Record, Recorded, Result, Retention, Selector, Settled, Settlement, Stats,
    StatsQuery, Storage, Store, Transactional, Wake, WorkerId, WorkerInfo, WorkerLease,
    WorkerRecord,
};

use crate::history::{Answer, Ending, Slots, Taken, Verdict, What};

/// Where a process writes down what it does.
pub trait Journal: Debug + Send + Sync + 'static {
    /// Now, by the clock of the history.
    fn now(&self) -> u64;

    /// Writes down what happened.
    fn record(&self, what: What);

    /// A lease was granted: all that was held under another id is lost.
    fn registered(&self) {}

    /// A job was claimed.
    fn claimed(&self, _: &Lease) {}

    /// A key is worth nothing any more.
    fn settled(&self, _: LeaseKey) {}
}

/// A backend, and the history of what was asked of it.
#[derive(Debug)]
pub struct Recorder<B: ?Sized, J> {
    journal: J,
    inner: Arc<B>,
}

impl<B: ?Sized, J: Journal> Recorder<B, J> {
    /// Records what goes through a backend.
    pub const fn new(inner: Arc<B>, journal: J) -> Self {
        Self { journal, inner }
    }

    /// Where it is written down.
    pub const fn journal(&self) -> &J {
        &self.journal
    }

    fn settling(&self, settlement: &Settlement, in_host: bool) {
        let (key, ending) = (settlement.key, Ending::of(&settlement.outcome));
        self.journal.record(What::Settling { key, ending, in_host });
        for job in &settlement.follow_ups {
            self.journal.record(What::FollowUp { key, child: job.id });
            self.journal.record(What::sent(job, false));
        }
    }

    fn settled(&self, settlement: &Settlement, verdict: Verdict, in_host: bool) {
        let (key, ending) = (settlement.key, Ending::of(&settlement.outcome));
        let gone = matches!(verdict, Verdict::Applied(_) | Verdict::Already(_) | Verdict::Lost);
        self.journal.record(What::Settled { key, ending, verdict, in_host });
        if gone && !in_host {
            self.journal.settled(key);
        }
    }
}

/// Jobs under way. If no answer comes, since the caller waits no longer, they may be stored or not.
struct UnderWay<'a, J: Journal> {
    journal: &'a J,
    jobs: &'a [NewJob],
}

impl<'a, J: Journal> UnderWay<'a, J> {
    fn new(journal: &'a J, jobs: &'a [NewJob]) -> Self {
        jobs.iter().for_each(|job| journal.record(What::sent(job, false)));
        Self { journal, jobs }
    }

    fn fail(&self, error: &str) {
        for job in self.jobs {
            self.journal.record(What::Failed { job: job.id, error: error.to_owned() });
        }
    }

    fn answered(mut self, answer: &Result<Vec<Inserted>>) {
        match answer {
            Ok(answers) => {
                for (job, inserted) in self.jobs.iter().zip(answers) {
                    let answer = Answer::of(job.id, inserted);
                    self.journal.record(What::Acked { job: job.id, answer });
                }
            }
            Err(error) => self.fail(&error.to_string()),
        }
        self.jobs = &[];
    }
}

impl<J: Journal> Drop for UnderWay<'_, J> {
    fn drop(&mut self) {
        self.fail("nobody waited for the answer");
    }
}

/// What an operator is about to do to jobs that are named. What was deleted is told by whoever sees that it is gone: a job that runs stays.
pub fn changing(request: &ChangeRequest) -> Vec<What> {
    let Selector::Ids(jobs) = &request.target else { return Vec::new() };
    let what = |job: &JobId| match request.change {
        Change::Cancel { .. } => Some(What::Cancelling { job: *job }),
        Change::Retry | Change::RetryUnlessCompleted => Some(What::Retrying { job: *job }),
        _ => None,
    };
    jobs.iter().filter_map(what).collect()
}

#[async_trait]
impl<B: Backend + ?Sized, J: Journal> Queue for Recorder<B, J> {
    async fn register(&self, info: &WorkerInfo) -> Result<WorkerLease> {
        let sent = self.journal.now();
        let lease = self.inner.register(info).await?;
        self.journal.record(What::Registered { worker: lease.worker, sent });
        self.journal.registered();
        Ok(lease)
    }

    async fn heartbeats(&self, beats: &[Beat]) -> Result<Vec<Heartbeat>> {
        let sent = self.journal.now();
        let answers = self.inner.heartbeats(beats).await?;
        for (Beat { worker, .. }, answer) in beats.iter().zip(&answers) {
            let (expired, lost) = match answer {
                Heartbeat::Alive { lost, .. } => (false, lost.clone()),
                _ => (true, Vec::new()),
            };
            self.journal.record(What::Beat { worker: *worker, sent, expired, lost });
        }
        Ok(answers)
    }

    async fn deregister(&self, worker: WorkerId) -> Result<()> {
        self.journal.record(What::LeaseEnded { worker });
        self.inner.deregister(worker).await
    }

    async fn claim(&self, r: &ClaimRequest) -> Result<Claimed> {
        let (worker, claim) = (r.worker, r.claim_id);
        let slots = Slots::of(r);
        self.journal.record(What::Claiming { worker, claim, resend: r.resend, slots });
        let claimed = self.inner.claim(r).await?;
        if !claimed.leases.is_empty() {
            let leases = claimed.leases.iter().map(Taken::of).collect();
            self.journal.record(What::Claimed { worker, claim, leases });
            claimed.leases.iter().for_each(|lease| self.journal.claimed(lease));
        }
        Ok(claimed)
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        settlements.iter().for_each(|one| self.settling(one, false));
        let answers = self.inner.settle(settlements).await;
        // An answer belongs to what was sent last and has none: of one key in a list the last comes first.
        for (n, one) in settlements.iter().enumerate().rev() {
            let verdict = match &answers {
                Ok(answers) => answers.get(n).map_or(Verdict::Missing, Verdict::of),
                Err(error) => Verdict::Unknown(error.to_string()),
            };
            self.settled(one, verdict, false);
        }
        answers
    }

    async fn record(&self, records: &[Record]) -> Result<Vec<Recorded>> {
        records.iter().for_each(|one| self.journal.record(What::Noting { key: one.key }));
        let answers = self.inner.record(records).await?;
        for (one, answer) in records.iter().zip(&answers).rev() {
            let added = matches!(answer, Recorded::Applied);
            self.journal.record(What::Noted { key: one.key, added });
        }
        Ok(answers)
    }

    async fn maintain(&self, limit: u32) -> Result<Maintained> {
        let done = self.inner.maintain(limit).await?;
        if !done.rescued.is_empty() {
            self.journal.record(What::Rescued { jobs: done.rescued.clone() });
        }
        Ok(done)
    }

    async fn wait(&self, queues: &[QueueName], timeout: Duration) -> Result<Wake> {
        self.inner.wait(queues, timeout).await
    }

    fn hears(&self) -> bool {
        self.inner.hears()
    }
}

#[async_trait]
impl<B: Backend + ?Sized, J: Journal> Store for Recorder<B, J> {
    async fn insert(&self, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
        let under_way = UnderWay::new(&self.journal, jobs);
        let answer = self.inner.insert(jobs).await;
        under_way.answered(&answer);
        answer
    }

    async fn get(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.inner.get(id).await
    }

    async fn list(&self, query: &JobQuery) -> Result<Page<JobRecord>> {
        self.inner.list(query).await
    }

    async fn change(&self, request: &ChangeRequest) -> Result<Changed> {
        let asked = changing(request);
        asked.iter().for_each(|what| self.journal.record(what.clone()));
        let answer = self.inner.change(request).await?;
        // Of several it is not told which were changed.
        if let [What::Cancelling { job } | What::Retrying { job }] = asked.as_slice() {
            self.journal.record(What::Changed { job: *job, changed: answer.count > 0 });
        }
        Ok(answer)
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
impl<B: Backend + ?Sized, J: Journal> Backend for Recorder<B, J> {
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

impl<B: Transactional, J: Journal> Transactional for Recorder<B, J> {
    type Conn = B::Conn;

    async fn insert_in(&self, conn: &mut B::Conn, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
        self.inner.insert_in(conn, jobs).await
    }

    async fn settle_in(&self, conn: &mut B::Conn, settlement: &Settlement) -> Result<Settled> {
        self.settling(settlement, true);
        let answer = self.inner.settle_in(conn, settlement).await;
        let verdict = match &answer {
            Ok(settled) => Verdict::of(settled),
            Err(error) => Verdict::Unknown(error.to_string()),
        };
        self.settled(settlement, verdict, true);
        answer
    }
}

#[cfg(test)]
mod tests;
