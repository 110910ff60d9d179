//! An upload: a body cut into chunks, each written by a statement of its own, visible with the last one.
//!
//! While it goes on it stands among the trash, with a time at which it counts as dead. Every statement that adds to it asks for that row
//! and locks it, so a sweep and an upload never pass one another.

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::Row as _;
use windlass_core::kit::micros;
use windlass_core::storage::ByteStream;
use windlass_core::{BlobKey, Error, Result};

use super::PostgresStorage;
use crate::error::map;
use crate::sql::query;

/// The size of a chunk: what an upload holds in memory, and what one statement carries.
const CHUNK: usize = 256 << 10;
/// An upload without a new chunk for so long is dead.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Stores `body` under `key` and answers its length.
pub(super) async fn put(storage: &PostgresStorage, key: &BlobKey, body: ByteStream) -> Result<u64> {
    let mut upload = Upload { storage, id: None, chunks: 0, len: 0 };
    match upload.run(key, body).await {
        Ok(replaced) => {
            upload.id = None;
            if replaced {
                storage.sweep().await;
            }
            Ok(upload.len)
        }
        Err(error) => {
            upload.give_up().await;
            Err(error)
        }
    }
}

/// An upload under way. Giving it up when it is visible already changes nothing, so there is no harm in not knowing.
struct Upload<'s> {
    storage: &'s PostgresStorage,
    id: Option<i64>,
    chunks: i32,
    len: u64,
}

impl Upload<'_> {
    /// Answers whether it replaced a blob, whose chunks are to be removed.
    async fn run(&mut self, key: &BlobKey, body: ByteStream) -> Result<bool> {
        let last = self.write_all(body).await?;
        let key = key.as_str().to_owned();
        let statement = match self.id {
            None => query(&self.storage.sql.blob_put).bind(key).bind(last),
            Some(id) => query(&self.storage.sql.blob_publish)
                .bind(id)
                .bind(self.chunks)
                .bind(last)
                .bind(key)
                .bind(self.len.cast_signed()),
        };
        let rows = self.storage.fetch("put", statement).await?;
        rows.first().ok_or_else(dead)?.try_get(0).map_err(map("put"))
    }

    /// Writes all chunks but the last, which it answers; it is empty only when the body is.
    async fn write_all(&mut self, mut body: ByteStream) -> Result<Vec<u8>> {
        let mut chunk = Vec::new();
        while let Some(mut bytes) = body.try_next().await? {
            while !bytes.is_empty() {
                if chunk.len() == CHUNK {
                    self.write(std::mem::take(&mut chunk)).await?;
                }
                let fits = bytes.len().min(CHUNK - chunk.len());
                chunk.extend_from_slice(&bytes.split_to(fits));
                self.len += fits as u64;
            }
        }
        Ok(chunk)
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<()> {
        let next = self.chunks.checked_add(1).ok_or_else(|| self.too_long())?;
        let (sql, pause) = (&self.storage.sql, micros(PATIENCE));
        let statement = match self.id {
            None => query(&sql.blob_begin).bind(pause).bind(bytes),
            Some(id) => query(&sql.blob_chunk).bind(id).bind(self.chunks).bind(bytes).bind(pause),
        };
        let rows = self.storage.fetch("put", statement).await?;
        let row = rows.first().ok_or_else(dead)?;
        self.id = Some(row.try_get(0).map_err(map("put"))?);
        self.chunks = next;
        Ok(())
    }

    fn too_long(&self) -> Error {
        Error::LimitExceeded {
            what: "blob in bytes".into(),
            actual: self.len,
            limit: u64::from(i32::MAX.unsigned_abs()) * CHUNK as u64,
            hint: "keep blobs of this size in an object store".into(),
        }
    }

    async fn give_up(mut self) {
        if let Some(id) = self.id.take() {
            self.storage.give_up(id).await;
        }
    }
}

impl Drop for Upload<'_> {
    /// The future was dropped. Without a runtime the chunks go when the upload counts as dead.
    fn drop(&mut self) {
        if let Some(id) = self.id.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let storage = self.storage.clone();
            runtime.spawn(async move { storage.give_up(id).await });
        }
    }
}

/// An upload that is no longer listed was taken for dead, and its chunks may be gone.
fn dead() -> Error {
    Error::Timeout { what: "the next chunk of a blob's upload".into(), after: PATIENCE }
}
