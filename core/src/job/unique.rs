//! Unique keys.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::limits::UNIQUE_KEY_BYTES;
use crate::{Error, Result};

/// A key that at most one job holds at a time: 1 to 256 bytes of text without control characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UniqueKey(Arc<str>);

impl UniqueKey {
    /// Parses a key.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is empty, too long or holds control characters.
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        if text.is_empty() || text.len() > UNIQUE_KEY_BYTES || text.chars().any(char::is_control) {
            return Err(Error::invalid(
                "unique key",
                format!(
                    "expected 1 to {UNIQUE_KEY_BYTES} bytes of text without control characters; hash what is longer"
                ),
            ));
        }
        Ok(Self(Arc::from(text)))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UniqueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UniqueKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl TryFrom<String> for UniqueKey {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl From<UniqueKey> for String {
    fn from(key: UniqueKey) -> Self {
        key.0.as_ref().to_owned()
    }
}

/// How long a job holds its unique key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UniqueUntil {
    /// Until the first claim: at most one job waits, another may run.
    Started,
    /// Until a final state, through every retry.
    #[default]
    Finished,
    /// For this long from the insert, whatever becomes of the job.
    For(Duration),
}

/// What becomes of a new job whose unique key is held. A holder that runs under a worker whose lease has run out is rescued first, so that one which is
/// given up by that holds it no longer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnConflict {
    /// The existing job stays; the caller gets it as [`Inserted::Duplicate`](crate::Inserted::Duplicate).
    #[default]
    Keep,
    /// The existing job takes over args, metadata, tags, blobs, priority, queue, kind, start, timeout and
    /// max attempts of the new one and keeps its id and its attempts so far
    /// ([`Inserted::Replaced`](crate::Inserted::Replaced)). A job that runs or is final is never replaced: then as `Keep`.
    ///
    /// The id of the new job is then stored nowhere, so a repeat after a lost reply can't be told from a new insert. While the replaced job waits, it
    /// is replaced again by the same, and while it holds the key otherwise, nothing changes; but once it no longer holds it (it has ended, or has
    /// started with [`UniqueUntil::Started`]), the repeat adds a job, and the work is done twice. An [outbox](crate::outbox::Outbox)
    /// therefore refuses this rule.
    Replace,
    /// The existing job stays; the caller is told so as [`Inserted::Rejected`](crate::Inserted::Rejected).
    Reject,
}

/// The unique rule of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unique {
    /// The key.
    pub key: UniqueKey,
    /// How long the job holds it.
    pub until: UniqueUntil,
    /// What becomes of another job with the same key meanwhile.
    pub on_conflict: OnConflict,
}
