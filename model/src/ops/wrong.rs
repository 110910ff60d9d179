//! A backend that is wrong in one way: to show that the comparison sees it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use windlass_core::{
    Backend, Beat, BlobKey, Capabilities, ChangeRequest, Changed, ClaimRequest, Claimed,
    EventFilter, EventPage, Heartbeat, Inserted, JobFilter, JobId, JobQuery, JobRecord, Limits,
    Maintained, MemoryBackend, NewJob, Note, OnConflict, Page, Payload, Position, Priority, Pruned,
    Queue, QueueChange, QueueName, QueueSettings, Record, Recorded, Result, Retention, Settled,
    Settlement, Start, State, Stats, StatsQuery, Storage, Store, Wake, WorkerId, WorkerInfo,
    WorkerLease, WorkerRecord,
};

/// By how much [`Slip::ComesEarly`].
const EARLY: Duration = Duration::from_secs(2);

/// How it is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slip {
    /// Not at all.
    None,
    /// Every priority is the same.
    ForgetsPriority,
    /// Tags are not kept.
    ForgetsTags,
    /// A stale settlement is said to be applied.
    SaysApplied,
    /// A claim asks for one job less.
    ClaimsTooFew,
    /// What is due stays as it is.
    NeverPromotes,
    /// Each page of a listing is the first.
    StaysOnTheFirstPage,
    /// A cancellation is not told to the worker.
    HidesCancellations,
    /// The last event of a history is missing.
    ShortensHistories,
    /// The depth of a queue can't be limited.
    ForgetsDepths,
    /// Blobs are never named for deletion.
    KeepsBlobs,
    /// The end of the feed stands where it begins.
    ForgetsTheTail,
    /// A stale record is said to be added.
    SaysRecorded,
    /// What is to come later comes a little too early.
    ComesEarly,
    /// A claim gives each of two jobs the args of the other.
    MixesArgs,
    /// A replacement keeps the args of the job that it replaces.
    KeepsOldArgs,
}

impl Slip {
    /// All that are wrong.
    pub const ALL: [Self; 15] = [
        Self::ForgetsPriority,
        Self::ForgetsTags,
        Self::SaysApplied,
        Self::ClaimsTooFew,
        Self::NeverPromotes,
        Self::StaysOnTheFirstPage,
        Self::HidesCancellations,
        Self::ShortensHistories,
        Self::ForgetsDepths,
        Self::KeepsBlobs,
        Self::ForgetsTheTail,
        Self::SaysRecorded,
        Self::ComesEarly,
        Self::MixesArgs,
        Self::KeepsOldArgs,
    ];
}

/// A memory backend that slips.
#[derive(Debug)]
pub struct Wrong {
    inner: MemoryBackend,
    slip: Slip,
}

impl Wrong {
    /// Around a memory backend.
    #[must_use]
    pub const fn new(inner: MemoryBackend, slip: Slip) -> Self {
        Self { inner, slip }
    }

    /// The args of the job that another is about to replace.
    async fn old_args(&self, job: &NewJob) -> Result<Option<Payload>> {
        let rule = job.unique.as_ref().filter(|rule| rule.on_conflict == OnConflict::Replace);
        let Some(rule) = rule else { return Ok(None) };
        let waiting = [State::Available, State::Scheduled, State::Retryable];
        let filter = JobFilter::default().states(waiting).unique_key(rule.key.clone());
        let page = self.inner.list(&JobQuery::from(filter)).await?;
        Ok(page.items.into_iter().next().map(|old| old.args))
    }
}

#[async_trait]
impl Queue for Wrong {
    async fn register(&self, info: &WorkerInfo) -> Result<WorkerLease> {
        self.inner.register(info).await
    }

    async fn heartbeats(&self, beats: &[Beat]) -> Result<Vec<Heartbeat>> {
        let mut answers = self.inner.heartbeats(beats).await?;
        for answer in &mut answers {
            if let (Slip::HidesCancellations, Heartbeat::Alive { cancel, .. }) = (self.slip, answer)
            {
                cancel.clear();
            }
        }
        Ok(answers)
    }

    async fn deregister(&self, worker: WorkerId) -> Result<()> {
        self.inner.deregister(worker).await
    }

    async fn claim(&self, request: &ClaimRequest) -> Result<Claimed> {
        let mut request = request.clone();
        if self.slip == Slip::ClaimsTooFew {
            request.queues.iter_mut().for_each(|slots| slots.limit = slots.limit.saturating_sub(1));
        }
        let mut claimed = self.inner.claim(&request).await?;
        if let (Slip::MixesArgs, [first, second, ..]) = (self.slip, &mut *claimed.leases) {
            std::mem::swap(&mut first.args, &mut second.args);
        }
        Ok(claimed)
    }

    async fn settle(&self, settlements: &[Settlement]) -> Result<Vec<Settled>> {
        let mut answers = self.inner.settle(settlements).await?;
        if self.slip == Slip::SaysApplied {
            for answer in answers.iter_mut().filter(|answer| **answer == Settled::Lost) {
                *answer = Settled::Applied { state: State::Available };
            }
        }
        Ok(answers)
    }

    async fn record(&self, records: &[Record]) -> Result<Vec<Recorded>> {
        let mut answers = self.inner.record(records).await?;
        if self.slip == Slip::SaysRecorded {
            answers.fill(Recorded::Applied);
        }
        Ok(answers)
    }

    async fn maintain(&self, limit: u32) -> Result<Maintained> {
        match self.slip {
            Slip::NeverPromotes => Ok(Maintained::default()),
            _ => self.inner.maintain(limit).await,
        }
    }

    async fn wait(&self, queues: &[QueueName], timeout: Duration) -> Result<Wake> {
        self.inner.wait(queues, timeout).await
    }

    fn hears(&self) -> bool {
        self.inner.hears()
    }
}

#[async_trait]
impl Store for Wrong {
    async fn insert(&self, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
        let mut jobs = jobs.to_vec();
        for job in &mut jobs {
            match self.slip {
                Slip::ForgetsPriority => job.priority = Priority::NORMAL,
                Slip::ForgetsTags => job.tags.clear(),
                Slip::ComesEarly => {
                    if let Start::In(delay) = &mut job.start
                        && *delay > EARLY
                    {
                        *delay -= EARLY;
                    }
                }
                Slip::KeepsOldArgs => {
                    if let Some(args) = self.old_args(job).await? {
                        job.args = args;
                    }
                }
                _ => {}
            }
        }
        self.inner.insert(&jobs).await
    }

    async fn get(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.inner.get(id).await
    }

    async fn list(&self, query: &JobQuery) -> Result<Page<JobRecord>> {
        let mut query = query.clone();
        if self.slip == Slip::StaysOnTheFirstPage {
            query.after = None;
        }
        self.inner.list(&query).await
    }

    async fn change(&self, request: &ChangeRequest) -> Result<Changed> {
        self.inner.change(request).await
    }

    async fn history(&self, id: JobId, after: Option<Position>, limit: usize) -> Result<EventPage> {
        let mut page = self.inner.history(id, after, limit).await?;
        if self.slip == Slip::ShortensHistories && !page.more {
            page.events.pop();
        }
        Ok(page)
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
        match self.slip {
            Slip::ForgetsTheTail => Ok(None),
            _ => self.inner.tail().await,
        }
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
        let mut change = change.clone();
        if self.slip == Slip::ForgetsDepths {
            change.max_depth = None;
        }
        self.inner.configure_queue(name, &change).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        self.inner.workers().await
    }

    async fn stage_blobs(&self, keys: &[BlobKey], ttl: Duration) -> Result<()> {
        self.inner.stage_blobs(keys, ttl).await
    }

    async fn prune(&self, retention: &Retention, limit: u32) -> Result<Pruned> {
        let mut pruned = self.inner.prune(retention, limit).await?;
        if self.slip == Slip::KeepsBlobs {
            pruned.blobs.clear();
        }
        Ok(pruned)
    }

    async fn blobs_deleted(&self, keys: &[BlobKey]) -> Result<()> {
        self.inner.blobs_deleted(keys).await
    }
}

#[async_trait]
impl Backend for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
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
