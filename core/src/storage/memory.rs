//! [`MemoryStorage`]: blobs in the memory of the process.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use super::{BlobBody, BlobKey, BlobMeta, ByteStream, PresignMethod, Storage};
use crate::{Error, Result};

/// How much one item of a read holds; the items share the blob's memory.
const CHUNK: usize = 256 << 10;

/// Blobs in memory: for tests and for jobs that need not survive the process. Clones share the blobs.
#[derive(Clone, Default)]
pub struct MemoryStorage {
    blobs: Arc<Mutex<BTreeMap<BlobKey, Stored>>>,
}

#[derive(Clone)]
struct Stored {
    bytes: Bytes,
    modified_at: Timestamp,
}

impl Stored {
    fn meta(&self, key: &BlobKey) -> BlobMeta {
        BlobMeta { key: key.clone(), len: self.bytes.len() as u64, modified_at: self.modified_at }
    }
}

impl MemoryStorage {
    /// An empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The map; no code that can panic runs while it is locked, so a poisoned one is whole.
    fn blobs(&self) -> MutexGuard<'_, BTreeMap<BlobKey, Stored>> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryStorage {
    /// Tells how many blobs there are, never their content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStorage").field("blobs", &self.blobs().len()).finish()
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn put(&self, key: &BlobKey, mut body: ByteStream) -> Result<u64> {
        let mut bytes = BytesMut::new();
        while let Some(chunk) = body.try_next().await? {
            bytes.extend_from_slice(&chunk);
        }
        let stored = Stored { bytes: bytes.freeze(), modified_at: Timestamp::now() };
        let len = stored.bytes.len() as u64;
        self.blobs().insert(key.clone(), stored);
        Ok(len)
    }

    async fn get(&self, key: &BlobKey) -> Result<BlobBody> {
        let stored = self.blobs().get(key).cloned();
        let stored =
            stored.ok_or_else(|| Error::NotFound { what: format!("blob {key}").into() })?;
        let meta = stored.meta(key);
        let mut rest = stored.bytes;
        let chunks = std::iter::from_fn(move || {
            let size = rest.len().min(CHUNK);
            (size > 0).then(|| Ok(rest.split_to(size)))
        });
        Ok(BlobBody { meta, stream: stream::iter(chunks).boxed() })
    }

    async fn head(&self, key: &BlobKey) -> Result<Option<BlobMeta>> {
        Ok(self.blobs().get(key).map(|stored| stored.meta(key)))
    }

    async fn delete(&self, keys: &[BlobKey]) -> Result<()> {
        let mut blobs = self.blobs();
        for key in keys {
            blobs.remove(key);
        }
        Ok(())
    }

    async fn list(
        &self,
        prefix: &str,
        after: Option<&BlobKey>,
        limit: usize,
    ) -> Result<Vec<BlobMeta>> {
        let start = match after {
            Some(after) if after.as_str() >= prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(prefix),
        };
        Ok(self
            .blobs()
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.as_str().starts_with(prefix))
            .take(limit)
            .map(|(key, stored)| stored.meta(key))
            .collect())
    }

    async fn presign(&self, _: &BlobKey, _: PresignMethod, _: Duration) -> Result<String> {
        Err(Error::Unsupported { what: "presign".into(), by: "memory storage".into() })
    }
}
