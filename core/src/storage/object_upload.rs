//! Uploads to an object store: small bodies in one request, large ones in parts.

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload, PutPayloadMut, WriteMultipart};

use super::ByteStream;
use super::object_error as failure;
use crate::Result;

/// The size of a part, and the largest body that is sent in one request. Stores ask for at least 5 MiB.
const PART: usize = 8 << 20;
/// Parts on their way at once: with the one being filled, what an upload may hold in memory.
const PARTS_AT_ONCE: usize = 4;
/// Smaller chunks are gathered by copying, larger ones are sent as they are.
const COPIED: usize = 16 << 10;

/// Stores `body` whole at `path` and answers its length.
pub(super) async fn put(store: &dyn ObjectStore, path: &Path, mut body: ByteStream) -> Result<u64> {
    let mut small = PutPayloadMut::new();
    while let Some(chunk) = body.try_next().await? {
        match chunk.len() {
            0..COPIED => small.extend_from_slice(&chunk),
            _ => small.push(chunk),
        }
        if small.content_length() > PART {
            return put_in_parts(store, path, small.into(), body).await;
        }
    }
    let len = small.content_length() as u64;
    store.put(path, small.into()).await.map_err(|e| failure::of_call("put", e))?;
    Ok(len)
}

async fn put_in_parts(
    store: &dyn ObjectStore,
    path: &Path,
    begun: PutPayload,
    body: ByteStream,
) -> Result<u64> {
    let mut upload = Upload::begin(store, path).await?;
    match upload.write_all(begun, body).await {
        Ok(len) => upload.finish().await.map(|()| len),
        Err(e) => {
            upload.abort().await;
            Err(e)
        }
    }
}

/// An upload in parts that is aborted when it is dropped unfinished: cloud stores keep parts otherwise.
struct Upload(Option<WriteMultipart>);

impl Upload {
    async fn begin(store: &dyn ObjectStore, path: &Path) -> Result<Self> {
        let begun = store.put_multipart(path).await.map_err(|e| failure::of_call("put", e))?;
        Ok(Self(Some(WriteMultipart::new_with_chunk_size(begun, PART))))
    }

    async fn write_all(&mut self, begun: PutPayload, mut body: ByteStream) -> Result<u64> {
        let mut len = 0;
        for chunk in begun {
            len += self.write(chunk).await?;
        }
        while let Some(chunk) = body.try_next().await? {
            len += self.write(chunk).await?;
        }
        if let Some(parts) = &mut self.0 {
            parts.wait_for_capacity(1).await.map_err(|e| failure::of_call("put", e))?;
        }
        Ok(len)
    }

    async fn write(&mut self, mut chunk: Bytes) -> Result<u64> {
        let len = chunk.len() as u64;
        let Some(parts) = &mut self.0 else { return Ok(0) };
        while !chunk.is_empty() {
            parts.wait_for_capacity(PARTS_AT_ONCE).await.map_err(|e| failure::of_call("put", e))?;
            let piece = chunk.split_to(chunk.len().min(PART));
            match piece.len() {
                0..COPIED => parts.write(&piece),
                _ => parts.put(piece),
            }
        }
        Ok(len)
    }

    /// Makes the object visible. On an error, the parts are removed.
    async fn finish(mut self) -> Result<()> {
        if let Some(parts) = self.0.take() {
            parts.finish().await.map_err(|e| failure::of_call("put", e))?;
        }
        Ok(())
    }

    async fn abort(mut self) {
        if let Some(parts) = self.0.take() {
            abort(parts).await;
        }
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(parts) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(abort(parts));
        }
    }
}

async fn abort(parts: WriteMultipart) {
    if let Err(error) = parts.abort().await {
        tracing::warn!(%error, "can't remove the parts of an upload that failed; a lifecycle rule of the store will");
    }
}
