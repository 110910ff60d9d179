//! [`Store`] on Redis: what is true about jobs.

use std::time::Duration;

use async_trait::async_trait;
use windlass_core::kit::upload;
use windlass_core::{
    BlobKey, ChangeRequest, Changed, EventFilter, EventPage, Inserted, JobId, JobQuery, JobRecord,
    NewJob, Note, Page, Position, Pruned, QueueChange, QueueName, QueueSettings, Result, Retention,
    Stats, StatsQuery, Store, WorkerRecord,
};

use crate::RedisBackend;
use crate::ops::{blobs, change, insert, plain, prune, record, settings};
use crate::read;
use crate::storage::RedisStorage;

#[async_trait]
impl Store for RedisBackend {
    async fn insert(&self, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
        match jobs {
            [job] if plain::is_small(job) => plain::gathered(&self.inner, job).await,
            _ => insert::insert(&self.inner, jobs).await,
        }
    }

    async fn get(&self, id: JobId) -> Result<Option<JobRecord>> {
        read::get(&self.inner, id).await
    }

    async fn list(&self, query: &JobQuery) -> Result<Page<JobRecord>> {
        read::list(&self.inner, query).await
    }

    async fn change(&self, request: &ChangeRequest) -> Result<Changed> {
        change::change(&self.inner, request).await
    }

    async fn history(&self, id: JobId, after: Option<Position>, limit: usize) -> Result<EventPage> {
        read::history(&self.inner, id, after, limit).await
    }

    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<Position>,
        limit: usize,
    ) -> Result<EventPage> {
        read::events(&self.inner, filter, after, limit).await
    }

    async fn tail(&self) -> Result<Option<Position>> {
        read::tail(&self.inner).await
    }

    async fn watch(&self, after: Option<Position>, timeout: Duration) -> Result<()> {
        let hub = &self.inner.hub;
        hub.check_open()?;
        let growth = hub.growth();
        if !read::goes_on(&self.inner, after).await? {
            hub.watch(growth, timeout).await;
        }
        hub.check_open()
    }

    async fn append(&self, id: JobId, notes: &[Note]) -> Result<()> {
        record::append(&self.inner, id, notes).await
    }

    async fn stats(&self, query: &StatsQuery) -> Result<Stats> {
        read::stats(&self.inner, query).await
    }

    async fn queue_settings(&self, names: &[QueueName]) -> Result<Vec<QueueSettings>> {
        settings::read(&self.inner, names).await
    }

    async fn configure_queue(
        &self,
        name: &QueueName,
        change: &QueueChange,
    ) -> Result<QueueSettings> {
        settings::configure(&self.inner, name, change).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        read::workers(&self.inner).await
    }

    async fn stage_blobs(&self, keys: &[BlobKey], ttl: Duration) -> Result<()> {
        blobs::stage(&self.inner, keys, ttl).await
    }

    async fn prune(&self, retention: &Retention, limit: u32) -> Result<Pruned> {
        let pruned = prune::prune(&self.inner, retention, limit).await?;
        // What dead uploads left has no other regular visitor.
        upload::sweep(&RedisStorage::new(self)).await;
        Ok(pruned)
    }

    async fn blobs_deleted(&self, keys: &[BlobKey]) -> Result<()> {
        blobs::deleted(&self.inner, keys).await
    }
}
