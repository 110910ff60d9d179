//! How an attempt ends.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Payload;
use crate::BlobKey;

/// What kind of failure ended an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureKind {
    /// The handler returned an error.
    Error,
    /// The handler panicked.
    Panic,
    /// The attempt passed its deadline.
    Timeout,
    /// The worker's lease ran out: its process died, hung or lost the backend.
    Crash,
    /// The handler, or an error after a cancel request, ended the job.
    Cancelled,
    /// The args are not what the handler takes.
    BadArgs,
}

/// A failure as a worker reports it. The message is shown to operators: no secrets, no payloads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind of failure.
    pub kind: FailureKind,
    /// The error and its causes, one line each; cut to [`Limits::error_bytes`](crate::Limits::error_bytes).
    pub message: String,
}

/// A failed attempt in a job's record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptError {
    /// Which attempt, from 1.
    pub attempt: u32,
    /// When it ended, by the database's clock.
    pub at: Timestamp,
    /// What kind of failure.
    pub kind: FailureKind,
    /// The message.
    pub message: String,
}

/// How an owner settles its job. [`machine::settled`](crate::machine::settled) says what follows from each.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum AttemptOutcome {
    /// The handler succeeded.
    Completed {
        /// What it returned, at most [`Limits::inline_result`](crate::Limits::inline_result) bytes.
        result: Option<Payload>,
        /// Blobs that the result refers to; they are kept as long as the job.
        blobs: Vec<BlobKey>,
    },
    /// The attempt failed and another is to follow.
    Retry {
        /// From the settling to the next attempt.
        delay: Duration,
        /// Why.
        failure: Failure,
    },
    /// The attempt failed and no other is to follow.
    Discarded {
        /// Why.
        failure: Failure,
    },
    /// The handler ended the job as cancelled.
    Cancelled {
        /// Why.
        failure: Failure,
    },
    /// Not now: the attempt is given back and the job waits.
    Snoozed {
        /// From the settling to the next attempt.
        delay: Duration,
    },
    /// The worker shuts down: the attempt is given back and the job is available at once.
    Released,
}

impl AttemptOutcome {
    /// The failure it carries.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure> {
        match self {
            Self::Retry { failure, .. }
            | Self::Discarded { failure }
            | Self::Cancelled { failure } => Some(failure),
            _ => None,
        }
    }
}
