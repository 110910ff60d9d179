//! Blobs, and args and results that are too large for a row.

use std::collections::HashSet;
use std::fmt;
use std::future::{Future, IntoFuture};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::storage::{self, BlobBody, ByteStream};
use crate::{Backend, Blob, BlobKey, Client, Encoding, Error, NewJob, Payload, Result};

/// How long a blob is kept for a job that never comes: from its announcement, so it covers the upload as well.
pub const BLOB_TTL: Duration = Duration::from_secs(24 * 3_600);

/// Prefix of the keys of blobs that hosts and handlers store.
const BLOBS: &str = "blobs";
/// Where blobs are kept that outlive their jobs.
const KEPT: &str = "kept";
/// Prefix of the keys of args that were too large for their row.
const ARGS: &str = "args";

/// Bytes to store: in memory, from a stream, or from a file.
#[non_exhaustive]
pub enum BlobSource {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A stream of any length.
    Stream(ByteStream),
    /// A file, read in chunks.
    File(PathBuf),
}

impl fmt::Debug for BlobSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => write!(f, "Bytes({} bytes)", bytes.len()),
            Self::Stream(_) => f.write_str("Stream"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
        }
    }
}

macro_rules! source {
    ($($from:ty => $variant:ident),*) => {$(
        impl From<$from> for BlobSource {
            fn from(from: $from) -> Self {
                Self::$variant(from.into())
            }
        }
    )*};
}
source!(Bytes => Bytes, Vec<u8> => Bytes, String => Bytes, &'static [u8] => Bytes, &'static str => Bytes, PathBuf => File, &Path => File, &PathBuf => File);

impl From<ByteStream> for BlobSource {
    fn from(stream: ByteStream) -> Self {
        Self::Stream(stream)
    }
}

impl<B: Backend + ?Sized> Client<B> {
    /// Stores bytes as a blob once awaited: a `Vec<u8>`, `Bytes`, a [`ByteStream`], or a file by its path.
    ///
    /// Put the handle into the args of a job: the blob then lives as long as a job refers to it. One that no
    /// job refers to within a day ([`BLOB_TTL`]) is pruned.
    ///
    /// ```
    /// # async fn example(client: &windlass_core::Client) -> windlass_core::Result<()> {
    /// let text = client.put_blob("some text").content_type("text/plain").await?;
    /// let file = client.put_blob(std::path::Path::new("photo.jpg")).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// A source that can't be read, or a backend or storage that is away.
    pub fn put_blob(&self, source: impl Into<BlobSource>) -> PutBlob<'_, B> {
        PutBlob { client: self, source: source.into(), content_type: None, keep: false }
    }

    /// Opens a blob as a stream that is checked against its length and SHA-256 while it is read.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a blob that is gone, [`Error::Corrupt`] (also as an item) for one that was damaged.
    pub async fn open_blob(&self, blob: &Blob) -> Result<BlobBody> {
        storage::open_blob(&*self.storage, blob).await
    }

    /// Reads a blob of at most `max` bytes, checked against its length and SHA-256.
    ///
    /// # Errors
    /// As for [`open_blob`](Self::open_blob), and [`Error::LimitExceeded`] for a larger one.
    pub async fn read_blob(&self, blob: &Blob, max: u64) -> Result<Bytes> {
        storage::read_blob(&*self.storage, blob, max).await
    }

    /// Deletes a blob that was stored to be kept. Others go by themselves.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a blob that belongs to its jobs, or a storage that is away.
    pub async fn delete_blob(&self, blob: &Blob) -> Result<()> {
        if !blob.keep {
            return Err(Error::invalid(
                "blob",
                "it belongs to its jobs and is deleted with the last of them",
            ));
        }
        self.storage.delete(std::slice::from_ref(&blob.key)).await
    }

    /// Attaches to each job the blobs that its args name, and moves args above the limit to the storage.
    pub(crate) async fn attach_blobs(&self, jobs: &mut [NewJob]) -> Result<()> {
        let mut large = Vec::new();
        for job in &mut *jobs {
            name_blobs(job)?;
            if job.args.bytes.len() > self.limits().inline_args {
                large.push(job);
            }
        }
        if large.is_empty() {
            return Ok(());
        }
        let keys = large.iter().map(|_| BlobKey::fresh(ARGS)).collect::<Result<Vec<_>>>()?;
        self.backend.stage_blobs(&keys, BLOB_TTL).await?;
        for (job, key) in large.into_iter().zip(keys) {
            self.move_args(job, &key).await?;
        }
        Ok(())
    }

    async fn move_args(&self, job: &mut NewJob, key: &BlobKey) -> Result<()> {
        let limits = self.limits();
        let args = job.args.clone();
        let (args, blob) =
            storage::offload(&*self.storage, key, args, limits.inline_args, limits.payload).await?;
        job.args = args;
        job.blobs.extend(blob.map(|blob| blob.key));
        Ok(())
    }

    /// Brings a payload back from the storage if it is there.
    pub(super) async fn load(&self, payload: &Payload) -> Result<Payload> {
        storage::load(&*self.storage, payload.clone(), self.limits().payload).await
    }
}

/// Attaches to a job the blobs that its args name.
pub(crate) fn name_blobs(job: &mut NewJob) -> Result<()> {
    let named = match job.args.encoding {
        Encoding::Json => storage::blobs_in(&job.args.bytes)?,
        // Prepared before: its blobs are attached.
        Encoding::Blob => return Ok(()),
    };
    let known: HashSet<_> = job.blobs.iter().cloned().collect();
    job.blobs.extend(named.into_iter().filter(|key| !known.contains(key)));
    Ok(())
}

/// A blob on its way into the storage; see [`Client::put_blob`].
#[must_use = "nothing is stored until this is awaited"]
pub struct PutBlob<'a, B: Backend + ?Sized = dyn Backend> {
    client: &'a Client<B>,
    source: BlobSource,
    content_type: Option<String>,
    keep: bool,
}

impl<B: Backend + ?Sized> fmt::Debug for PutBlob<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PutBlob").field("source", &self.source).finish_non_exhaustive()
    }
}

impl<B: Backend + ?Sized> PutBlob<'_, B> {
    /// States its media type.
    pub fn content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// Keeps it until the host deletes it ([`Client::delete_blob`]), whatever becomes of jobs that refer to it.
    pub fn keep(mut self) -> Self {
        self.keep = true;
        self
    }

    async fn put(self) -> Result<Blob> {
        let key = BlobKey::fresh(if self.keep { KEPT } else { BLOBS })?;
        if !self.keep {
            self.client.backend.stage_blobs(std::slice::from_ref(&key), BLOB_TTL).await?;
        }
        let storage = &*self.client.storage;
        let mut blob = match self.source {
            BlobSource::Bytes(bytes) => storage::put_bytes(storage, &key, bytes).await?,
            BlobSource::Stream(stream) => storage::put_blob(storage, &key, stream).await?,
            BlobSource::File(path) => storage::put_file(storage, &key, path).await?,
        };
        blob.content_type = self.content_type;
        blob.keep = self.keep;
        Ok(blob)
    }
}

impl<'a, B: Backend + ?Sized> IntoFuture for PutBlob<'a, B> {
    type Output = Result<Blob>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.put())
    }
}
