//! [`Blob`]: a handle on stored bytes, for fields of args and results.

use serde::{Deserialize, Serialize};

use super::BlobKey;

/// A handle on stored bytes: key, length and SHA-256. Put it into args and results like any other field.
///
/// A managed blob (one that the library stored, unless it is kept) is deleted once the last job that refers to it is
/// gone, see [`Store::prune`](crate::Store::prune). It is found by its serialized form, wherever in the args or result it
/// stands. Blobs under keys of the host's own are never deleted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Blob {
    /// Where it is.
    #[serde(rename = "$blob")]
    pub key: BlobKey,
    /// Its length in bytes.
    pub len: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Its media type, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// It outlives the jobs that refer to it; the host deletes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keep: bool,
}

impl Blob {
    /// A handle on bytes that are stored already.
    #[must_use]
    pub fn new(key: BlobKey, len: u64, sha256: String) -> Self {
        Self { key, len, sha256, content_type: None, keep: false }
    }

    /// Makes it outlive the jobs that refer to it. A blob that [`Client::put_blob`](crate::Client::put_blob) has staged is still
    /// pruned when no job takes it over in time: to store one to be kept, say so before, `client.put_blob(..).keep()`.
    #[must_use]
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    /// States its media type.
    #[must_use]
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }
}
