//! An upload: a body cut into chunks, each written by itself, visible with the last one.

use std::time::Duration;

use futures_util::TryStreamExt;
use windlass_core::kit::micros;
use windlass_core::storage::ByteStream;
use windlass_core::{BlobKey, Error, Result};

use super::RedisStorage;
use crate::script::Args;
use crate::wire;

/// The size of a chunk: what an upload holds in memory, and what one script writes of it.
const CHUNK: usize = 1 << 20;
/// How many chunks a blob may have.
const MOST_CHUNKS: u64 = 1 << 20;
/// An upload without a new chunk for so long is dead.
const PATIENCE: Duration = Duration::from_secs(3_600);

/// Stores `body` under `key` and answers its length.
pub(super) async fn put(storage: &RedisStorage, key: &BlobKey, body: ByteStream) -> Result<u64> {
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
    storage: &'s RedisStorage,
    id: Option<String>,
    chunks: u64,
    len: u64,
}

impl Upload<'_> {
    async fn run(&mut self, key: &BlobKey, body: ByteStream) -> Result<bool> {
        let last = self.write_all(body).await?;
        let id = self.id.as_deref().unwrap_or_default();
        let args = Args::new().bytes(key.as_str()).bytes(id).int(self.chunks);
        let args = args.bytes(last).int(self.len);
        let inner = &self.storage.inner;
        let answer = inner.call("put", &inner.scripts.blob_publish, args).await?;
        let mut answer = wire::list(answer)?.into_iter();
        let mut flag = || answer.next().map(|value| wire::int(&value)).transpose();
        if flag()? != Some(1) {
            return Err(dead());
        }
        Ok(flag()? == Some(1))
    }

    /// Writes all chunks but the last, which it answers.
    async fn write_all(&mut self, mut body: ByteStream) -> Result<Vec<u8>> {
        let mut chunk = Vec::new();
        while let Some(mut bytes) = body.try_next().await? {
            while !bytes.is_empty() {
                if chunk.len() == CHUNK {
                    self.write(&chunk).await?;
                    chunk.clear();
                }
                let fits = bytes.len().min(CHUNK - chunk.len());
                chunk.extend_from_slice(&bytes.split_to(fits));
                self.len += fits as u64;
            }
        }
        Ok(chunk)
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.chunks + 1 >= MOST_CHUNKS {
            return Err(Error::LimitExceeded {
                what: "blob in bytes".into(),
                actual: self.len,
                limit: MOST_CHUNKS * CHUNK as u64,
                hint: "keep blobs of this size in an object store".into(),
            });
        }
        let inner = &self.storage.inner;
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let args = Args::new().int(micros(PATIENCE));
                let id = inner.call("put", &inner.scripts.blob_begin, args).await?;
                self.id.insert(wire::int(&id)?.to_string()).clone()
            }
        };
        let args = Args::new().bytes(id).int(self.chunks).bytes(bytes).int(micros(PATIENCE));
        let written = inner.call("put", &inner.scripts.blob_chunk, args).await?;
        if wire::int(&written)? != 1 {
            return Err(dead());
        }
        self.chunks += 1;
        Ok(())
    }

    async fn give_up(mut self) {
        if let Some(id) = self.id.take() {
            self.storage.give_up(&id).await;
        }
    }
}

/// An upload that is no longer listed was taken for dead, and its chunks may be gone.
fn dead() -> Error {
    Error::Timeout { what: "the next chunk of a blob's upload".into(), after: PATIENCE }
}

impl Drop for Upload<'_> {
    /// The future was dropped. Without a runtime the chunks go when the upload counts as dead.
    fn drop(&mut self) {
        if let Some(id) = self.id.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let storage = self.storage.clone();
            runtime.spawn(async move { storage.give_up(&id).await });
        }
    }
}
