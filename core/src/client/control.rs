//! Changing jobs, singly and by filter, and the settings of queues.

use crate::{
    Backend, Change, ChangeRequest, Client, Error, EventName, JobFilter, JobId, Note, QueueChange,
    QueueName, QueueSettings, Result, Selector, Start,
};

impl<B: Backend + ?Sized> Client<B> {
    /// Cancels a job: one that waits at once, one that runs through its worker. Says whether that changed anything.
    ///
    /// # Errors
    /// When the backend can't be reached.
    pub async fn cancel(&self, id: JobId) -> Result<bool> {
        self.change_one(id, Change::Cancel { reason: None }).await
    }

    /// Cancels a job, with a reason for its history.
    ///
    /// # Errors
    /// When the backend can't be reached.
    pub async fn cancel_because(&self, id: JobId, reason: impl Into<String>) -> Result<bool> {
        self.change_one(id, Change::Cancel { reason: Some(reason.into()) }).await
    }

    /// Runs a final job again, or a waiting one at once. Says whether that changed anything.
    ///
    /// # Errors
    /// When the backend can't be reached.
    pub async fn retry(&self, id: JobId) -> Result<bool> {
        self.change_one(id, Change::Retry).await
    }

    /// Runs a job again that did not complete, or a waiting one at once; a job that completes before the call is heard keeps its
    /// result. Says whether that changed anything.
    ///
    /// # Errors
    /// When the backend can't be reached.
    pub async fn retry_unless_completed(&self, id: JobId) -> Result<bool> {
        self.change_one(id, Change::RetryUnlessCompleted).await
    }

    /// Gives a waiting job another time. Says whether that changed anything.
    ///
    /// # Errors
    /// A time above [`Limits::delay`](crate::Limits::delay), or a backend that can't be reached.
    pub async fn reschedule(&self, id: JobId, start: Start) -> Result<bool> {
        self.change_one(id, Change::Reschedule { start }).await
    }

    /// Removes a job that doesn't run, with its history. Says whether that changed anything.
    ///
    /// # Errors
    /// When the backend can't be reached.
    pub async fn delete(&self, id: JobId) -> Result<bool> {
        self.change_one(id, Change::Delete).await
    }

    /// Cancels every job that passes the filter; says how many that changed.
    ///
    /// # Errors
    /// As for [`change`](Self::change).
    pub async fn cancel_all(&self, filter: JobFilter) -> Result<u64> {
        self.change(Selector::Filter(filter), Change::Cancel { reason: None }).await
    }

    /// Retries every job that passes the filter; says how many that changed.
    ///
    /// # Errors
    /// As for [`change`](Self::change).
    pub async fn retry_all(&self, filter: JobFilter) -> Result<u64> {
        self.change(Selector::Filter(filter), Change::Retry).await
    }

    /// Gives every waiting job that passes the filter another time; says how many that changed.
    ///
    /// # Errors
    /// As for [`change`](Self::change).
    pub async fn reschedule_all(&self, filter: JobFilter, start: Start) -> Result<u64> {
        self.change(Selector::Filter(filter), Change::Reschedule { start }).await
    }

    /// Removes every job that passes the filter and doesn't run; says how many.
    ///
    /// # Errors
    /// As for [`change`](Self::change).
    pub async fn delete_all(&self, filter: JobFilter) -> Result<u64> {
        self.change(Selector::Filter(filter), Change::Delete).await
    }

    /// Applies a change to any number of jobs and says how many it changed. Each stretch of
    /// [`Limits::batch`](crate::Limits::batch) jobs is one atomic step.
    ///
    /// # Errors
    /// When the backend can't be reached; earlier stretches may have been changed. Calling again is safe.
    pub async fn change(&self, target: Selector, change: Change) -> Result<u64> {
        if let Change::Reschedule { start: Start::In(delay) } = &change {
            self.limits().check_delay("delay in seconds", *delay)?;
        }
        let Selector::Ids(ids) = target else { return self.change_pages(target, change).await };
        let mut count = 0;
        for ids in ids.chunks(self.limits().batch.max(1)) {
            count += self.change_pages(Selector::Ids(ids.to_vec()), change.clone()).await?;
        }
        Ok(count)
    }

    async fn change_pages(&self, target: Selector, change: Change) -> Result<u64> {
        let mut request = ChangeRequest::new(target, change);
        let mut count = 0;
        loop {
            let changed = self.backend.change(&request).await?;
            count += changed.count;
            request.after = changed.next;
            if request.after.is_none() {
                return Ok(count);
            }
        }
    }

    async fn change_one(&self, id: JobId, change: Change) -> Result<bool> {
        Ok(self.change(Selector::Ids(vec![id]), change).await? > 0)
    }

    /// Stops claims from a queue, in every process; jobs that run go on.
    ///
    /// # Errors
    /// A name that can't be a queue's, or a backend that can't be reached.
    pub async fn pause_queue(&self, queue: impl AsRef<str>) -> Result<QueueSettings> {
        self.configure_queue(queue, QueueChange::default().paused(true)).await
    }

    /// Allows claims from a queue again.
    ///
    /// # Errors
    /// A name that can't be a queue's, or a backend that can't be reached.
    pub async fn resume_queue(&self, queue: impl AsRef<str>) -> Result<QueueSettings> {
        self.configure_queue(queue, QueueChange::default().paused(false)).await
    }

    /// Sets how many of a queue's jobs each worker runs at once; `None` for what the worker was built with.
    ///
    /// # Errors
    /// 0, a name that can't be a queue's, or a backend that can't be reached.
    pub async fn resize_queue(
        &self,
        queue: impl AsRef<str>,
        concurrency: impl Into<Option<u32>>,
    ) -> Result<QueueSettings> {
        self.configure_queue(queue, QueueChange::default().concurrency(concurrency.into())).await
    }

    /// Sets how many jobs may wait in a queue before inserts are refused; `None` for no maximum.
    ///
    /// # Errors
    /// More than [`QueueChange::MAX_DEPTH`], a name that can't be a queue's, or a backend that can't be reached.
    pub async fn set_max_depth(
        &self,
        queue: impl AsRef<str>,
        depth: impl Into<Option<u64>>,
    ) -> Result<QueueSettings> {
        self.configure_queue(queue, QueueChange::default().max_depth(depth.into())).await
    }

    /// Changes several settings of a queue at once.
    ///
    /// # Errors
    /// What [`QueueChange::check`] refuses, a name that can't be a queue's, or a backend that can't be reached.
    pub async fn configure_queue(
        &self,
        queue: impl AsRef<str>,
        change: QueueChange,
    ) -> Result<QueueSettings> {
        self.backend.configure_queue(&QueueName::new(queue)?, &change).await
    }

    /// Reads the settings of one queue.
    ///
    /// # Errors
    /// A name that can't be a queue's, or a backend that can't be reached.
    pub async fn queue_settings(&self, queue: impl AsRef<str>) -> Result<QueueSettings> {
        let name = QueueName::new(queue)?;
        let found = self.backend.queue_settings(std::slice::from_ref(&name)).await?;
        Ok(found.into_iter().find(|s| s.name == name).unwrap_or_else(|| QueueSettings::new(name)))
    }

    /// Reads the settings of every queue that has some.
    ///
    /// # Errors
    /// When the backend can't be reached.
    pub async fn queues(&self) -> Result<Vec<QueueSettings>> {
        self.backend.queue_settings(&[]).await
    }

    /// Adds an event of the host's own to a job's history. Not repeated by itself after an outage: the event would
    /// stand there twice.
    ///
    /// # Errors
    /// An unknown job, a name that can't be an event's, data above a limit, or a backend that can't be reached.
    pub async fn emit<T: serde::Serialize + ?Sized + Sync>(
        &self,
        id: JobId,
        name: impl AsRef<str>,
        data: &T,
    ) -> Result<()> {
        let name = EventName::new(name)?;
        let data = serde_json::value::to_raw_value(data)
            .map_err(|e| Error::Encode { what: "event data".into(), source: e.into() })?;
        let note = Note::Host { name, data };
        self.limits().check_note(&note)?;
        self.backend.append(id, &[note]).await
    }
}
