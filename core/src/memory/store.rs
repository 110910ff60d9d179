//! [`Store`] on the memory backend: each call is one step under the lock.

use std::time::Duration;

use async_trait::async_trait;

use super::MemoryBackend;
use super::clock::after;
use crate::limits::at_most;
use crate::{
    BlobKey, ChangeRequest, Changed, EventFilter, EventPage, Inserted, JobId, JobQuery, JobRecord,
    NewJob, Note, Page, Position, Pruned, QueueChange, QueueName, QueueSettings, Result, Retention,
    Stats, StatsQuery, Store, WorkerRecord,
};

#[async_trait]
impl Store for MemoryBackend {
    async fn insert(&self, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
        self.step(|inner, now| inner.insert(jobs, now))
    }

    async fn get(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.step(|inner, _| Ok(inner.get(id)))
    }

    async fn list(&self, query: &JobQuery) -> Result<Page<JobRecord>> {
        self.step(|inner, _| inner.list(query))
    }

    async fn change(&self, request: &ChangeRequest) -> Result<Changed> {
        let ChangeRequest { target, change, after } = request;
        self.step(|inner, now| inner.change(target, change, after.as_ref(), now))
    }

    async fn history(&self, id: JobId, after: Option<Position>, limit: usize) -> Result<EventPage> {
        self.step(|inner, _| inner.history(id, after, limit))
    }

    async fn events(
        &self,
        filter: &EventFilter,
        after: Option<Position>,
        limit: usize,
    ) -> Result<EventPage> {
        self.step(|inner, _| inner.events(filter, after, limit))
    }

    async fn tail(&self) -> Result<Option<Position>> {
        self.step(|inner, _| Ok(inner.feed.last()))
    }

    async fn watch(&self, after: Option<Position>, timeout: Duration) -> Result<()> {
        self.until(&self.shared.feed, |inner| inner.feed.last() > after, timeout).await?;
        Ok(())
    }

    async fn append(&self, id: JobId, notes: &[Note]) -> Result<()> {
        self.step(|inner, now| inner.append(id, notes, now))
    }

    async fn stats(&self, query: &StatsQuery) -> Result<Stats> {
        self.step(|inner, now| Ok(inner.stats(query, now)))
    }

    async fn queue_settings(&self, names: &[QueueName]) -> Result<Vec<QueueSettings>> {
        self.step(|inner, _| {
            if names.is_empty() {
                return Ok(inner.queues.values().cloned().collect());
            }
            Ok(names.iter().map(|name| inner.settings(name)).collect())
        })
    }

    async fn configure_queue(
        &self,
        name: &QueueName,
        change: &QueueChange,
    ) -> Result<QueueSettings> {
        change.check()?;
        self.step(|inner, _| Ok(inner.configure_queue(name, change)))
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        self.step(|inner, _| Ok(inner.workers()))
    }

    async fn stage_blobs(&self, keys: &[BlobKey], ttl: Duration) -> Result<()> {
        self.step(|inner, now| {
            at_most(
                "blobs in one staging",
                keys.len(),
                inner.limits.batch,
                "stage in several calls",
            )?;
            keys.iter().for_each(|key| inner.blobs.stage(key, after(now, ttl)));
            Ok(())
        })
    }

    async fn prune(&self, retention: &Retention, limit: u32) -> Result<Pruned> {
        self.step(|inner, now| Ok(inner.prune(retention, limit, now)))
    }

    async fn blobs_deleted(&self, keys: &[BlobKey]) -> Result<()> {
        self.step(|inner, _| {
            inner.blobs.deleted(keys);
            Ok(())
        })
    }
}
