//! A job on its way into the store.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{JobId, Kind, Payload, QueueName, Tag, Unique};
use crate::BlobKey;

/// Order within a queue: **lower runs first**, as with Unix `nice`. Jobs of equal priority run in
/// the order in which they became available.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Priority(pub i16);

impl Priority {
    /// Before everything normal.
    pub const HIGH: Self = Self(-100);
    /// The default, 0.
    pub const NORMAL: Self = Self(0);
    /// After everything normal.
    pub const LOW: Self = Self(100);
}

/// When a job may first be claimed, by the database's clock.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Start {
    /// At once.
    #[default]
    Now,
    /// After a delay, rounded up to a microsecond.
    In(Duration),
    /// At a time. One that has passed means at once.
    At(Timestamp),
}

impl Start {
    /// How long until then, seen from `now` by the database's clock.
    #[must_use]
    pub fn delay(&self, now: Timestamp) -> Duration {
        match *self {
            Self::Now => Duration::ZERO,
            Self::In(delay) => delay,
            Self::At(at) => Duration::try_from(at.duration_since(now)).unwrap_or_default(),
        }
    }
}

/// A job to insert. Made by [`NewJob::new`], then changed by its fields; everything about the job travels
/// in this one value, so that a backend can insert it in one atomic step.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NewJob {
    /// Made by the client: inserting the same id again changes nothing and gives
    /// [`Inserted::Duplicate`] with this same id, for as long as the job is kept.
    pub id: JobId,
    /// Which handler runs it.
    pub kind: Kind,
    /// The queue it waits in.
    pub queue: QueueName,
    /// What the handler gets.
    pub args: Payload,
    /// Order within the queue. Default 0.
    pub priority: Priority,
    /// Claims before the job is discarded, at least 1. Default [`DEFAULT_MAX_ATTEMPTS`](crate::job::NewJob::DEFAULT_MAX_ATTEMPTS).
    pub max_attempts: u32,
    /// How long one attempt may take; `None` for no deadline.
    pub timeout: Option<Duration>,
    /// When it may first be claimed.
    pub start: Start,
    /// Its unique rule.
    pub unique: Option<Unique>,
    /// Small facts that travel with the job and are not args (a trace context, a request id).
    pub meta: BTreeMap<String, String>,
    /// Labels to list and change jobs by.
    pub tags: Vec<Tag>,
    /// Blobs that live as long as some job refers to them; see [`Store::prune`](crate::Store::prune).
    pub blobs: Vec<BlobKey>,
}

impl NewJob {
    /// Attempts of a job that doesn't say otherwise.
    pub const DEFAULT_MAX_ATTEMPTS: u32 = 20;

    /// A job with defaults: a fresh id, priority 0, no deadline, at once, not unique.
    #[must_use]
    pub fn new(kind: Kind, queue: QueueName, args: Payload) -> Self {
        Self {
            id: JobId::new(),
            kind,
            queue,
            args,
            priority: Priority::NORMAL,
            max_attempts: Self::DEFAULT_MAX_ATTEMPTS,
            timeout: None,
            start: Start::Now,
            unique: None,
            meta: BTreeMap::new(),
            tags: Vec::new(),
            blobs: Vec::new(),
        }
    }
}

/// What became of one job of an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inserted {
    /// It is in the store, under the id the caller gave.
    New(JobId),
    /// Nothing was written: a job with this id or unique key is there already.
    Duplicate {
        /// That job; the caller's own id when the same insert was made before.
        existing: JobId,
    },
    /// The waiting holder of the unique key took over the new job's contents.
    Replaced {
        /// The job that now has them.
        existing: JobId,
    },
    /// Nothing was written: the unique key is held and the rule says [`OnConflict::Reject`](crate::OnConflict::Reject).
    Rejected {
        /// The holder.
        existing: JobId,
    },
}

impl Inserted {
    /// The job that stands in the store for the one inserted.
    #[must_use]
    pub const fn id(&self) -> JobId {
        match *self {
            Self::New(id) => id,
            Self::Duplicate { existing }
            | Self::Replaced { existing }
            | Self::Rejected { existing } => existing,
        }
    }

    /// Whether a row was added.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        matches!(self, Self::New(_))
    }
}
