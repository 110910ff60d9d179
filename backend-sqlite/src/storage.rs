//! Blobs in the same database.

use std::time::Duration;

use async_trait::async_trait;
use windlass_core::storage::{BlobBody, ByteStream, PresignMethod};
use windlass_core::{BlobKey, BlobMeta, Error, Result, Storage};

use crate::SqliteBackend;

/// Blobs in the database of a [`SqliteBackend`].
#[derive(Debug, Clone)]
pub struct SqliteStorage;

impl SqliteStorage {
    /// The storage of a backend.
    #[must_use]
    pub fn new(_: &SqliteBackend) -> Self {
        Self
    }
}

fn missing<T>() -> Result<T> {
    Err(Error::Unsupported { what: "blob storage".into(), by: "sqlite".into() })
}

#[async_trait]
impl Storage for SqliteStorage {
    async fn put(&self, _: &BlobKey, _: ByteStream) -> Result<u64> {
        missing()
    }
    async fn get(&self, _: &BlobKey) -> Result<BlobBody> {
        missing()
    }
    async fn head(&self, _: &BlobKey) -> Result<Option<BlobMeta>> {
        missing()
    }
    async fn delete(&self, _: &[BlobKey]) -> Result<()> {
        missing()
    }
    async fn list(&self, _: &str, _: Option<&BlobKey>, _: usize) -> Result<Vec<BlobMeta>> {
        missing()
    }
    async fn presign(&self, _: &BlobKey, _: PresignMethod, _: Duration) -> Result<String> {
        missing()
    }
}
