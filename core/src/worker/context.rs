//! What a handler gets besides its args: [`Context`].

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::attempt::{Attempt, CancelCause};
use super::course::Completing;
use crate::limits::{at_most, cut};
use crate::{
    AttemptOutcome, Client, Error, EventName, JobId, Kind, LogLevel, NewJob, Note, Progress,
    QueueName, Result, Settlement, Storage, Tag,
};

/// How long notes that are on their way have to arrive before the host's transaction writes them as well. Short: the host may hold the very lock
/// that they wait for.
const ARRIVAL: Duration = Duration::from_millis(10);

/// The attempt at hand, for its handler: the shared state, facts about the job, and what the handler can do
/// besides returning a result. Cheap to clone.
pub struct Context<S = ()> {
    attempt: Arc<Attempt>,
    state: Arc<S>,
}

impl<S> Clone for Context<S> {
    fn clone(&self) -> Self {
        Self { attempt: self.attempt.clone(), state: self.state.clone() }
    }
}

impl<S> fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("attempt", &self.attempt).finish_non_exhaustive()
    }
}

impl<S> Context<S> {
    pub(crate) fn new(attempt: Arc<Attempt>, state: Arc<S>) -> Self {
        Self { attempt, state }
    }

    /// The state given to [`Worker::state`](super::Worker::state).
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The job.
    #[must_use]
    pub fn job_id(&self) -> JobId {
        self.attempt.key().job
    }

    /// The same at every attempt of this job and for no other job: the key to hand to other services, so
    /// that a repeated attempt has no second effect there.
    #[must_use]
    pub fn idempotency_key(&self) -> String {
        self.job_id().to_string()
    }

    /// The job's kind.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.attempt.lease.kind
    }

    /// The queue it came from.
    #[must_use]
    pub fn queue(&self) -> &QueueName {
        &self.attempt.lease.queue
    }

    /// This attempt, from 1.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt.lease.attempt
    }

    /// Attempts before the job is discarded.
    #[must_use]
    pub fn max_attempts(&self) -> u32 {
        self.attempt.lease.max_attempts
    }

    /// The job's metadata.
    #[must_use]
    pub fn meta(&self) -> &BTreeMap<String, String> {
        &self.attempt.lease.meta
    }

    /// The job's tags.
    #[must_use]
    pub fn tags(&self) -> &[Tag] {
        &self.attempt.lease.tags
    }

    /// When the attempt is to be over; `None` for no deadline.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.attempt.deadline.map(tokio::time::Instant::into_std)
    }

    /// How long until the deadline, zero when it has passed; `None` for no deadline.
    #[must_use]
    pub fn time_left(&self) -> Option<Duration> {
        let now = tokio::time::Instant::now();
        self.attempt.deadline.map(|at| at.saturating_duration_since(now))
    }

    /// Fires when the handler should end soon; [`cancel_cause`](Self::cancel_cause) says why.
    #[must_use]
    pub fn cancellation(&self) -> &CancellationToken {
        &self.attempt.token
    }

    /// Waits until the handler should end, and says why.
    pub async fn cancelled(&self) -> CancelCause {
        self.attempt.token.cancelled().await;
        self.attempt.cause().unwrap_or(CancelCause::LeaseLost)
    }

    /// Why the handler should end; `None` while it may go on.
    #[must_use]
    pub fn cancel_cause(&self) -> Option<CancelCause> {
        self.attempt.cause()
    }

    /// The progress that an earlier attempt reported last.
    #[must_use]
    pub fn last_progress(&self) -> Option<&Progress> {
        self.attempt.lease.progress.as_ref()
    }

    /// Reports progress: `(done, total)`, a number done, or a whole [`Progress`]. Of reports in quick succession
    /// only the last is recorded. A message above [`Limits::event_bytes`](crate::Limits::event_bytes) is cut.
    pub fn progress(&self, progress: impl Into<Progress>) {
        let mut progress = progress.into();
        if let Some(message) = &mut progress.message {
            *message = cut(message, self.client().limits().event_bytes);
        }
        self.attempt.course.push(Note::Progress(progress));
    }

    /// Adds a line to the job's own log; dropped like [`emit`](Self::emit)'s events where too many wait. Text above [`Limits::event_bytes`](crate::Limits::event_bytes) is cut.
    pub fn log(&self, level: LogLevel, text: impl AsRef<str>) {
        let message = cut(text.as_ref(), self.client().limits().event_bytes);
        self.attempt.course.push(Note::Log { level, message });
    }

    /// Adds an event of the application's own to the job's history. It is recorded a little later, with others. Where more than
    /// [`WorkerOptions::notes_buffer`](crate::WorkerOptions::notes_buffer) of them wait, it is dropped, and a line in the job's log says so: what
    /// must not be lost belongs into the result or a job of its own.
    ///
    /// # Errors
    /// [`Error::Encode`] when the data is not JSON, [`Error::LimitExceeded`] when it is too large.
    pub fn emit(&self, name: EventName, data: &(impl Serialize + ?Sized)) -> Result<()> {
        let data = serde_json::value::to_raw_value(data)
            .map_err(|e| Error::Encode { what: "event data".into(), source: e.into() })?;
        let note = Note::Host { name, data };
        self.client().limits().check_note(&note)?;
        self.attempt.course.push(note);
        Ok(())
    }

    /// The client on the same jobs.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.attempt.client
    }

    /// Where blobs are kept.
    #[must_use]
    pub fn storage(&self) -> &Arc<dyn Storage> {
        self.client().storage()
    }

    /// Runs a future to its end on this thread, for blocking handlers only
    /// ([`register_blocking`](super::Worker::register_blocking)): it gives them the async half of this type and of the
    /// [`Client`], and timers and I/O of the worker's runtime. It ends no sooner when the handler should: wait for
    /// [`cancelled`](Self::cancelled) besides where that matters.
    ///
    /// ```
    /// # use serde::{Deserialize, Serialize};
    /// # use windlass_core::{Context, Job, Outcome};
    /// # macro_rules! job { ($name:ident, $kind:literal) => {
    /// #     #[derive(Serialize, Deserialize)] struct $name { page: u32 }
    /// #     impl Job for $name { const KIND: &'static str = $kind; type Output = (); }
    /// # } }
    /// # job!(Render, "render"); job!(Print, "print");
    /// fn render(job: Render, cx: Context) -> Outcome {
    ///     // …
    ///     cx.block_on(cx.follow_up(Print { page: job.page }))?;
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Panics
    /// In async code, where it would block a thread of the runtime: `.await` the future there.
    pub fn block_on<F: IntoFuture>(&self, future: F) -> F::Output {
        self.attempt.runtime.block_on(future.into_future())
    }

    /// Adds a job that is inserted in the step that completes this one, and only if it completes.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] or [`Error::Invalid`].
    pub(crate) fn add_follow_up(&self, job: NewJob) -> Result<()> {
        let limits = self.client().limits();
        limits.check_job(&job)?;
        if self.attempt.push_follow_up(job, limits.follow_ups) {
            return Ok(());
        }
        at_most(
            "follow-up jobs",
            limits.follow_ups.saturating_add(1),
            limits.follow_ups,
            "enqueue them through one follow-up job, or directly through the client",
        )
    }

    /// The settlement of this attempt for the host's own transaction, with follow-ups and notes. The originals stay here: the transaction may
    /// yet be rolled back. To be told when it was applied.
    pub(crate) async fn begin_complete_in(
        &self,
        outcome: AttemptOutcome,
    ) -> (Completing<'_>, Settlement) {
        let course = &self.attempt.course;
        let completing = course.begin_complete_in();
        let _ = timeout(ARRIVAL, course.landed()).await;
        let mut settlement = Settlement::new(self.attempt.key(), outcome);
        settlement.follow_ups = self.attempt.follow_ups();
        settlement.notes = completing.notes();
        (completing, settlement)
    }
}

impl From<u64> for Progress {
    fn from(done: u64) -> Self {
        Self { done, ..Self::default() }
    }
}

impl From<(u64, u64)> for Progress {
    fn from((done, total): (u64, u64)) -> Self {
        Self { done, total: Some(total), message: None }
    }
}
