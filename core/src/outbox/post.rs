//! The host's side: jobs written beside its data.

use std::sync::Arc;

use super::{OutboxEntry, OutboxStats, OutboxStore, PutBack, RefusedEntry, Relay, parcel};
use crate::client::name_blobs;
use crate::limits::at_most;
use crate::{Backend, Client, IntoDraft, JobId, NewJob, Result};

/// Jobs for the backend of one client, enqueued in transactions on the database of another.
///
/// ```
/// # use windlass_core::*;
/// # use windlass_core::outbox::{Outbox, OutboxStore};
/// # async fn place<B: OutboxStore, J: Job>(local: Client<B>, jobs: Client, conn: &mut B::Conn, job: J) -> Result<()> {
/// let outbox = Outbox::new(&local, &jobs);
/// // Inside the host's transaction, beside its own writes on `conn`:
/// let id = outbox.enqueue_in(conn, job).await?;
/// # let _ = id; Ok(()) }
/// ```
///
/// The job exists on the target once a [`Relay`] has moved it over; each service runs at least one.
#[derive(Debug)]
pub struct Outbox<B: OutboxStore, T: Backend + ?Sized = dyn Backend> {
    pub(super) store: Arc<B>,
    pub(super) target: Client<T>,
}

impl<B: OutboxStore, T: Backend + ?Sized> Clone for Outbox<B, T> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), target: self.target.clone() }
    }
}

impl<B: OutboxStore, T: Backend + ?Sized> Outbox<B, T> {
    /// The outbox in the database of `local`, for jobs that run on `target`.
    ///
    /// One database has one outbox: every relay on it must have the same target.
    #[must_use]
    pub fn new(local: &Client<B>, target: &Client<T>) -> Self {
        Self { store: local.backend().clone(), target: target.clone() }
    }

    /// Enqueues a job on the host's connection. It is on its way once the host commits, and never was when it rolls back.
    ///
    /// Its unique rule is applied, and its delay ends, on the target; a delay counts from here. The rule may be
    /// [`Keep`](crate::OnConflict::Keep) or [`Reject`](crate::OnConflict::Reject). Blobs must be on the
    /// target's storage before ([`Client::put_blob`] of the target) and wait no longer than [`BLOB_TTL`](crate::client::BLOB_TTL).
    ///
    /// # Errors
    /// An option that can't be used ([`OnConflict::Replace`](crate::OnConflict::Replace) is one: its work could run twice), a limit of the target's, or a
    /// database that is away. Args above
    /// [`Limits::inline_args`](crate::Limits::inline_args) are refused: [`prepare`](Client::prepare) the job on the target before the
    /// transaction, then [`insert_in`](Self::insert_in).
    pub async fn enqueue_in(&self, conn: &mut B::Conn, job: impl IntoDraft) -> Result<JobId> {
        let job = job.into_draft().into_new_job()?;
        let id = job.id;
        self.insert_in(conn, vec![job]).await?;
        Ok(id)
    }

    /// Enqueues jobs of any kinds on the host's connection, at most [`Limits::batch`](crate::Limits::batch) of the target.
    ///
    /// # Errors
    /// As for [`enqueue_in`](Self::enqueue_in).
    pub async fn insert_in(&self, conn: &mut B::Conn, mut jobs: Vec<NewJob>) -> Result<Vec<JobId>> {
        let limits = self.target.limits();
        for job in &mut jobs {
            at_most(
                "args in bytes, inside a transaction,",
                job.args.bytes.len(),
                limits.inline_args,
                "call `prepare` of the target before the transaction and `insert_in` within, or put large data into a `Blob`",
            )?;
            name_blobs(job)?;
        }
        limits.check_insert(&jobs)?;
        let entries = jobs.iter().map(parcel::pack).collect::<Result<Vec<OutboxEntry>>>()?;
        if !entries.is_empty() {
            self.store.post_in(conn, &entries).await?;
        }
        Ok(jobs.into_iter().map(|job| job.id).collect())
    }

    /// Moves entries to the target; see [`Relay`].
    pub fn relay(&self) -> Relay<B, T> {
        Relay::new(self.clone())
    }

    /// Counts what was not delivered yet. For health checks: a growing age means that no relay runs or the target is away.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn stats(&self) -> Result<OutboxStats> {
        self.store.outbox_stats().await
    }

    /// Reads entries that the target refused, oldest first, at most `limit`. They are offered again, more and more
    /// seldom, until the target takes them or they are [discarded](Self::discard).
    ///
    /// # Errors
    /// When the database is away.
    pub async fn refused(&self, limit: u32) -> Result<Vec<RefusedEntry>> {
        self.store.refused(limit).await
    }

    /// Offers entries again at once, after what was wrong has been mended.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn offer_again(&self, ids: &[JobId]) -> Result<()> {
        let now = |id: &JobId| PutBack::new(*id, std::time::Duration::ZERO, None);
        self.store.put_back(&ids.iter().map(now).collect::<Vec<_>>()).await
    }

    /// Removes entries without delivering them.
    ///
    /// # Errors
    /// When the database is away.
    pub async fn discard(&self, ids: &[JobId]) -> Result<()> {
        self.store.delivered(ids).await
    }
}
