//! A blob in the database of the jobs: a body cut into chunks, each written by itself, visible with the last one.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::TryStreamExt as _;

use crate::storage::ByteStream;
use crate::{BlobKey, Error, Result};

/// An upload without a new chunk for so long is dead: [`Chunks::sweep_some`] may remove what it left.
pub const PATIENCE: Duration = Duration::from_secs(3_600);

/// Calls that one [`sweep`] makes.
const SWEEPS: usize = 64;

/// Where the chunks of blobs are written.
#[async_trait]
pub trait Chunks: Clone + Send + Sync + 'static {
    /// An upload under way.
    type Upload: Clone + Send + Sync + 'static;
    /// The size of a chunk in bytes: what an upload holds in memory, and what one write carries.
    const CHUNK: usize;
    /// How many chunks a blob may have.
    const MOST_CHUNKS: u32;

    /// Writes a chunk of an upload, the first one under a new name, and answers the name.
    ///
    /// # Errors
    ///
    /// [`dead`], when the upload is no longer known.
    async fn write(
        &self,
        upload: Option<&Self::Upload>,
        number: u32,
        bytes: Vec<u8>,
    ) -> Result<Self::Upload>;

    /// Writes the last chunk, and makes the upload visible under its key. Answers whether it replaced a blob, whose chunks are to be removed.
    ///
    /// # Errors
    ///
    /// [`dead`], when the upload is no longer known.
    async fn publish(&self, key: &BlobKey, last: Last<Self::Upload>) -> Result<bool>;

    /// Gives up an upload: its chunks may be removed. One that is visible by now stays.
    async fn give_up(&self, upload: &Self::Upload) -> Result<()>;

    /// Removes some chunks that are nobody's. Answers whether there may be more.
    async fn sweep_some(&self) -> Result<bool>;
}

/// The end of an upload.
#[derive(Debug)]
pub struct Last<U> {
    /// None when it has no other chunk.
    pub upload: Option<U>,
    /// How many chunks stand before.
    pub number: u32,
    /// The last chunk, empty only when the body is.
    pub bytes: Vec<u8>,
    /// The length of the whole blob in bytes.
    pub len: u64,
}

/// Stores `body` under `key` and answers its length.
pub async fn put<C: Chunks>(chunks: &C, key: &BlobKey, body: ByteStream) -> Result<u64> {
    let mut upload = Upload { chunks, id: None, number: 0, len: 0 };
    match upload.run(key, body).await {
        Ok(replaced) => {
            upload.id = None;
            if replaced {
                sweep(chunks).await;
            }
            Ok(upload.len)
        }
        Err(error) => {
            if let Some(id) = upload.id.take() {
                give_up(chunks, &id).await;
            }
            Err(error)
        }
    }
}

/// Removes a bounded part of what is nobody's. It is only about space, so its failure is nobody's failure.
pub async fn sweep<C: Chunks>(chunks: &C) {
    for _ in 0..SWEEPS {
        match chunks.sweep_some().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                return tracing::debug!(%error, "removing deleted blobs failed; later calls go on");
            }
        }
    }
}

/// What becomes of an upload that is no longer listed: it was taken for dead, and its chunks may be gone.
#[must_use]
pub fn dead() -> Error {
    Error::Timeout { what: "the next chunk of a blob's upload".into(), after: PATIENCE }
}

async fn give_up<C: Chunks>(chunks: &C, upload: &C::Upload) {
    match chunks.give_up(upload).await {
        Ok(()) => sweep(chunks).await,
        Err(error) => {
            tracing::debug!(%error, "an upload that failed is left until it counts as dead");
        }
    }
}

/// An upload under way. Giving it up when it is visible already changes nothing, so there is no harm in not knowing.
struct Upload<'c, C: Chunks> {
    chunks: &'c C,
    id: Option<C::Upload>,
    number: u32,
    len: u64,
}

impl<C: Chunks> Upload<'_, C> {
    async fn run(&mut self, key: &BlobKey, body: ByteStream) -> Result<bool> {
        let bytes = self.write_all(body).await?;
        let (upload, number, len) = (self.id.clone(), self.number, self.len);
        self.chunks.publish(key, Last { upload, number, bytes, len }).await
    }

    /// Writes all chunks but the last, which it answers.
    async fn write_all(&mut self, mut body: ByteStream) -> Result<Vec<u8>> {
        let mut chunk = Vec::new();
        while let Some(mut bytes) = body.try_next().await? {
            while !bytes.is_empty() {
                if chunk.len() == C::CHUNK {
                    self.write(std::mem::take(&mut chunk)).await?;
                }
                let fits = bytes.len().min(C::CHUNK - chunk.len());
                chunk.extend_from_slice(&bytes.split_to(fits));
                self.len += fits as u64;
            }
        }
        Ok(chunk)
    }

    async fn write(&mut self, bytes: Vec<u8>) -> Result<()> {
        // The last one is still to come.
        if self.number + 1 >= C::MOST_CHUNKS {
            return Err(Error::LimitExceeded {
                what: "blob in bytes".into(),
                actual: self.len,
                limit: u64::from(C::MOST_CHUNKS) * C::CHUNK as u64,
                hint: "keep blobs of this size in an object store".into(),
            });
        }
        self.id = Some(self.chunks.write(self.id.as_ref(), self.number, bytes).await?);
        self.number += 1;
        Ok(())
    }
}

impl<C: Chunks> Drop for Upload<'_, C> {
    /// The future was dropped. Without a runtime the chunks go when the upload counts as dead.
    fn drop(&mut self) {
        if let Some(id) = self.id.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let chunks = self.chunks.clone();
            runtime.spawn(async move { give_up(&chunks, &id).await });
        }
    }
}
