//! Keys of blobs.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::limits::BLOB_KEY_BYTES;
use crate::{Error, Result};

/// The key of a blob: 1 to 512 characters of `A-Z a-z 0-9 _ . : - /`, in segments between slashes, none
/// of them empty, `.` or `..`. So it is a safe relative path and a safe object key as it stands.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlobKey(Arc<str>);

impl BlobKey {
    /// Parses a key.
    ///
    /// # Errors
    /// [`Error::Invalid`].
    pub fn new(text: impl AsRef<str>) -> Result<Self> {
        let text = text.as_ref();
        let bad = |why: String| Err(Error::invalid("blob key", why));
        if text.is_empty() || text.len() > BLOB_KEY_BYTES {
            return bad(format!("expected 1 to {BLOB_KEY_BYTES} bytes"));
        }
        let odd =
            |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-' | '/'));
        if let Some(c) = text.chars().find(odd) {
            return bad(format!("{c:?} is not allowed in it: use A-Z a-z 0-9 _ . : - /"));
        }
        if text.split('/').any(|segment| matches!(segment, "" | "." | "..")) {
            return bad("empty, `.` and `..` segments are not allowed".to_owned());
        }
        Ok(Self(Arc::from(text)))
    }

    /// A key that nobody has used yet: `prefix`, a slash and a new UUIDv7.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the prefix can't be the start of a key.
    pub fn fresh(prefix: impl AsRef<str>) -> Result<Self> {
        Self::new(format!("{}/{}", prefix.as_ref(), uuid::Uuid::now_v7()))
    }

    /// Whether the library made the key for a blob that lives as long as its jobs: under `blobs/`, `args/` or `results/`.
    #[must_use]
    pub fn is_managed(&self) -> bool {
        ["blobs/", "args/", "results/"].iter().any(|prefix| self.0.starts_with(prefix))
    }

    /// The key as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for BlobKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl FromStr for BlobKey {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl TryFrom<String> for BlobKey {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        Self::new(text)
    }
}

impl From<BlobKey> for String {
    fn from(key: BlobKey) -> Self {
        key.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_safe_relative_paths() {
        for good in ["a", "a/b.c", "in/..x/y", "A:1-2_3"] {
            assert!(BlobKey::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "..", "a/../b", "./a", "a b", "a\\b", "é", "a\0"] {
            assert!(BlobKey::new(bad).is_err(), "{bad:?}");
        }
    }
}
