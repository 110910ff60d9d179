//! The one error type of the library.

use std::borrow::Cow;
use std::time::Duration;

/// Result with the library's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The cause under an error, as the driver reported it.
pub type BoxError = Box<dyn std::error::Error + Send + Sync + 'static>;

/// What went wrong, to what, and (in its text) what to do about it.
///
/// No variant carries args, results, bound values or a URL with its password.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller passed something that can't be used. Calling again with the same value fails again.
    #[error("invalid {what}: {why}")]
    Invalid {
        /// The thing that is wrong, as the caller would name it (`queue name`, `delay`).
        what: Cow<'static, str>,
        /// Why it can't be used, and what would be accepted.
        why: Cow<'static, str>,
    },
    /// A value is above one of the [`Limits`](crate::Limits). Nothing was written.
    #[error("{what} is {actual}, above the limit of {limit}: {hint}")]
    LimitExceeded {
        /// What was measured, with its unit (`args in bytes`).
        what: Cow<'static, str>,
        /// The value found.
        actual: u64,
        /// The limit in force.
        limit: u64,
        /// The way out.
        hint: Cow<'static, str>,
    },
    /// A queue with a maximum depth has no room for all the jobs of the call. Nothing was written.
    #[error(
        "queue `{queue}` is full at {depth} waiting jobs: retry later, or raise its maximum depth"
    )]
    QueueFull {
        /// The queue.
        queue: String,
        /// Its maximum depth.
        depth: u64,
    },
    /// The thing named does not exist (any more).
    #[error("{what} not found")]
    NotFound {
        /// The thing, with its id or key.
        what: Cow<'static, str>,
    },
    /// The worker's lease has run out or was never granted; it never revives. Register anew.
    #[error("the lease of worker {worker} has expired: register a new worker")]
    WorkerExpired {
        /// The worker.
        worker: crate::WorkerId,
    },
    /// A write of a lease holder was refused: the job belongs to somebody else now, or is final.
    #[error("the lease of job {job} is lost: another worker owns the job, or it is final")]
    LeaseLost {
        /// The job.
        job: crate::JobId,
    },
    /// Stored or received bytes can't be read as what they should be.
    #[error("can't decode {what}")]
    Decode {
        /// What was being read.
        what: Cow<'static, str>,
        /// The parser's error.
        #[source]
        source: BoxError,
    },
    /// Something can't be written in the form it is stored in.
    #[error("can't encode {what}")]
    Encode {
        /// What was being written.
        what: Cow<'static, str>,
        /// The serializer's error.
        #[source]
        source: BoxError,
    },
    /// Bytes read differ from the length or the checksum they were stored with.
    #[error("{what} is damaged: {why}")]
    Corrupt {
        /// The thing read.
        what: Cow<'static, str>,
        /// What does not match.
        why: Cow<'static, str>,
    },
    /// The backend or storage can't do this at all.
    #[error("{what} is not supported by {by}")]
    Unsupported {
        /// The operation.
        what: Cow<'static, str>,
        /// The backend or storage.
        by: Cow<'static, str>,
    },
    /// The set-up is wrong: a URL, a folder, a feature flag, a setting.
    #[error("configuration: {0}")]
    Config(Cow<'static, str>),
    /// A service could not be reached or refused for now. The write may or may not have been
    /// applied; every call of the traits may be repeated with the same arguments.
    #[error("{backend} is unavailable during {during}")]
    Unavailable {
        /// The backend or storage.
        backend: &'static str,
        /// The operation under way, named after the trait method.
        during: &'static str,
        /// The driver's error.
        #[source]
        source: BoxError,
    },
    /// The backend failed in a way that repeating will not mend.
    #[error("{backend} failed during {during}")]
    Backend {
        /// The backend or storage.
        backend: &'static str,
        /// The operation under way, named after the trait method.
        during: &'static str,
        /// The driver's error.
        #[source]
        source: BoxError,
    },
    /// An operation did not end within its time.
    #[error("{what} did not end within {after:?}")]
    Timeout {
        /// The operation.
        what: Cow<'static, str>,
        /// The time it had.
        after: Duration,
    },
    /// The client or worker was closed.
    #[error("{0} is closed")]
    Closed(&'static str),
}

impl Error {
    /// An [`Error::Invalid`].
    pub fn invalid(what: impl Into<Cow<'static, str>>, why: impl Into<Cow<'static, str>>) -> Self {
        Self::Invalid { what: what.into(), why: why.into() }
    }

    /// Says what could not be decoded, where the caller knows better.
    pub(crate) fn decoding(self, what: String) -> Self {
        match self {
            Self::Decode { source, .. } => Self::Decode { what: what.into(), source },
            error => error,
        }
    }

    /// Whether the same call may succeed later without any change by the caller.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable { .. } | Self::Timeout { .. } | Self::QueueFull { .. })
    }
}
