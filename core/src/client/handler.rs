//! What a handler can do with jobs and blobs, typed.

use super::{BlobSource, IntoDraft, PutBlob};
use crate::{Context, JobId, Result};

impl<S> Context<S> {
    /// Adds a follow-up job: it is inserted in the step that completes this one, and never if the attempt ends
    /// otherwise. To enqueue at once, whatever becomes of the attempt, use [`client`](Self::client).
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use windlass_core::{Context, Job, Outcome};
    /// # macro_rules! job { ($name:ident, $kind:literal) => {
    /// #     #[derive(Serialize, Deserialize)] struct $name { order: u64 }
    /// #     impl Job for $name { const KIND: &'static str = $kind; type Output = (); }
    /// # } }
    /// # job!(Charge, "charge"); job!(SendInvoice, "send_invoice");
    /// async fn charge(job: Charge, cx: Context) -> Outcome {
    ///     // …
    ///     cx.follow_up(SendInvoice { order: job.order }).await?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// An option that can't be used, a limit such as [`Limits::follow_ups`](crate::Limits::follow_ups), or a storage that is
    /// away when large args go there.
    pub async fn follow_up(&self, job: impl IntoDraft) -> Result<JobId> {
        let job = self.client().prepare(job).await?;
        let id = job.id;
        self.add_follow_up(job)?;
        Ok(id)
    }

    /// Stores bytes as a blob; see [`Client::put_blob`](crate::Client::put_blob). It lives on when it is part of the
    /// result or of a follow-up's args.
    pub fn put_blob(&self, source: impl Into<BlobSource>) -> PutBlob<'_> {
        self.client().put_blob(source)
    }
}
