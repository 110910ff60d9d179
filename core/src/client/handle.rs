//! [`Handle`]: a job from the enqueuing side, and the wait for its result.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use super::retry::{self, Pace};
use crate::{AttemptError, Backend, Client, Error, Inserted, Job, JobId, JobRecord, Result, State};

/// A job that was enqueued, and a way to its result. Cheap to clone.
pub struct Handle<J, B: Backend + ?Sized = dyn Backend> {
    client: Client<B>,
    inserted: Inserted,
    job: PhantomData<fn() -> J>,
}

impl<J, B: Backend + ?Sized> Clone for Handle<J, B> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), inserted: self.inserted, job: PhantomData }
    }
}

impl<J, B: Backend + ?Sized> fmt::Debug for Handle<J, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Handle").field(&self.inserted).finish()
    }
}

impl<B: Backend + ?Sized> Client<B> {
    /// A handle on a job known by its id, of a kind that the caller knows.
    pub fn handle<J: Job>(&self, id: JobId) -> Handle<J, B> {
        Handle::new(self.clone(), Inserted::Duplicate { existing: id })
    }
}

impl<J: Job, B: Backend + ?Sized> Handle<J, B> {
    pub(super) fn new(client: Client<B>, inserted: Inserted) -> Self {
        Self { client, inserted, job: PhantomData }
    }

    /// The job that stands in the store for the one enqueued: itself, or the holder of its unique key.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.inserted.id()
    }

    /// What became of the insert.
    #[must_use]
    pub fn inserted(&self) -> Inserted {
        self.inserted
    }

    /// Whether a job was added.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.inserted.is_new()
    }

    /// The job as it is now; `None` when it was deleted or pruned.
    ///
    /// # Errors
    /// When the backend can't be read.
    pub async fn record(&self) -> Result<Option<JobRecord>> {
        self.client.get(self.id()).await
    }

    /// Waits for the end of the job and gives what its handler returned. Waits as long as it takes, also through
    /// an outage of the backend, unless [`ResultOf::timeout`] says otherwise. Dropping it does nothing to the job.
    pub fn result(&self) -> ResultOf<'_, J, B> {
        ResultOf { handle: self, timeout: None }
    }

    async fn wait(&self) -> Result<J::Output, NoResult> {
        let job = self.id();
        if let Inserted::Rejected { existing } = self.inserted() {
            return Err(NoResult::Rejected { existing });
        }
        let Some(record) = self.wait_for_record().await? else {
            return Err(NoResult::Gone { job });
        };
        match record.state {
            State::Completed => {
                self.client.output::<J>(&record).await?.ok_or(NoResult::Gone { job })
            }
            State::Cancelled => Err(NoResult::Cancelled { job, errors: record.errors }),
            _ => Err(NoResult::Discarded { job, errors: record.errors }),
        }
    }

    /// The record once it is final; `None` when it is gone.
    async fn wait_for_record(&self) -> Result<Option<JobRecord>> {
        let pace = Pace::new();
        let mut failures = 0;
        loop {
            match self.look(&pace).await {
                Ok(Some(end)) => return Ok(end),
                Ok(None) => failures = 0,
                Err(error) if retry::passing(&error) => {
                    failures += 1;
                    tracing::debug!(%error, failures, job = %self.id(), "can't read the job, trying again");
                    tokio::time::sleep(retry::pause(failures)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// One reading and one wait for news. The feed's end is read first, so that no change falls in between.
    async fn look(&self, pace: &Pace) -> Result<Option<Option<JobRecord>>> {
        let tail = self.client.backend().tail().await?;
        match self.record().await? {
            Some(record) if !record.state.is_final() => {
                pace.watch(&**self.client.backend(), tail).await?;
                Ok(None)
            }
            end => Ok(Some(end)),
        }
    }
}

/// Why there is no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NoResult {
    /// The job was cancelled, by a user or by its handler.
    #[error("job {job} was cancelled{}", last(errors))]
    Cancelled {
        /// The job.
        job: JobId,
        /// The failures of its attempts, oldest first.
        errors: Vec<AttemptError>,
    },
    /// The job ran out of attempts, or its handler gave it up.
    #[error("job {job} was discarded{}", last(errors))]
    Discarded {
        /// The job.
        job: JobId,
        /// The failures of its attempts, oldest first.
        errors: Vec<AttemptError>,
    },
    /// The job is not in the store: deleted, pruned, or enqueued in a transaction that was rolled back or is still open.
    #[error("job {job} is not in the store: it was deleted or pruned, or never committed")]
    Gone {
        /// The job.
        job: JobId,
    },
    /// Nothing was enqueued, since the unique key is held and the rule says [`OnConflict::Reject`](crate::OnConflict::Reject).
    /// [`Client::handle`] of the holder waits for that job instead.
    #[error("the job was not enqueued: job {existing} holds its unique key")]
    Rejected {
        /// The holder.
        existing: JobId,
    },
    /// The result could not be waited for or read.
    #[error(transparent)]
    Failed(#[from] Error),
}

fn last(errors: &[AttemptError]) -> String {
    errors
        .last()
        .map_or_else(String::new, |e| format!(" after attempt {}: {}", e.attempt, e.message))
}

/// The wait for a result; see [`Handle::result`].
#[must_use = "nothing is waited for until this is awaited"]
#[derive(Debug)]
pub struct ResultOf<'a, J, B: Backend + ?Sized = dyn Backend> {
    handle: &'a Handle<J, B>,
    timeout: Option<Duration>,
}

impl<J: Job, B: Backend + ?Sized> ResultOf<'_, J, B> {
    /// Waits no longer than this; then [`NoResult::Failed`] with [`Error::Timeout`]. The job goes on.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }
}

impl<'a, J: Job, B: Backend + ?Sized> IntoFuture for ResultOf<'a, J, B> {
    type Output = Result<J::Output, NoResult>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let Self { handle, timeout } = self;
        Box::pin(async move {
            let Some(after) = timeout else { return handle.wait().await };
            tokio::time::timeout(after, handle.wait()).await.unwrap_or_else(|_| {
                let what = format!("the wait for the result of job {}", handle.id()).into();
                Err(NoResult::Failed(Error::Timeout { what, after }))
            })
        })
    }
}
