//! An upload: a body cut into chunks, each written by itself, visible with the last one.

use futures_util::TryStreamExt;
use windlass_core::storage::ByteStream;
use windlass_core::{BlobKey, Error, Result};

use super::SqliteStorage;
use super::steps::{CHUNK, MOST_CHUNKS, Publish, WriteChunk};

/// Stores `body` under `key` and answers its length.
pub(super) async fn put(storage: &SqliteStorage, key: &BlobKey, body: ByteStream) -> Result<u64> {
    let mut upload = Upload { storage, id: None, chunks: 0, len: 0 };
    match upload.run(key, body).await {
        Ok(replaced) => {
            upload.id = None;
            if replaced {
                storage.sweep().await;
            }
            Ok(upload.len)
        }
        Err(e) => {
            upload.give_up().await;
            Err(e)
        }
    }
}

/// An upload under way. Giving it up when it is visible already changes nothing, so there is no harm in not knowing.
struct Upload<'s> {
    storage: &'s SqliteStorage,
    id: Option<i64>,
    chunks: i64,
    len: u64,
}

impl Upload<'_> {
    async fn run(&mut self, key: &BlobKey, body: ByteStream) -> Result<bool> {
        let last = self.write_all(body).await?;
        let (upload, number, len) = (self.id, self.chunks, self.len);
        let publish = Publish { key: key.clone(), upload, number, bytes: last, len };
        self.storage.writer.call(publish).await
    }

    /// Writes all chunks but the last, which it answers.
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
        if self.chunks + 1 >= MOST_CHUNKS {
            return Err(Error::LimitExceeded {
                what: "blob in bytes".into(),
                actual: self.len,
                limit: MOST_CHUNKS.unsigned_abs() * CHUNK as u64,
                hint: "keep blobs of this size in an object store".into(),
            });
        }
        let chunk = WriteChunk { upload: self.id, number: self.chunks, bytes };
        self.id = Some(self.storage.writer.call(chunk).await?);
        self.chunks += 1;
        Ok(())
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
