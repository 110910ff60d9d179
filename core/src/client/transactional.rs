//! What a client can do inside the host's own transaction.

use serde::Serialize;

use super::{Handle, IntoDraft};
use crate::limits::at_most;
use crate::storage::blobs_in;
use crate::{
    AttemptOutcome, Client, Context, Error, Inserted, NewJob, Payload, Result, Settled,
    Transactional,
};

impl<B: Transactional> Client<B> {
    /// Enqueues a job on the host's connection: it is there once the host's transaction commits, and never was when
    /// it rolls back. Wait for its result only after the commit.
    ///
    /// ```
    /// # use windlass_core::*;
    /// # async fn place<B: Transactional, J: Job>(client: &Client<B>, conn: &mut B::Conn, job: J) -> Result<()> {
    /// // Inside the host's transaction, beside its own writes on `conn`:
    /// let handle = client.enqueue_in(conn, job).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// `docs/guide.md` has the whole of it on SQLite and on Postgres.
    ///
    /// # Errors
    /// As for [`enqueue`](Client::enqueue), but nothing is sent again: what to do with a transaction after an error is
    /// the host's to decide. Args above [`Limits::inline_args`](crate::Limits::inline_args) are refused, because an upload
    /// has no place in a transaction: [`prepare`](Client::prepare) the job before, then [`insert_in`](Self::insert_in).
    pub async fn enqueue_in<D: IntoDraft>(
        &self,
        conn: &mut B::Conn,
        job: D,
    ) -> Result<Handle<D::Job, B>> {
        let mut handles = self.enqueue_many_in(conn, [job]).await?;
        handles.pop().ok_or_else(|| super::silent("insert_in"))
    }

    /// Enqueues jobs of one kind on the host's connection.
    ///
    /// # Errors
    /// As for [`enqueue_in`](Self::enqueue_in).
    pub fn enqueue_many_in<D: IntoDraft, I: IntoIterator<Item = D>>(
        &self,
        conn: &mut B::Conn,
        jobs: I,
    ) -> impl Future<Output = Result<Vec<Handle<D::Job, B>>>> + Send {
        let jobs: Result<Vec<_>> =
            jobs.into_iter().map(|job| job.into_draft().into_new_job()).collect();
        async move {
            let inserted = self.insert_in(conn, jobs?).await?;
            Ok(inserted.into_iter().map(|one| Handle::new(self.clone(), one)).collect())
        }
    }

    /// Inserts jobs of any kinds on the host's connection, such as [`prepare`](Client::prepare) made before.
    ///
    /// # Errors
    /// As for [`enqueue_in`](Self::enqueue_in).
    pub async fn insert_in(
        &self,
        conn: &mut B::Conn,
        mut jobs: Vec<NewJob>,
    ) -> Result<Vec<Inserted>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        for job in &mut jobs {
            at_most(
                "args in bytes, inside a transaction,",
                job.args.bytes.len(),
                self.limits().inline_args,
                "call `prepare` before the transaction and `insert_in` within, or put large data into a `Blob`",
            )?;
            super::blobs::name_blobs(job)?;
        }
        self.limits().check_insert(&jobs)?;
        self.backend.insert_in(conn, &jobs).await
    }

    /// Completes the job at hand on the host's connection, together with its follow-up jobs: what the handler wrote
    /// there and the completion commit together, and only if the handler still owns the job. Commit before the handler
    /// returns, and return the same output from it.
    ///
    /// Progress, log lines and events from before are written with it. One that is just being recorded is written a second time if the record is slow
    /// and succeeds all the same. What the handler reports after the call is kept only if the transaction is rolled back.
    ///
    /// ```
    /// # use windlass_core::*;
    /// # async fn end<B: Transactional>(client: &Client<B>, conn: &mut B::Conn, cx: &Context) -> Outcome<u64> {
    /// let receipt = 7; // what the handler returns, after its writes on `conn`
    /// client.complete_in(conn, cx, &receipt).await?;
    /// // Commit here.
    /// Ok(receipt)
    /// # }
    /// ```
    ///
    /// `docs/guide.md` has the whole of it on SQLite.
    ///
    /// # Errors
    /// [`Error::LeaseLost`] when the job belongs to somebody else by now; [`Error::LimitExceeded`] for an output above
    /// [`Limits::inline_result`](crate::Limits::inline_result), which belongs into a blob, stored before the transaction;
    /// [`Error::Invalid`] for follow-up jobs that can't be inserted. The host must roll back: return the error with `?`.
    pub async fn complete_in<S: Send + Sync>(
        &self,
        conn: &mut B::Conn,
        cx: &Context<S>,
        output: &(impl Serialize + Sync + ?Sized),
    ) -> Result<()> {
        let result = Payload::json(output)?;
        self.limits().check_result(&result)?;
        let blobs = blobs_in(&result.bytes)?;
        let result = (&*result.bytes != b"null").then_some(result);
        let outcome = AttemptOutcome::Completed { result, blobs };
        let (completing, settlement) = cx.begin_complete_in(outcome).await;
        match self.backend.settle_in(conn, &settlement).await? {
            // Only now: after a failure, what the handler returns means what it always does.
            Settled::Applied { .. } => {
                completing.applied();
                Ok(())
            }
            Settled::Already { .. } | Settled::Lost => Err(Error::LeaseLost { job: cx.job_id() }),
            Settled::Refused { reason } => Err(Error::invalid("follow-up jobs", reason)),
            // On the host's own connection the call waits instead.
            Settled::Busy => Err(Error::LeaseLost { job: cx.job_id() }),
        }
    }
}
