//! [`Store`] on SQLite: what is true about jobs.

use std::time::Duration;

use async_trait::async_trait;
use windlass_core::kit::upload;
use windlass_core::{
    BlobKey, ChangeRequest, Changed, Error, EventFilter, EventPage, Inserted, JobId, JobQuery,
    JobRecord, NewJob, Note, Page, Position, Pruned, QueueChange, QueueName, QueueSettings, Result,
    Retention, Selector, Stats, StatsQuery, Store, WorkerRecord,
};

use crate::SqliteBackend;
use crate::batch::texts;
use crate::calls::{Append, BlobsDeleted, ChangeJobs, ConfigureQueue, Prune, StageBlobs};
use crate::ops::settings;
use crate::read;
use crate::records::record;
use crate::storage::SqliteStorage;

#[async_trait]
impl Store for SqliteBackend {
    async fn insert(&self, jobs: &[NewJob]) -> Result<Vec<Inserted>> {
        self.options.limits.check_insert(jobs)?;
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        self.writer.insert(jobs.to_vec()).await
    }

    async fn get(&self, id: JobId) -> Result<Option<JobRecord>> {
        let query = sqlx::query(include_str!("sql/get.sql")).bind(id.as_bytes().to_vec());
        let rows = self.readers.fetch("get", query).await?;
        rows.first().map(record).transpose()
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
        self.writer.call(ChangeJobs { target, change, after }).await
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
        let seq = self.hub.seq();
        if !read::goes_on(self, after).await? {
            self.hub.watch(seq, timeout).await;
        }
        self.hub.check_open()
    }

    async fn append(&self, id: JobId, notes: &[Note]) -> Result<()> {
        self.writer.call(Append { id, notes: notes.to_vec() }).await
    }

    async fn stats(&self, query: &StatsQuery) -> Result<Stats> {
        read::stats(self, query).await
    }

    async fn queue_settings(&self, names: &[QueueName]) -> Result<Vec<QueueSettings>> {
        let list = texts(names.iter().map(|name| name.as_str()));
        let query = sqlx::query(include_str!("sql/queue_settings.sql")).bind(list);
        let rows = self.readers.fetch("queue_settings", query).await?;
        let stored = rows.iter().map(|row| settings::read("queue_settings", row));
        let stored = stored.collect::<Result<Vec<_>>>()?;
        if names.is_empty() {
            return Ok(stored);
        }
        let of = |name: &QueueName| {
            let found = stored.iter().find(|settings| settings.name == *name);
            found.cloned().unwrap_or_else(|| QueueSettings::new(name.clone()))
        };
        Ok(names.iter().map(of).collect())
    }

    async fn configure_queue(
        &self,
        name: &QueueName,
        change: &QueueChange,
    ) -> Result<QueueSettings> {
        change.check()?;
        let (name, change) = (name.clone(), change.clone());
        self.writer.call(ConfigureQueue { name, change }).await
    }

    async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        read::workers(self).await
    }

    async fn stage_blobs(&self, keys: &[BlobKey], ttl: Duration) -> Result<()> {
        self.writer.call(StageBlobs { keys: keys.to_vec(), ttl }).await
    }

    async fn prune(&self, retention: &Retention, limit: u32) -> Result<Pruned> {
        let pruned = self.writer.call(Prune { retention: retention.clone(), limit }).await?;
        // What dead uploads left has no other regular visitor.
        upload::sweep(&SqliteStorage::new(self)).await;
        Ok(pruned)
    }

    async fn blobs_deleted(&self, keys: &[BlobKey]) -> Result<()> {
        self.writer.call(BlobsDeleted { keys: keys.to_vec() }).await
    }
}
