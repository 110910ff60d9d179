//! [`Store`] on Postgres: what is true about jobs.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use windlass_core::kit::upload;
use windlass_core::{
    BlobKey, ChangeRequest, Changed, Error, EventFilter, EventPage, Inserted, JobId, JobQuery,
    JobRecord, NewJob, Note, Page, Position, Pruned, QueueChange, QueueName, QueueSettings, Result,
    Retention, Selector, Stats, StatsQuery, Store, WorkerRecord,
};

use crate::PostgresBackend;
use crate::calls::{
    Append, BlobsDeleted, ChangeJobs, ConfigureQueue, Insert, Prune, StageBlobs, is_not_plain,
};
use crate::error::map;
use crate::gather::{self, Short};
use crate::ops::pace::Passed;
use crate::ops::plain;
use crate::read;
use crate::storage::PostgresStorage;

#[async_trait]
impl Store for PostgresBackend {
    async fn insert(&self, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
        self.options.limits.check_insert(jobs)?;
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        if plain::is_plain(jobs) {
            if let [job] = jobs
                && gather::is_fit(job)
            {
                match gather::insert(self, job.clone()).await? {
                    Short::Stored => return Ok(plain::inserted(jobs)),
                    Short::Long => return self.call(&Insert { jobs: jobs.to_vec() }).await,
                }
            }
            match self.try_short(|| plain::insert(&self.sql, jobs)).await {
                Ok(_) => {
                    self.hub.committed(&plain::news(jobs));
                    return Ok(plain::inserted(jobs));
                }
                Err(error) if is_not_plain(&error) => {}
                Err(error) => return Err(map("insert")(error)),
            }
        }
        self.call(&Insert { jobs: jobs.to_vec() }).await
    }

    async fn get(&self, id: JobId) -> Result<Option<JobRecord>> {
        read::get(self, id).await
    }

    async fn list(&self, query: &JobQuery) -> Result<Page<JobRecord>> {
        read::list(self, query).await
    }

    async fn change(&self, request: &ChangeRequest) -> Result<Changed> {
        let limits = &self.options.limits;
        if let Selector::Ids(ids) = &request.target
            && ids.len() > limits.batch
        {
            return Err(Error::LimitExceeded {
                what: "ids in one change".into(),
                actual: ids.len() as u64,
                limit: limits.batch as u64,
                hint: "change them in several calls".into(),
            });
        }
        let ChangeRequest { target, change, after, .. } = request.clone();
        self.call(&ChangeJobs { target, change, after }).await
    }

    async fn history(&self, id: JobId, after: Option<Position>, limit: usize) -> Result<EventPage> {
        read::history(self, id, after, limit).await
    }

    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<Position>,
        limit: usize,
    ) -> Result<EventPage> {
        read::events(self, filter, after, limit).await
    }

    async fn tail(&self) -> Result<Option<Position>> {
        read::tail(self).await
    }

    async fn watch(&self, after: Option<Position>, timeout: Duration) -> Result<()> {
        self.hub.check_open()?;
        let seq = self.hub.seq();
        if !read::goes_on(self, after).await? {
            self.hub.watch(seq, timeout).await;
        }
        self.hub.check_open()
    }

    async fn append(&self, id: JobId, notes: &[Note]) -> Result<()> {
        self.call(&Append { id, notes: notes.to_vec() }).await
    }

    async fn stats(&self, query: &StatsQuery) -> Result<Stats> {
        read::stats(self, query).await
    }

    async fn queue_settings(&self, names: &[QueueName]) -> Result<Vec<QueueSettings>> {
        read::queue_settings(self, names).await
    }

    async fn configure_queue(
        &self,
        name: &QueueName,
        change: &QueueChange,
    ) -> Result<QueueSettings> {
        change.check()?;
        let (name, change) = (name.clone(), change.clone());
        self.call(&ConfigureQueue { name, change }).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        read::workers(self).await
    }

    async fn stage_blobs(&self, keys: &[BlobKey], ttl: Duration) -> Result<()> {
        self.call(&StageBlobs { keys: keys.to_vec(), ttl }).await
    }

    async fn prune(&self, retention: &Retention, limit: u32) -> Result<Pruned> {
        let (passed, start) = (&self.upkeep.pruned, Instant::now());
        let from = passed.each_ref().map(Passed::from);
        let operation = Prune { retention: retention.clone(), limit, from };
        let (pruned, upto) = self.call(&operation).await?;
        let cost = start.elapsed();
        for (n, passed) in passed.iter().enumerate() {
            passed.looked(from[n], cost, upto[n]);
        }
        // What dead uploads left has no other regular visitor.
        upload::sweep(&PostgresStorage::new(self)).await;
        Ok(pruned)
    }

    async fn blobs_deleted(&self, keys: &[BlobKey]) -> Result<()> {
        self.call(&BlobsDeleted { keys: keys.to_vec() }).await
    }
}
