//! Enqueuing: one, many, or prepared jobs.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use super::draft::Options;
use super::{Draft, Handle, IntoDraft, retry};
use crate::{Backend, Client, Inserted, Job, NewJob, Result};

impl<B: Backend + ?Sized> Client<B> {
    /// Enqueues a job once awaited; options go in between:
    ///
    /// ```
    /// # use windlass_core::*;
    /// # async fn example<J: Job>(client: &Client, job: J) -> Result<()> {
    /// let handle = client.enqueue(job).queue("mail").delay(std::time::Duration::from_secs(5)).await?;
    /// println!("{} is {}", handle.id(), if handle.is_new() { "new" } else { "there already" });
    /// # Ok(()) }
    /// ```
    ///
    /// A backend that is away for a moment is asked again a few times; the job's id makes that safe.
    ///
    /// # Errors
    /// An option that can't be used, a limit, a full queue, or a backend that stays away.
    pub fn enqueue<D: IntoDraft>(&self, job: D) -> Enqueue<'_, D::Job, B> {
        Enqueue { client: self, draft: job.into_draft() }
    }

    /// Enqueues jobs of one kind, all or none, at most [`Limits::batch`](crate::Limits::batch). A duplicate doesn't
    /// fail the others; its handle leads to the job that is there.
    ///
    /// # Errors
    /// As for [`enqueue`](Self::enqueue).
    pub fn enqueue_many<D: IntoDraft, I: IntoIterator<Item = D>>(
        &self,
        jobs: I,
    ) -> impl Future<Output = Result<Vec<Handle<D::Job, B>>>> + Send + use<'_, D, I, B> {
        let drafts = collect(jobs);
        async move {
            let inserted = self.submit(drafts?).await?;
            Ok(inserted.into_iter().map(|one| Handle::new(self.clone(), one)).collect())
        }
    }

    /// Inserts jobs of any kinds, all or none, in one call. Large args go to the storage, and blobs named in
    /// the args are attached, as with [`enqueue`](Self::enqueue).
    ///
    /// # Errors
    /// As for [`enqueue`](Self::enqueue).
    pub async fn insert(&self, jobs: Vec<NewJob>) -> Result<Vec<Inserted>> {
        self.submit(Batch { given: vec![true; jobs.len()], jobs }).await
    }

    /// Makes a job ready to be inserted elsewhere: attaches the blobs that its args name, and moves large args to the
    /// storage. For host transactions, which should not wait for uploads.
    ///
    /// # Errors
    /// An option that can't be used, a limit, or a storage that is away.
    pub async fn prepare(&self, job: impl IntoDraft) -> Result<NewJob> {
        let mut job = [job.into_draft().into_new_job()?];
        self.attach_blobs(&mut job).await?;
        let [job] = job;
        Ok(job)
    }

    async fn submit(&self, batch: Batch) -> Result<Vec<Inserted>> {
        let Batch { mut jobs, given } = batch;
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        self.attach_blobs(&mut jobs).await?;
        self.limits().check_insert(&jobs)?;
        let (mut inserted, failures) = retry::repeat(|| self.backend.insert(&jobs)).await?;
        if failures > 0 {
            // A sending whose reply was lost may have been applied: then our own fresh id is found.
            for ((answer, job), given) in inserted.iter_mut().zip(&jobs).zip(given) {
                if !given && *answer == (Inserted::Duplicate { existing: job.id }) {
                    *answer = Inserted::New(job.id);
                }
            }
        }
        Ok(inserted)
    }
}

/// Jobs to insert, and which of their ids a caller chose.
struct Batch {
    jobs: Vec<NewJob>,
    given: Vec<bool>,
}

fn collect<D: IntoDraft>(jobs: impl IntoIterator<Item = D>) -> Result<Batch> {
    let jobs = jobs.into_iter();
    let mut batch = Batch {
        jobs: Vec::with_capacity(jobs.size_hint().0),
        given: Vec::with_capacity(jobs.size_hint().0),
    };
    for job in jobs {
        let draft = job.into_draft();
        batch.given.push(draft.has_given_id());
        batch.jobs.push(draft.into_new_job()?);
    }
    Ok(batch)
}

/// An enqueue under way; see [`Client::enqueue`].
#[must_use = "nothing is enqueued until this is awaited"]
pub struct Enqueue<'a, J, B: Backend + ?Sized = dyn Backend> {
    client: &'a Client<B>,
    draft: Draft<J>,
}

impl<J: Job, B: Backend + ?Sized> Enqueue<'_, J, B> {
    super::options::option_methods!();

    fn options_mut(&mut self) -> &mut Options {
        self.draft.options_mut()
    }
}

impl<'a, J: Job, B: Backend + ?Sized> IntoFuture for Enqueue<'a, J, B> {
    type Output = Result<Handle<J, B>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        let client = self.client;
        let batch = collect([self.draft]);
        Box::pin(async move {
            let inserted = client.submit(batch?).await?;
            let one = inserted.into_iter().next().ok_or_else(|| super::silent("insert"))?;
            Ok(Handle::new(client.clone(), one))
        })
    }
}

impl<J: Job, B: Backend + ?Sized> fmt::Debug for Enqueue<'_, J, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enqueue").field("draft", &self.draft).finish_non_exhaustive()
    }
}
