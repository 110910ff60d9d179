//! Reading: jobs, their args, results and history, counts and workers.

use futures_core::Stream;
use futures_util::stream;

use crate::{
    Backend, Client, Error, Event, Job, JobId, JobQuery, JobRecord, Page, Payload, QueueName,
    Result, State, Stats, StatsQuery, WorkerRecord,
};

impl<B: Backend + ?Sized> Client<B> {
    /// Reads one job; `None` when there is none with this id.
    ///
    /// # Errors
    /// When the backend can't be read.
    pub async fn get(&self, id: JobId) -> Result<Option<JobRecord>> {
        self.backend.get(id).await
    }

    /// Reads a page of jobs, newest first unless the query says otherwise.
    ///
    /// # Errors
    /// A page size of 0 or above [`Limits::batch`](crate::Limits::batch), or a backend that can't be read.
    pub async fn list(&self, query: impl Into<JobQuery>) -> Result<Page<JobRecord>> {
        self.backend.list(&query.into()).await
    }

    /// Reads all jobs of a query, page after page. An error ends the stream.
    pub fn list_all<Q: Into<JobQuery>>(
        &self,
        query: Q,
    ) -> impl Stream<Item = Result<JobRecord>> + Send + Unpin + use<Q, B> {
        let start = Some((self.clone(), query.into()));
        let pages = stream::try_unfold(start, |at| async move {
            let Some((client, mut query)) = at else { return Ok::<_, Error>(None) };
            let page = client.backend.list(&query).await?;
            let next = page.next.map(|cursor| {
                query.after = Some(cursor);
                (client, query)
            });
            Ok(Some((stream::iter(page.items.into_iter().map(Ok)), next)))
        });
        Box::pin(futures_util::TryStreamExt::try_flatten(pages))
    }

    /// Reads the whole history of a job that is kept, oldest first. Empty for an unknown job.
    ///
    /// # Errors
    /// When the backend can't be read.
    pub async fn history(&self, id: JobId) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        let mut after = None;
        loop {
            let page = self.backend.history(id, after, self.page_size()).await?;
            events.extend(page.events);
            if !page.more {
                return Ok(events);
            }
            after = page.next;
        }
    }

    /// Counts jobs by queue, kind and state, and tells the ages of the oldest.
    ///
    /// # Errors
    /// When the backend can't be read.
    pub async fn stats(&self) -> Result<Stats> {
        self.backend.stats(&StatsQuery::default()).await
    }

    /// The same of some queues only.
    ///
    /// # Errors
    /// A name that can't be a queue's, or a backend that can't be read.
    pub async fn stats_of<Q: AsRef<str>>(
        &self,
        queues: impl IntoIterator<Item = Q>,
    ) -> Result<Stats> {
        let queues = queues.into_iter().map(QueueName::new).collect::<Result<Vec<_>>>()?;
        self.backend.stats(&StatsQuery { queues }).await
    }

    /// Reads the workers that have a lease.
    ///
    /// # Errors
    /// When the backend can't be read.
    pub async fn workers(&self) -> Result<Vec<WorkerRecord>> {
        self.backend.workers().await
    }

    /// Reads the args of a record, from the storage if they are there.
    ///
    /// # Errors
    /// A record of another kind, args that are not those of a `J`, or a storage that can't be read.
    pub async fn args<J: Job>(&self, record: &JobRecord) -> Result<J> {
        check_kind::<J>(record)?;
        let args = self.load(&record.args).await?.parse();
        args.map_err(|e| e.decoding(format!("args of job {} of kind `{}`", record.id, J::KIND)))
    }

    /// Reads the result of a completed job, from the storage if it is there; `None` for a job that is not completed.
    ///
    /// # Errors
    /// A record of another kind, a result that is not what `J` returns, or a storage that can't be read.
    pub async fn output<J: Job>(&self, record: &JobRecord) -> Result<Option<J::Output>> {
        check_kind::<J>(record)?;
        match &record.result {
            _ if record.state != State::Completed => Ok(None),
            Some(result) => {
                let result = self.load(result).await?.parse().map(Some);
                result.map_err(|e| {
                    e.decoding(format!("result of job {} of kind `{}`", record.id, J::KIND))
                })
            }
            // A backend may leave out a result that says nothing.
            None => Payload::json(&())?.parse().map(Some),
        }
    }

    /// How many items to read at a time.
    pub(super) fn page_size(&self) -> usize {
        self.limits().batch.clamp(1, 500)
    }
}

fn check_kind<J: Job>(record: &JobRecord) -> Result<()> {
    if record.kind.as_str() == J::KIND {
        return Ok(());
    }
    let why = format!("job {} is `{}`, asked for as `{}`", record.id, record.kind, J::KIND);
    Err(Error::invalid("kind", why))
}
