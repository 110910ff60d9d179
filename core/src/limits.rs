//! Limits on everything that grows with what callers pass. Each is a named default and a field
//! of [`Limits`], set when a backend is opened.

use std::time::Duration;

use crate::{Error, NewJob, Note, Payload, Result};

/// Longest name of a kind, queue, tag or event, in bytes. Not configurable: it is part of the schema.
pub const NAME_BYTES: usize = 128;
/// Longest unique key, in bytes. Not configurable.
pub const UNIQUE_KEY_BYTES: usize = 256;
/// Longest blob key, in bytes. Not configurable.
pub const BLOB_KEY_BYTES: usize = 512;

/// What one call, job or event may hold. Exceeding one gives [`Error::LimitExceeded`] and writes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Args kept in the job's row, in bytes; larger args go to `Storage` by themselves. Default 256 KiB.
    pub inline_args: usize,
    /// A result kept in the job's row, in bytes; a larger one goes to `Storage` by itself. Default 64 KiB.
    pub inline_result: usize,
    /// Args or a result at all, in bytes, wherever they are kept. Default 64 MiB.
    pub payload: usize,
    /// Jobs in one insert, ids in one change, items in one page. Default 10,000.
    pub batch: usize,
    /// Follow-up jobs of one settlement. Default 1,000.
    pub follow_ups: usize,
    /// Attempt errors kept per job; the oldest go first. Default 10.
    pub errors: usize,
    /// One error message, in bytes; longer ones are cut at a character boundary. Default 4 KiB.
    pub error_bytes: usize,
    /// Tags of a job. Default 16.
    pub tags: usize,
    /// Metadata of a job, keys and values together, in bytes. Default 4 KiB.
    pub meta_bytes: usize,
    /// Blobs named by one job's args or result. Default 1,000.
    pub blobs: usize,
    /// Snoozes of one job; a further one counts as a failed attempt. Default 1,000.
    pub snoozes: u32,
    /// Farthest a job may be scheduled ahead. Default 3,660 days.
    pub delay: Duration,
    /// Attempts a job may ask for. Default 10,000.
    pub max_attempts: u32,
    /// One progress message, log line or host event, in bytes; messages are cut, event data is refused. Default 16 KiB.
    pub event_bytes: usize,
    /// Progress, log and host events kept per job; further ones are refused. Default 10,000.
    pub events_per_job: u32,
    /// State changes kept in a job's own history; the oldest but the first go. Default 200.
    pub state_events_per_job: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            inline_args: 256 << 10,
            inline_result: 64 << 10,
            payload: 64 << 20,
            batch: 10_000,
            follow_ups: 1_000,
            errors: 10,
            error_bytes: 4 << 10,
            tags: 16,
            meta_bytes: 4 << 10,
            blobs: 1_000,
            snoozes: 1_000,
            delay: Duration::from_secs(3_660 * 24 * 3_600),
            max_attempts: 10_000,
            event_bytes: 16 << 10,
            events_per_job: 10_000,
            state_events_per_job: 200,
        }
    }
}

impl Limits {
    /// Checks a call of [`Store::insert`](crate::Store::insert): its size, then each job.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] or [`Error::Invalid`], naming the first thing found.
    pub fn check_insert(&self, jobs: &[NewJob]) -> Result<()> {
        at_most("jobs in one insert", jobs.len(), self.batch, "insert in several calls")?;
        jobs.iter().try_for_each(|job| self.check_job(job))
    }

    /// Checks one job.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`] or [`Error::Invalid`], naming the first thing found.
    pub fn check_job(&self, job: &NewJob) -> Result<()> {
        at_most(
            "args in bytes",
            job.args.bytes.len(),
            self.inline_args,
            "put large data into a `Blob`, or enqueue through `Client`, which moves large args to storage",
        )?;
        at_most("tags of a job", job.tags.len(), self.tags, "use fewer tags")?;
        let meta = job.meta.iter().map(|(k, v)| k.len() + v.len()).sum();
        at_most("metadata of a job in bytes", meta, self.meta_bytes, "put data into the args")?;
        at_most("blobs of a job", job.blobs.len(), self.blobs, "store them as one blob")?;
        if job.max_attempts == 0 {
            return Err(Error::invalid("max attempts", "0 given; a job needs at least 1"));
        }
        at_most(
            "max attempts of a job",
            job.max_attempts as usize,
            self.max_attempts as usize,
            "use fewer",
        )?;
        if job.timeout.is_some_and(|t| t.is_zero()) {
            return Err(Error::invalid("timeout", "0 given; leave it out for no deadline"));
        }
        if let Some(timeout) = job.timeout {
            self.check_delay("timeout in seconds", timeout)?;
        }
        if let crate::Start::In(delay) = job.start {
            self.check_delay("delay in seconds", delay)?;
        }
        if let Some(crate::UniqueUntil::For(window)) = job.unique.as_ref().map(|u| &u.until) {
            if window.is_zero() {
                let why =
                    "0 given; leave the unique rule out, or hold its key until the job is finished";
                return Err(Error::invalid("unique window", why));
            }
            self.check_delay("unique window in seconds", *window)?;
        }
        Ok(())
    }

    /// Checks a delay, window or timeout.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`].
    pub fn check_delay(&self, what: &'static str, delay: Duration) -> Result<()> {
        at_most(
            what,
            usize::try_from(delay.as_secs()).unwrap_or(usize::MAX),
            usize::try_from(self.delay.as_secs()).unwrap_or(usize::MAX),
            "use a shorter one",
        )
    }

    /// Checks a result before it is settled.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`].
    pub fn check_result(&self, result: &Payload) -> Result<()> {
        at_most(
            "result in bytes",
            result.bytes.len(),
            self.inline_result,
            "put large data into a `Blob`",
        )
    }

    /// Checks one event of a job.
    ///
    /// # Errors
    /// [`Error::LimitExceeded`].
    pub fn check_note(&self, note: &Note) -> Result<()> {
        at_most("event in bytes", note.bytes(), self.event_bytes, "put large data into a `Blob`")
    }

    /// Cuts a message to [`error_bytes`](Self::error_bytes) at a character boundary.
    #[must_use]
    pub fn cut_error(&self, message: &str) -> String {
        cut(message, self.error_bytes)
    }
}

/// Cuts `text` to at most `bytes` at a character boundary, marking the cut with an ellipsis where one fits.
#[must_use]
pub fn cut(text: &str, bytes: usize) -> String {
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes.saturating_sub('…'.len_utf8()));
    let mut kept = text[..end].to_owned();
    if kept.len() + '…'.len_utf8() <= bytes {
        kept.push('…');
    }
    kept
}

pub(crate) fn at_most(
    what: &'static str,
    actual: usize,
    limit: usize,
    hint: &'static str,
) -> Result<()> {
    if actual <= limit {
        return Ok(());
    }
    Err(Error::LimitExceeded {
        what: what.into(),
        actual: actual as u64,
        limit: limit as u64,
        hint: hint.into(),
    })
}
