//! What a client can do inside the host's own transaction.

use super::{Handle, IntoDraft};
use crate::{Client, Error, Inserted, NewJob, Result, Transactional};

impl<B: Transactional> Client<B> {
    /// Enqueues a job on the host's connection: it is there once the host's transaction commits, and never was when
    /// it rolls back. Wait for its result only after the commit.
    ///
    /// ```ignore
    /// let mut tx = pool.begin().await?;
    /// sqlx::query("INSERT INTO orders …").execute(&mut *tx).await?;
    /// client.enqueue_in(&mut *tx, SendInvoice { order }).await?;
    /// tx.commit().await?;
    /// ```
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
        let limit = self.limits().inline_args;
        for job in &mut jobs {
            if job.args.bytes.len() > limit {
                return Err(Error::LimitExceeded {
                    what: "args in bytes, inside a transaction,".into(),
                    actual: job.args.bytes.len() as u64,
                    limit: limit as u64,
                    hint: "call `prepare` before the transaction and `insert_in` within, or put large data into a `Blob`".into(),
                });
            }
            super::blobs::name_blobs(job)?;
        }
        self.limits().check_insert(&jobs)?;
        self.backend.insert_in(conn, &jobs).await
    }
}
